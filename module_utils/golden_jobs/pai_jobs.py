"""What the modules `pai_job` and `pai_job_info` do: bring one job to a state, or look jobs up."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from . import golden_job, protocol
from .errors import GoldenJobsError
from .pai_client import CONNECTION_SPEC, PaiClient, PaiError
from .progress import Progress, seconds
from .runner import PROGRESS_SPEC

#: A progress line at least this often while nothing changes.
SAY_EVERY_S = 10.0
#: A job that was just submitted may be unknown for a moment.
UNKNOWN_FOR_S = 10.0

JOB_SPEC: dict[str, Any] = {
    **CONNECTION_SPEC,
    **PROGRESS_SPEC,
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "default": "running", "choices": ["submitted", "running", "succeeded", "stopped"]},
    "job": {"type": "dict"},
    "job_file": {"type": "path"},
    "secrets": {"type": "dict", "no_log": True},
    "tags": {"type": "list", "elements": "str", "default": []},
    "tags_absent": {"type": "list", "elements": "str", "default": []},
    "wait_timeout_s": {"type": "float", "default": 600.0},
    "poll_interval_s": {"type": "float", "default": 5.0},
}

INFO_SPEC: dict[str, Any] = {
    **CONNECTION_SPEC,
    "name": {"type": "list", "elements": "str"},
    "user": {"type": "str"},
    "states": {"type": "list", "elements": "str"},
    "virtual_cluster": {"type": "str"},
    "tags": {"type": "list", "elements": "str"},
    "keyword": {"type": "str"},
    "config": {"type": "bool", "default": False},
    "detail": {"type": "bool", "default": False},
    "require_virtual_cluster": {"type": "str"},
}

#: Exit codes worth a word; the cluster's own explanation comes first (k8s-job-exit-spec of OpenPAI 1.8).
EXIT_MEANINGS = {
    -1100: "Kubernetes refused the job",
    -1200: "out of memory",
    -200: "invalid pod",
    -210: "stopped by a user",
    -220: "stopped because the job was complete",
    137: "killed by SIGKILL, often out of memory",
    143: "killed by SIGTERM",
    220: "a command of the job failed",
    250: "the container runtime failed",
    251: "not all tasks could start in time",
    253: "a port is already taken on the node",
    254: "the image does not exist, or its registry refuses the login",
    255: "a command of the job failed",
}


def client_of(params: dict[str, Any]) -> PaiClient:
    """The client that a module's connection options describe."""
    return PaiClient(**{key: params[key] for key in CONNECTION_SPEC})


# --------------------------------------------------------------------------------------------- pai_job


def ensure_job(module: Any, progress: Progress) -> dict[str, Any]:
    """Bring the job to the wanted state. Raises GoldenJobsError; nothing is sent before the job file is proven right."""
    params = module.params
    wanted, source = _wanted(params)
    if wanted is not None:
        protocol.validate(wanted, source)
        protocol.dump_yaml(wanted)
    client = client_of(params)
    work = _Work(client, params, progress, check=module.check_mode)
    result = work.stop() if params["state"] == "stopped" else work.start(wanted)
    return {"name": params["name"], "address": client.address, "user": client.user, **result}


def _wanted(params: dict[str, Any]) -> tuple[dict[str, Any] | None, protocol.Source]:
    """The job to submit under the module's name, or None when only an existing job is meant."""
    if params.get("job_file"):
        job, source = protocol.load_file(params["job_file"])
    elif params.get("job"):
        job, source = params["job"], protocol.Source(f"job of {params['name']!r}")
    else:
        return None, protocol.Source("job")
    return protocol.effective_protocol(job, name=params["name"], secrets=params.get("secrets")), source


