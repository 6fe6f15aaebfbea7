"""Filters over the pure functions of `module_utils/golden_jobs`: what a role decides without asking a host."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path

import ansible.module_utils
from ansible.errors import AnsibleFilterError
from ansible.utils.unsafe_proxy import wrap_var

_OURS = str(Path(__file__).resolve().parents[2] / "module_utils")
if _OURS not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_OURS)

from ansible.module_utils.golden_jobs import environment, golden_job, protocol
from ansible.module_utils.golden_jobs.errors import GoldenJobsError


def _plain(value):
    """Ordinary Python values: since ansible-core 2.19 variables carry tags that YAML writers do not know."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value)


def _effective(template, root, image, virtual_cluster, registry, overrides):
    """The job as it will be submitted, secrets included, and where it was written."""
    written, lines = protocol.load_file(str(Path(str(root)) / str(template)), str(template))
    job = protocol.effective_protocol(
        written, image=_plain(image) or None, virtual_cluster=_plain(virtual_cluster) or None, registry=_plain(registry)
    )
    for change in _plain(overrides) or []:
        job = protocol.effective_protocol(job, overrides=change)
    return job, lines


def compose(template, root, image=None, virtual_cluster=None, registry=None, overrides=None):
    """A job template (a file below the folder `root`) made into the job of one cluster: `{job, revision, problem}`.

    `job` comes without secrets, so that it may be shown (`golden_job_secrets` has them); `problem` is one sentence
    about bad input, else empty.
    """
    try:
        job, lines = _effective(template, root, image, virtual_cluster, registry, overrides)
        protocol.validate(job, lines)
        protocol.dump_yaml(job)
    except GoldenJobsError as error:
        return {"job": {}, "revision": "", "problem": str(error)}
    shown = {key: value for key, value in job.items() if key != "secrets"}
    # A shell's ${#list[@]} is no Jinja comment.
    return {"job": wrap_var(shown), "revision": protocol.revision(str(_plain(image) or ""), job), "problem": ""}


def secrets(template, root, image=None, virtual_cluster=None, registry=None, overrides=None):
    """The secrets of the same job, for `pai_job`'s option of that name."""
    job, _lines = _effective(template, root, image, virtual_cluster, registry, overrides)
    return wrap_var(job.get("secrets") or {})


def smoke(template, root, overrides=None, http_port=8888):
    """How a cluster starts the image of this job, for `image_test`: `{command, env, memory_mb, shm_mb, hide}` of the first task role.

    `hide`: the job's secrets, which may be part of the command.
    """
    job, _lines = _effective(template, root, None, None, None, overrides)
    role = next(iter(job["taskRoles"]))
    return wrap_var(
        {
            "command": protocol.task_commands(job, role),
            "env": protocol.task_environment(job, role, ports={"http": int(http_port), "ssh": 22}),
            "memory_mb": job["taskRoles"][role]["resourcePerInstance"]["memoryMB"],
            "shm_mb": (job["taskRoles"][role].get("extraContainerOptions") or {}).get("shmMB") or 512,
            "hide": [str(secret) for secret in (job.get("secrets") or {}).values()],
        }
    )


def plan(jobs, course, revision, user=None):
    """`golden_job.plan` for the jobs of one cluster."""
    try:
        return golden_job.plan(str(course), _plain(jobs), str(revision), _plain(user))
    except GoldenJobsError as error:
        raise AnsibleFilterError(str(error)) from error


def plan_lines(plans, cluster):
    """For people, one line per course of `golden_job_plans`: where it answers, or what will be submitted and stopped."""
    lines = []
    for course, planned in _plain(plans).items():
        if planned["action"] == "none":
            lines.append(_live_line(course, cluster, planned))
            continue
        stops = f"; then stop {', '.join(planned['retire'])}" if planned["retire"] else ""
        untags = f"; then untag {', '.join(planned['demote'])}" if planned["demote"] else ""
        lines.append(f"  {course} on {cluster}: {planned['reason']}{stops}{untags}")
    return lines


def outdated(plans):
    """Whether any course of `golden_job_plans` has something to do."""
    return any(planned["action"] != "none" for planned in _plain(plans).values())


