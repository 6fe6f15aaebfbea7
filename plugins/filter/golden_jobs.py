"""Filters over the pure functions of `module_utils/golden_jobs`: what a role decides without asking a host."""

from __future__ import annotations

from pathlib import Path

import ansible.module_utils
from ansible.errors import AnsibleFilterError
from ansible.utils.unsafe_proxy import wrap_var

_OURS = str(Path(__file__).resolve().parents[2] / "module_utils")
if _OURS not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_OURS)

from ansible.module_utils.golden_jobs import environment, golden_job, protocol
from ansible.module_utils.golden_jobs.effective_job import effective_job
from ansible.module_utils.golden_jobs.errors import GoldenJobsError
from ansible.module_utils.golden_jobs.plain import plain


def _effective(root, course, cluster):
    """The job as it will be submitted, secrets included."""
    written, _lines = protocol.load_file(str(Path(str(root)) / course["template"]), course["template"])
    return effective_job(written, course, cluster)["job"]


def secrets(course, root, cluster):
    """The secrets of a course's Golden Job on a cluster, for `pai_job`'s option of that name.

    `course` as the filter `golden_job_courses` makes it, `cluster` as the role's `golden_job_cluster`.
    """
    return wrap_var(_effective(root, plain(course), plain(cluster)).get("secrets") or {})


def smoke(template, root, overrides=None, http_port=8888):
    """How a cluster starts the image of this job, for `image_test`: `{command, env, memory_mb, shm_mb, hide}` of the first task role.

    `overrides`: what the course lays over its job. `hide`: the job's secrets, which may be part of the command.
    """
    job = _effective(root, {"name": "", "template": str(template), "overrides": plain(overrides or {})}, {})
    role = next(iter(job["taskRoles"]))
    return wrap_var(
        {
            "command": protocol.task_commands(job, role),
            "env": protocol.task_environment(job, role, ports={"http": int(http_port), "code": int(http_port) + 1, "ssh": 22}),
            "memory_mb": job["taskRoles"][role]["resourcePerInstance"]["memoryMB"],
            "shm_mb": (job["taskRoles"][role].get("extraContainerOptions") or {}).get("shmMB") or 512,
            "hide": [str(secret) for secret in (job.get("secrets") or {}).values()],
        }
    )


def courses(names, hostvars, built=True):
    """What each course brings to a rollout, from its host variables, in the form that `effective_job` and `golden_job` take.

    `built`: leave out those whose image this run does not know (their build has failed; the others go on). Without it
    the moving tag stands for an image that has not been built yet.
    """
    found = []
    for name in names:
        course = hostvars[name]
        if built and "course_image_reference" not in course:
            continue
        registry = hostvars[course["course_registry"]]
        address = registry["registry_address"]
        moving = f"{address}/{course['course_image']}:{course['course_version']}"
        found.append(
            {
                "name": str(name),
                "image": course.get("course_image_reference") or moving,
                "digest": course.get("course_image_digest") or "",
                "template": course["course_job"],
                "overrides": course.get("course_job_overrides") or {},
                "hold": course.get("course_hold") or "",
                "probes": course.get("course_probes") or [],
                "branding": {**(course.get("branding") or {}), **(course.get("course_branding") or {})},
                "registry": {
                    "address": address,
                    "username": registry.get("registry_username") or "",
                    "password": registry.get("registry_password") or "",
                },
            }
        )
    return plain(found)


def scopes(names):
    """Names of courses as `golden_job` takes them for a hold."""
    return [{"name": str(name)} for name in names]


def plan_lines(plans, cluster):
    """For people, one line per course of a plan: where it answers, or what will be submitted and stopped."""
    lines = []
    for planned in plain(plans):
        if planned["action"] == "none" and not planned.get("stays"):
            lines.append(_live_line(planned["course"], cluster, planned))
            continue
        stops = f"; then stop {', '.join(planned['retire'])}" if planned["retire"] and planned["candidate"] else ""
        untags = f"; then untag {', '.join(planned['demote'])}" if planned["demote"] and planned["candidate"] else ""
        lines.append(f"  {planned['course']} on {cluster}: {planned['reason']}{stops}{untags}")
    return lines


def all_plan_lines(clusters, hostvars):
    """`plan_lines` of each cluster."""
    return [line for cluster in clusters for line in plan_lines(hostvars[cluster]["golden_job_planned"]["plans"], cluster)]


def outdated(clusters, hostvars):
    """Those of the clusters that have something to do, in their order."""
    return [cluster for cluster in clusters if any(plan["candidate"] for plan in hostvars[cluster]["golden_job_planned"]["plans"])]


def _live_line(course, cluster, job):
    return f"  {course} on {cluster}: {job['url'] or 'no address'}  ({job['name']})"


def url(tasks, label="http"):
    """The address of the first running task that has such a port, or an empty text."""
    return golden_job.task_url(plain(tasks or []), str(label)) or ""


def environment_plan(jobs, course, student, golden=None):
    """`environment.plan` for the jobs of one cluster."""
    try:
        return environment.plan(str(course), str(student), plain(jobs), plain(golden))
    except GoldenJobsError as error:
        raise AnsibleFilterError(str(error)) from error


def environment_source(tags, clone_from=None):
    """The Golden Job that an environment with these tags was cloned from, or is going to be."""
    return environment.source_of(plain(tags or [])) or str(clone_from or "")


def environment_line(found, course, student, cluster, golden=None):
    """For people: where a student's environment answers, what it was cloned from, and whether the course has moved on."""
    found, golden = plain(found), plain(golden)
    moved = f"; the course is at {golden['name']} now" if golden and found["source"] not in ("", golden["name"]) else ""
    return f"  {course} for {student} on {cluster}: {found['url'] or 'no address yet'}  ({found['name']}, cloned from {found['source']}{moved})"


class FilterModule:
    def filters(self):
        return {
            "golden_job_courses": courses,
            "golden_job_scopes": scopes,
            "golden_job_secrets": secrets,
            "golden_job_smoke": smoke,
            "golden_job_plan_lines": plan_lines,
            "golden_job_all_plan_lines": all_plan_lines,
            "golden_job_outdated": outdated,
            "golden_job_url": url,
            "student_environment_plan": environment_plan,
            "student_environment_source": environment_source,
            "student_environment_line": environment_line,
        }