class _Work:
    """One job, one call of the module."""

    def __init__(self, client: PaiClient, params: dict[str, Any], progress: Progress, *, check: bool) -> None:
        self.client = client
        self.params = params
        self.name = params["name"]
        self.progress = progress
        self.check = check
        self.changed = False
        self.announced = False

    def start(self, wanted: dict[str, Any] | None) -> dict[str, Any]:
        """Submit unless it is there, tag, wait."""
        job = self.client.get_job(self.name)
        submitted = job is None
        before = "" if job is None else self._same_or_fail(wanted)
        extra: dict[str, Any] = {"submitted": submitted}
        if wanted is not None:
            extra["diff"] = self._diff(before, protocol.dump_yaml(protocol.masked(wanted)) if submitted else before)
        if job is None:
            if wanted is None:
                raise GoldenJobsError(f"There is no job {self.name!r} on {self.client.address}; give `job` or `job_file` to submit it.")
            self.client.require_virtual_cluster((wanted.get("defaults") or {}).get("virtualCluster") or "default")
            self.changed = True
            if not self.check:
                self.client.submit(self.name, protocol.dump_yaml(wanted), lambda _: self._holds(wanted))
                self._say(f"{self.name}: submitted")
        self._tags(job)
        if self.check:
            return self._result(job, extra)
        return self._result(self._wait(), extra)

    def stop(self) -> dict[str, Any]:
        """Tag, then stop unless it has ended; a job that does not exist does not run, either."""
        job = self.client.get_job(self.name)
        if job is None:
            return self._result(None, {})
        self._tags(job)
        if golden_job.is_final(job["jobStatus"]):
            return self._result(job, {})
        asked = job["jobStatus"].get("executionType") == "STOP"
        self.changed = self.changed or not asked
        if self.check:
            return self._result(job, {})
        if not asked:
            self.client.stop(self.name)
            self._say(f"{self.name}: asked to stop")
        return self._result(self._wait(), {})

    def _say(self, text: str) -> None:
        self.announced = True
        self.progress.say(text)

    def _holds(self, wanted: dict[str, Any]) -> bool:
        config = self.client.get_config(self.name)
        return config is not None and protocol.same_job(wanted, config)

    def _same_or_fail(self, wanted: dict[str, Any] | None) -> str:
        """The existing job's config as text; an error when it is not the wanted one."""
        if wanted is None:
            return ""
        config = self.client.get_config(self.name)
        if config is None:
            raise GoldenJobsError(f"The config of the job {self.name!r} on {self.client.address} cannot be read; choose another name.")
        text = protocol.dump_yaml(config)
        if not protocol.same_job(wanted, config):
            raise GoldenJobsError(
                f"The job {self.name!r} on {self.client.address} has another config (it differs in "
                f"{', '.join(_differences(protocol.masked(wanted), config))}); OpenPAI never frees a name, so choose another one.",
                diff=self._diff(text, protocol.dump_yaml(protocol.masked(wanted))),
                status=409,
            )
        return text

    def _diff(self, before: str, after: str) -> dict[str, str]:
        header = f"{self.name} on {self.client.address}"
        return {"before": before, "after": after, "before_header": header, "after_header": header}

    def _tags(self, job: dict[str, Any] | None) -> None:
        """Add and remove tags; each call stands alone, so an interruption between two of them is repaired by running again."""
        have = set((job or {}).get("tags") or [])
        for tag in self.params["tags"]:
            if tag not in have:
                self.changed = True
                if not self.check:
                    self.client.add_tag(self.name, tag)
        for tag in self.params["tags_absent"]:
            if tag in have:
                self.changed = True
                if not self.check:
                    self.client.remove_tag(self.name, tag)

    def _wait(self) -> dict[str, Any]:
        """Poll until the wanted state; the job's detail."""
        goal = self.params["state"]
        reached: Callable[[dict[str, Any]], bool] = {
            "submitted": lambda _: True,
            "running": _runs,
            "succeeded": lambda job: job["jobStatus"]["state"] == "SUCCEEDED",
            "stopped": lambda job: golden_job.is_final(job["jobStatus"]),
        }[goal]
        started = said_at = time.monotonic()
        said, trouble, pause_s = "", "", 0.25
        while True:
            job = None
            try:
                job, trouble = self.client.get_job(self.name), ""
            except PaiError as error:
                if not error.transient:
                    raise
                trouble = str(error)
            waited_s = time.monotonic() - started
            if job is not None:
                if reached(job):
                    if self.announced:
                        self._say(f"{self.name}: {job['jobStatus']['state']}, {seconds(waited_s)}")
                    return job
                if golden_job.is_final(job["jobStatus"]):
                    raise self._failure(job)
            elif not trouble and waited_s > UNKNOWN_FOR_S:
                raise GoldenJobsError(f"The job {self.name!r} is not known to {self.client.address} although it was submitted.")
            words = trouble or _words(job)
            if words != said or time.monotonic() - said_at >= SAY_EVERY_S:
                self._say(f"{self.name}: {words}, {seconds(waited_s)}")
                said, said_at = words, time.monotonic()
            if waited_s >= self.params["wait_timeout_s"]:
                raise self._timeout(job, trouble, goal)
            time.sleep(min(pause_s, self.params["poll_interval_s"], max(0.05, self.params["wait_timeout_s"] - waited_s)))
            pause_s *= 1.5

    def _failure(self, job: dict[str, Any]) -> GoldenJobsError:
        """The job ended, but not as wanted."""
        status = job["jobStatus"]
        code, meaning = _exit(job)
        tail = next((lines for task in _task_statuses(job) if (lines := self.client.log_tail(task.get("containerLog") or ""))), [])
        how = f" with exit code {code} ({meaning})" if code is not None else ""
        hint = f"; its last line was: {tail[-1].strip()}" if tail and tail[-1].strip() else ""
        return GoldenJobsError(
            f"The job {self.name!r} on {self.client.address} ended as {status['state']}{how} instead of {self.params['state']}{hint}.",
            exit_diagnostics=status.get("appExitDiagnostics"),
            log_tail=tail,
            changed=self.changed,
            **self._described(job),
        )

    def _timeout(self, job: dict[str, Any] | None, trouble: str, goal: str) -> GoldenJobsError:
        reason = trouble
        if not reason:
            events = self._quiet_events()
            reason = f"{events[0].get('reason')}: {events[0].get('message')}" if events else "the cluster gives no reason"
        return GoldenJobsError(
            f"The job {self.name!r} on {self.client.address} is {_words(job)} and not {goal} after "
            f"{seconds(self.params['wait_timeout_s'])} ({' '.join(reason.split()).rstrip('.')}).",
            changed=self.changed,
            **self._described(job),
        )

    def _quiet_events(self) -> list[dict[str, Any]]:
        try:
            return self.client.events(self.name)
        except PaiError:
            return []

    def _result(self, job: dict[str, Any] | None, extra: dict[str, Any]) -> dict[str, Any]:
        return {"changed": self.changed, **self._described(job), **extra}

    def _described(self, job: dict[str, Any] | None) -> dict[str, Any]:
        return {
            "state": job["jobStatus"]["state"] if job else None,
            "tags": job.get("tags") or [] if job else [],
            "tasks": tasks_of(job) if job else [],
            "job": job,
            **dict(zip(("exit_code", "exit_meaning"), _exit(job), strict=True)),
        }


