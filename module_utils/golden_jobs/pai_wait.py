"""Waits for a job's state: one loop, a predicate per state, a deadline, and a sentence for every way in which it can end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from . import golden_job, pai_detail
from .errors import GoldenJobsError
from .pai_client import PaiClient, PaiError
from .progress import seconds
from .pulse import Pulse

#: A job that was just submitted may be unknown for a moment.
UNKNOWN_FOR_S = 10.0
#: First pause between two looks; each is half as long again as the one before, up to the caller's interval.
FIRST_PAUSE_S = 0.25
#: A program that exits at once is seen running for a moment: what nobody probes has to run for so long.
SETTLE_S = 2.0
#: While a job waits, its warnings are asked for this often.
WARNINGS_EVERY_S = 10.0
#: Tasks whose logs are fetched when a job has failed.
MOST_LOGS = 5

#: What each of the module's states waits for.
REACHED: dict[str, Callable[[dict[str, Any]], bool]] = {
    "submitted": lambda _job: True,
    "running": pai_detail.runs,
    "succeeded": lambda job: bool(job["jobStatus"]["state"] == "SUCCEEDED"),
    "stopped": lambda job: golden_job.is_final(job["jobStatus"]),
}


def wait(
    client: PaiClient,
    name: str,
    goal: str,
    pulse: Pulse,
    *,
    timeout_s: float,
    poll_interval_s: float,
    settled: bool,
    probed: bool = False,
) -> dict[str, Any]:
    """The job's detail once `goal` is reached. `settled`: a job that runs at the first look has run for longer. `probed`: the caller
    asks the job itself, which says more than that it goes on running.

    Troubles of the server (no answer, 429, 5xx) are waited through. Raises GoldenJobsError with the keys of the module's result
    when the job ends otherwise, or at the deadline.
    """
    started = time.monotonic()
    warned_at = 0.0
    settle_s = 0.0 if probed else SETTLE_S
    reached_at: float | None = -settle_s if settled or goal != "running" else None
    said, pause_s, why = "", FIRST_PAUSE_S, ""
    while True:
        job, trouble = _look(client, name)
        waited_s = time.monotonic() - started
        if job is not None:
            if REACHED[goal](job):
                reached_at = waited_s if reached_at is None else reached_at
                if waited_s - reached_at >= settle_s:
                    if pulse.heard:
                        pulse.say(pai_detail.words(job))
                    return job
                time.sleep(min(settle_s, max(FIRST_PAUSE_S, poll_interval_s)))
                continue
            reached_at = None if goal == "running" else reached_at
            if golden_job.is_final(job["jobStatus"]):
                raise _failure(client, job, goal)
        elif trouble is None and waited_s > UNKNOWN_FOR_S:
            raise GoldenJobsError(f"The job {name!r} is not known to {client.address} although it was submitted; run this again.")
        if job is not None and job["jobStatus"]["state"] == "WAITING" and waited_s - warned_at >= WARNINGS_EVERY_S:
            warned_at, why = waited_s, _warning(client, name)
        words = str(trouble).rstrip(".") if trouble else pai_detail.words(job) + (f": {why}" if why and _waits(job) else "")
        if words != said:
            pulse.say(words)
            said = words
        left_s = timeout_s - waited_s
        if left_s <= 0:
            raise _timeout(client, name, job, goal, trouble, timeout_s)
        time.sleep(min(max(min(pause_s, poll_interval_s), trouble.retry_after_s if trouble else 0), max(0.05, left_s)))
        pause_s *= 1.5


def _look(client: PaiClient, name: str) -> tuple[dict[str, Any] | None, PaiError | None]:
    """The job, or what kept the cluster from showing it."""
    try:
        return client.get_job(name, once=True), None
    except PaiError as error:
        if not error.transient:
            raise
        return None, error


def _waits(job: dict[str, Any] | None) -> bool:
    return job is not None and job["jobStatus"]["state"] == "WAITING"


def _warning(client: PaiClient, name: str) -> str:
    """The newest reason why a job does not start, as one line."""
    found = client.warnings(name)
    return " ".join(f"{found[0].get('reason')}: {found[0].get('message')}".split()).rstrip(".") if found else ""


def _failure(client: PaiClient, job: dict[str, Any], goal: str) -> GoldenJobsError:
    """The job ended, but not as wanted."""
    code, meaning = pai_detail.exit_of(job)
    logs = _logs(client, job)
    tail = next(iter(logs.values()), []) or pai_detail.diagnostics_tail(job)
    last = next((line.strip() for line in reversed(tail) if line.strip()), "")
    how = f" with exit code {code} ({meaning})" if code is not None else ""
    hint = f"; its last line was: {last[:300].rstrip('.')}" if last else ""
    todo = f"{pai_detail.advice(job)} and submit it under a new name" if pai_detail.advice(job) else ""
    described = describe(job)
    for task in described["tasks"]:
        if (task["role"], task["index"]) in logs:
            task["log_tail"] = logs[task["role"], task["index"]]
    return GoldenJobsError(
        f"The job {job['name']!r} on {client.address} ended as {job['jobStatus']['state']}{how} instead of {goal}{hint}"
        f"{f'; {todo}' if todo else ''}.",
        advice=todo,
        exit_diagnostics=job["jobStatus"].get("appExitDiagnostics"),
        log_tail=tail,
        **described,
    )


def _logs(client: PaiClient, job: dict[str, Any]) -> dict[tuple[str, Any], list[str]]:
    """The end of each failed task's log, where it can be had."""
    found = {}
    for role, task in (pai_detail.failed_tasks(job) or pai_detail.task_statuses(job)[:1])[:MOST_LOGS]:
        lines = client.log_tail(task.get("containerLog") or "")
        if lines:
            found[role, task.get("taskIndex")] = lines
    return found


def _timeout(
    client: PaiClient, name: str, job: dict[str, Any] | None, goal: str, trouble: PaiError | None, timeout_s: float
) -> GoldenJobsError:
    reason = str(trouble) if trouble else _warning(client, name) or "the cluster gives no reason"
    if trouble:
        is_what, todo = "does not answer for", "run this again when the cluster answers"
    elif goal == "stopped":
        is_what, todo = f"is {pai_detail.words(job)} and not stopped after", "run this again to wait on"
    else:
        is_what = f"is {pai_detail.words(job)} and not {goal} after"
        todo = "it is left as it is: run this again to wait on, or stop it with state: stopped"
    return GoldenJobsError(
        f"The job {name!r} on {client.address} {is_what} {seconds(timeout_s)} ({' '.join(reason.split()).rstrip('.')}); {todo}.",
        advice=todo,
        **describe(job),
    )


def describe(job: dict[str, Any] | None) -> dict[str, Any]:
    """The keys of `pai_job`'s result that tell about the job."""
    code, meaning = pai_detail.exit_of(job)
    return {
        "state": job["jobStatus"]["state"] if job else None,
        "tags": list(job.get("tags") or []) if job else [],
        "tasks": pai_detail.tasks_of(job),
        "job": job,
        "exit_code": code,
        "exit_meaning": meaning,
    }