def reason(result):
    """Why a step failed, as part of a sentence: a module's own words, or what a probe got instead of a good answer."""
    result = _plain(result)
    message = result.get("msg", "no reason given")
    if result.get("advice"):  # what the module tells its user to do, the role does
        message = message.rstrip(".").removesuffix("; " + result["advice"])
    if result.get("url"):
        message = f"{result['url']} does not answer well: {_probe_problem(result)}"
    return message.rstrip(".")


def _probe_problem(result):
    """What is wrong with an answer of the module `uri`."""
    status = result.get("status", -1)
    if status == -1:
        return re.sub(r".*Request failed: |<\w+ error |\[Errno -?\d+\] |>", "", result.get("msg", ""))
    if status != 200:
        return f"HTTP {status}"
    return "JSON without a version" if "json" in result else "no JSON"


def failure(planned, cluster, why, undone):
    """The sentence that ends a rollout on one cluster: what failed, and how the cluster is left."""
    planned, undone = _plain(planned), _plain(undone)
    if not undone or undone.get("skipped"):
        left = ["nothing was stopped"]
    elif undone.get("msg"):
        left = [f"it could not be stopped: {undone['msg'].rstrip('.')}"]
    elif undone.get("changed"):
        left = ["it was stopped"]
    elif undone.get("exit_code") is not None and "exit code" not in why:
        left = [f"it had ended with exit code {undone['exit_code']} ({undone['exit_meaning']})"]
    else:
        left = []
    left += [f"{planned['live']} stays current"] if planned["live"] else []
    return f"{planned['name']} does not take over on {cluster} ({why}){'; ' if left else ''}{', and '.join(left)}."


def live_lines(live, cluster):
    """For people, one line per course of `golden_job_live`: where it answers on this cluster."""
    return [_live_line(course, cluster, job) for course, job in _plain(live).items()]


def _live_line(course, cluster, job):
    return f"  {course} on {cluster}: {job['url'] or 'no address'}  ({job['name']})"


def status_table(hosts, hostvars, courses):
    """Lines of the table that `status.yml` prints, from what each host has in `golden_job_found`."""
    now_s = time.time()
    rows = []
    for course in courses:
        for host in hosts:
            found = _plain(hostvars[host]["golden_job_found"])
            if "problem" in found:
                rows.append([course, host, "unreachable", None, None, None, found["problem"]])
                continue
            row = golden_job.status(str(course), found["jobs"], found["cluster"]["user"])
            tag = protocol.image_tag(row["image"] or "")
            rows.append([course, host, row["state"], row["revision"], tag, golden_job.age(row["since_ms"], now_s), row["url"]])
    return golden_job.table(rows, ["COURSE", "CLUSTER", "STATE", "REVISION", "IMAGE TAG", "AGE", "URL"])


def url(tasks, label="http"):
    """The address of the first running task that has such a port, or an empty text."""
    return golden_job.task_url(_plain(tasks or []), str(label)) or ""


def environment_plan(jobs, course, student, golden=None):
    """`environment.plan` for the jobs of one cluster."""
    try:
        return environment.plan(str(course), str(student), _plain(jobs), _plain(golden))
    except GoldenJobsError as error:
        raise AnsibleFilterError(str(error)) from error


def environment_source(tags, clone_from=None):
    """The Golden Job that an environment with these tags was cloned from, or is going to be."""
    return environment.source_of(_plain(tags or [])) or str(clone_from or "")


def environment_line(found, course, student, cluster, golden=None):
    """For people: where a student's environment answers, what it was cloned from, and whether the course has moved on."""
    found, golden = _plain(found), _plain(golden)
    moved = f"; the course is at {golden['name']} now" if golden and found["source"] not in ("", golden["name"]) else ""
    return f"  {course} for {student} on {cluster}: {found['url'] or 'no address yet'}  ({found['name']}, cloned from {found['source']}{moved})"


class FilterModule:
    def filters(self):
        return {
            "golden_job_compose": compose,
            "golden_job_secrets": secrets,
            "golden_job_smoke": smoke,
            "golden_job_plan": plan,
            "golden_job_plan_lines": plan_lines,
            "golden_job_outdated": outdated,
            "golden_job_reason": reason,
            "golden_job_failure": failure,
            "golden_job_live_lines": live_lines,
            "golden_job_status_table": status_table,
            "golden_job_url": url,
            "student_environment_plan": environment_plan,
            "student_environment_source": environment_source,
            "student_environment_line": environment_line,
        }
