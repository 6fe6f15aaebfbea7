"""A job's detail, as `GET /api/v2/jobs/<user>~<job>` gives it, read for people and playbooks. Pure."""

from __future__ import annotations

from collections import Counter
from typing import Any

from . import golden_job

Detail = dict[str, Any]

#: Exit codes worth a word of ours: what it means, and what to do (k8s-job-exit-spec of OpenPAI 1.8).
EXIT_CODES: dict[int, tuple[str, str]] = {
    -1100: ("Kubernetes refused the job", "correct what the diagnostics name"),
    -1200: ("out of memory", "give it more memoryMB"),
    -200: ("invalid pod", "correct what the diagnostics name"),
    -210: ("stopped by a user", ""),
    -220: ("stopped because the job was complete", ""),
    137: ("killed by SIGKILL, often out of memory", "give it more memoryMB"),
    139: ("segmentation fault", "correct its program"),
    143: ("killed by SIGTERM", ""),
    220: ("a command of the job failed", "correct its commands"),
    250: ("the container runtime failed", "ask the cluster's administrator"),
    251: ("not all tasks could start in time", "ask for less, or for another virtual cluster"),
    253: ("a port is already taken on the node", "submit it again"),
    254: ("the image does not exist, or its registry refuses the login", "correct the image's uri or the secret of its registry"),
    255: ("a command of the job failed", "correct its commands"),
}


def exit_of(job: Detail | None) -> tuple[int | None, str]:
    """Exit code of a job that has ended, and what it means."""
    status = job["jobStatus"] if job else {}
    code, meaning = _meaning(status.get("appExitCode"), status.get("appExitSpec"))
    # The runtime turns the code of a failed command into one of its own and hands the command's up in a message.
    own = _runtime(status).get("originUserExitCode")
    return code, f"{meaning} with exit code {own}" if own and own != code else meaning


def _meaning(code: int | None, spec: dict[str, Any] | None) -> tuple[int | None, str]:
    """Our own words first, then the cluster's."""
    if code is None:
        return None, ""
    own = EXIT_CODES.get(code, ("", ""))[0]
    words = own or (spec or {}).get("reason") or (spec or {}).get("phrase") or ("ended well" if code == 0 else "no reason given")
    return code, " ".join(str(words).split()).rstrip(".")


def advice(job: Detail) -> str:
    """What to do about the job's exit code, as part of a sentence; empty when nobody can say."""
    code = job["jobStatus"].get("appExitCode")
    if code in EXIT_CODES:
        return EXIT_CODES[code][1]
    return "correct its commands" if code is not None and 0 < code < 256 else ""


def task_statuses(job: Detail) -> list[tuple[str, dict[str, Any]]]:
    """Role and status of every task; none right after a submit."""
    return [(role, task) for role, content in (job.get("taskRoles") or {}).items() for task in content.get("taskStatuses") or []]


def tasks_of(job: Detail | None) -> list[dict[str, Any]]:
    """One `{role, index, state, ip, ports, urls, exit_code, exit_meaning}` per task of a job's detail.

    `ports`: label → list of numbers; `urls`: label → `http://<ip>:<first port>`, empty until the task has a node.
    That a port is listed does not mean that anything listens.
    """
    tasks = []
    for role, task in task_statuses(job or {}):
        ip = task.get("containerIp") or ""
        ports = {
            label: [int(port) for port in str(value).split(",") if port.strip().isdigit()]
            for label, value in (task.get("containerPorts") or {}).items()
        }
        host = f"[{ip}]" if ":" in ip else ip
        code, meaning = _meaning(task.get("containerExitCode"), task.get("containerExitSpec"))
        tasks.append(
            {
                "role": role,
                "index": task.get("taskIndex"),
                "state": task.get("taskState"),
                "ip": ip,
                "ports": ports,
                "urls": {label: f"http://{host}:{numbers[0]}" for label, numbers in ports.items() if ip and numbers},
                "exit_code": code,
                "exit_meaning": meaning,
            }
        )
    return tasks


def runs(job: Detail) -> bool:
    """Every task runs and has an address: a job is RUNNING as soon as one of its tasks has run."""
    tasks = tasks_of(job)
    return job["jobStatus"]["state"] == "RUNNING" and bool(tasks) and all(task["state"] == "RUNNING" and task["urls"] for task in tasks)


def restarts(job: Detail) -> int:
    """How often the job or one of its tasks was started anew after it had ended."""
    return int(job["jobStatus"].get("retries") or 0) + sum(int(task.get("retries") or 0) for _role, task in task_statuses(job))


def words(job: Detail | None) -> str:
    """`WAITING`, `RUNNING (2 tasks: 1 RUNNING, 1 WAITING)`, `RUNNING (asked to stop)`, `WAITING (attempt 2)`, `FAILED (exit code 3)`."""
    if job is None:
        return "not known yet"
    status = job["jobStatus"]
    state = str(status["state"])
    notes = []
    states = Counter(str(task["state"]) for task in tasks_of(job))
    if golden_job.is_final(status):
        code, meaning = exit_of(job)
        return f"{state} (exit code {code}: {meaning})" if code else state
    if status.get("executionType") == "STOP" and state in ("WAITING", "RUNNING"):
        notes.append("asked to stop")
    if status.get("retries"):
        notes.append(f"attempt {status['retries'] + 1}")
    if len(states) > 1 or (states and state not in states):
        notes.append(f"{sum(states.values())} tasks: " + ", ".join(f"{number} {name}" for name, number in sorted(states.items())))
    return f"{state} ({'; '.join(notes)})" if notes else state


def failed_tasks(job: Detail) -> list[tuple[str, dict[str, Any]]]:
    """Tasks that ended badly by themselves, the one that ended the job first."""
    status = job["jobStatus"]
    trigger = (status.get("appExitTriggerTaskRoleName"), status.get("appExitTriggerTaskIndex"))
    bad = [(role, task) for role, task in task_statuses(job) if task.get("containerExitCode") not in (None, 0, -210, -220)]
    return sorted(bad, key=lambda found: (found[0], found[1].get("taskIndex")) != trigger)


def diagnostics_tail(job: Detail, lines: int = 20) -> list[str]:
    """The end of the program's own error log, which the runtime hands up with the exit code."""
    return str((_runtime(job["jobStatus"]).get("errorLogs") or {}).get("user") or "").splitlines()[-lines:]


def _runtime(status: dict[str, Any]) -> dict[str, Any]:
    """What the container's runtime says about the end: `{exitCode, originUserExitCode, errorLogs{user, platform}, name}`."""
    return (status.get("appExitMessages") or {}).get("runtime") or {}


def as_item(job: Detail) -> dict[str, Any]:
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