def _exit(job: dict[str, Any] | None) -> tuple[int | None, str]:
    """Exit code of a job that has ended, and what it means."""
    code = job["jobStatus"].get("appExitCode") if job else None
    if job is None or code is None:
        return None, ""
    spec = job["jobStatus"].get("appExitSpec") or {}
    return code, str(EXIT_MEANINGS.get(code) or spec.get("reason") or spec.get("phrase") or "no reason given").rstrip(".")


def _runs(job: dict[str, Any]) -> bool:
    """Every task runs and has an address: a job is RUNNING as soon as one of its tasks has run."""
    tasks = tasks_of(job)
    return job["jobStatus"]["state"] == "RUNNING" and bool(tasks) and all(task["state"] == "RUNNING" and task["urls"] for task in tasks)


def _words(job: dict[str, Any] | None) -> str:
    """`WAITING`, `RUNNING (1 of 2 tasks run)`, `RUNNING (asked to stop)`."""
    if job is None:
        return "not known yet"
    state = job["jobStatus"]["state"]
    tasks = tasks_of(job)
    running = sum(task["state"] == "RUNNING" for task in tasks)
    if job["jobStatus"].get("executionType") == "STOP" and state in ("WAITING", "RUNNING"):
        return f"{state} (asked to stop)"
    return f"{state} ({running} of {len(tasks)} tasks run)" if running < len(tasks) and state == "RUNNING" else str(state)


def _differences(wanted: dict[str, Any], config: dict[str, Any], path: tuple[Any, ...] = ()) -> list[str]:
    """Paths at which two jobs differ, maps followed down to what is not the same."""
    found: list[str] = []
    for key in [*wanted, *(key for key in config if key not in wanted)]:
        one, two = wanted.get(key), config.get(key)
        if isinstance(one, dict) and isinstance(two, dict):
            found.extend(_differences(one, two, (*path, key)))
        elif one != two:
            found.append(protocol.show_path((*path, key)))
    return found


# -------------------------------------------------------------------------------------------- describing


def _task_statuses(job: dict[str, Any]) -> list[dict[str, Any]]:
    return [task for role in (job.get("taskRoles") or {}).values() for task in role.get("taskStatuses") or []]


def tasks_of(job: dict[str, Any]) -> list[dict[str, Any]]:
    """One `{role, index, state, ip, ports, urls, exit_code}` per task of a job's detail.

    `ports`: label → list of numbers; `urls`: label → `http://<ip>:<first port>`, empty until the task has a node.
    That a port is listed does not mean that anything listens.
    """
    tasks = []
    for role, content in (job.get("taskRoles") or {}).items():
        for task in content.get("taskStatuses") or []:
            ip = task.get("containerIp") or ""
            ports = {
                label: [int(port) for port in str(value).split(",") if port.strip().isdigit()]
                for label, value in (task.get("containerPorts") or {}).items()
            }
            tasks.append(
                {
                    "role": role,
                    "index": task.get("taskIndex"),
                    "state": task.get("taskState"),
                    "ip": ip,
                    "ports": ports,
                    "urls": {label: f"http://{ip}:{numbers[0]}" for label, numbers in ports.items() if ip and numbers},
                    "exit_code": task.get("containerExitCode"),
                }
            )
    return tasks


# ---------------------------------------------------------------------------------------- pai_job_info


def look_up(module: Any, _progress: Progress) -> dict[str, Any]:
    """Describe the cluster, and the jobs that were asked for."""
    params = module.params
    client = client_of(params)
    me = client.whoami()
    info = client.info()
    if params["require_virtual_cluster"]:
        client.require_virtual_cluster(params["require_virtual_cluster"])
    owner = params["user"] or me["username"]
    if params["name"]:
        found = [(name, client.get_job(name, owner)) for name in params["name"]]
        jobs = [_as_item(job) for _, job in found if job is not None]
    else:
        jobs = client.list_jobs(
            username=None if owner == "*" else owner,
            state=[state.upper() for state in params["states"] or []],
            vc=params["virtual_cluster"],
            tagsContain=params["tags"],
            keyword=params["keyword"],
        )
    for job in jobs:
        if params["detail"] and job["state"] == "RUNNING":
            detail = client.get_job(job["name"], job["username"])
            job["tasks"] = tasks_of(detail) if detail else []
        if params["config"]:
            job["config"] = client.get_config(job["name"], job["username"])
    return {
        "changed": False,
        "cluster": {
            "address": client.address,
            "version": info.get("version"),
            "authn": info.get("authnMethod"),
            "user": me["username"],
            "admin": me["admin"],
            "virtual_clusters": me["virtual_clusters"],
        },
        "jobs": jobs,
    }


def _as_item(job: dict[str, Any]) -> dict[str, Any]:
    """A job's detail in the shape of a listing's item."""
    status = job["jobStatus"]
    keys = ("username", "state", "subState", "executionType", "retries", "retryDetails", "retryDelayTime", "virtualCluster")
    times = ("submissionTime", "createdTime", "launchedTime", "completedTime", "appExitCode")
    return {
        "name": job["name"],
        "debugId": job.get("debugId"),
        "tags": job.get("tags") or [],
        **{key: status.get(key) for key in (*keys, *times)},
    }
