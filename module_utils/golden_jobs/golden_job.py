"""Golden Jobs of a course on one cluster: what is there, and what has to be done. Pure.

The cluster's jobs, their names and their tags are the only memory:

- the name `golden-<course>-<revision>-<n>` says what a job runs; OpenPAI never frees a name, so `n` counts up;
- the tag `golden-job:<course>` marks the Golden Jobs of a course, for people and for searches;
- the tag `golden-current` marks the one that answers for the course now.

The order of a rollout's steps makes every interruption readable from these: submit, tag as Golden Job, (probe,
bake, probe), tag as current, then for each other one: untag, stop. So an active job of the wanted revision
without `golden-current` has yet to prove itself; with it, it has answered twice; and of two that carry it, the one
that was submitted later has taken over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from .errors import GoldenJobsError

#: States that never change again.
FINAL_STATES = ("SUCCEEDED", "FAILED", "STOPPED")
#: Every Golden Job's name begins so: the keyword of the one search per cluster.
NAME_PREFIX = "golden-"
#: `golden-job:<course>` marks a Golden Job of that course.
TAG_JOB = "golden-job:"
#: The one that students' environments are cloned from.
TAG_CURRENT = "golden-current"
#: Kept free for a later use: a revision that must not come back.
TAG_BAD = "golden-bad"

COURSE_NAME = re.compile(r"[A-Za-z0-9_-]{1,200}")
_NAME = re.compile(r"golden-(?P<course>[A-Za-z0-9_-]+)-(?P<revision>[0-9a-f]{8})-(?P<n>[1-9][0-9]*)")


def job_name(course: str, revision: str, n: int) -> str:
    """`golden-<course>-<revision>-<n>`; GoldenJobsError for a course that OpenPAI could not carry in a name."""
    check_course(course)
    return f"{NAME_PREFIX}{course}-{revision}-{n}"


def check_course(course: str) -> None:
    """Raise GoldenJobsError for a course that OpenPAI could not carry in a name."""
    if not COURSE_NAME.fullmatch(course):
        raise GoldenJobsError(f"The course name {course!r} cannot be part of a job name; allowed: 1 to 200 of A-Z a-z 0-9 _ and -.")


def parse_name(name: str) -> dict[str, Any] | None:
    """`{course, revision, n}`, or None for any other job."""
    match = _NAME.fullmatch(name)
    return {"course": match["course"], "revision": match["revision"], "n": int(match["n"])} if match else None


def course_tags(course: str) -> list[str]:
    """The tags that every Golden Job of the course has."""
    return [TAG_JOB + course]


def is_final(job: dict[str, Any]) -> bool:
    """Has the job ended for good?"""
    return job["state"] in FINAL_STATES


def is_active(job: dict[str, Any]) -> bool:
    """Does the job run, or will it, with nobody having asked it to stop?"""
    return not is_final(job) and job["state"] != "STOPPING" and job.get("executionType") != "STOP"


def jobs_of(course: str, jobs: Iterable[dict[str, Any]], user: str | None = None) -> list[dict[str, Any]]:
    """The user's Golden Jobs of exactly this course, newest first (the server's own search is a substring search)."""
    mine = [
        job
        for job in jobs
        if (user is None or job.get("username", user) == user)
        and ((parse_name(job["name"]) or {}).get("course") == course or TAG_JOB + course in (job.get("tags") or []))
    ]
    return sorted(mine, key=_age_key, reverse=True)


def _age_key(job: dict[str, Any]) -> tuple[int, int]:
    return job.get("submissionTime") or job.get("createdTime") or 0, (parse_name(job["name"]) or {"n": 0})["n"]


def current_job(course: str, jobs: Iterable[dict[str, Any]], user: str | None = None) -> dict[str, Any] | None:
    """The Golden Job that answers for the course: active, tagged current, and the newest of these."""
    return next((job for job in jobs_of(course, jobs, user) if is_active(job) and TAG_CURRENT in (job.get("tags") or [])), None)


def plan(course: str, jobs: Iterable[dict[str, Any]], revision: str, user: str | None = None) -> dict[str, Any]:
    """What brings the course to `revision` on a cluster with these jobs (items of a job listing, any state).

    Returns `{action, course, revision, name, url, candidate, promoted, live, retire, demote, tags, reason}`:

    - `action`: `none` (the wanted job is current, runs, and is alone), `submit` (a job `name` has to be made) or
      `resume` (the job `name` exists and an earlier run did not bring it to its end);
    - `name`: the Golden Job that shall be current afterwards; `candidate`: the same while it has yet to get there, else null;
    - `url`: where `name` answers now, null while it does not run (needs jobs listed with detail);
    - `promoted`: the candidate is current already. It then never is to be stopped: nothing else may be left;
    - `live`: name of the job that is current now, if it is another one: the one that stays when the candidate fails;
    - `retire`: names of the other active Golden Jobs, to be stopped at the end, the live one last;
    - `demote`: names of ended jobs that still carry the tag of the current one;
    - `tags`: what the Golden Job of `name` is tagged with at once; `reason`: one line for people.
    """
    mine = jobs_of(course, jobs, user)
    active = [job for job in mine if is_active(job)]
    current = current_job(course, mine)
    wanted = [job for job in active if (parse_name(job["name"]) or {}).get("revision") == revision]
    # The current one first: a second job of the same revision must not replace it.
    chosen = current if current in wanted else wanted[0] if wanted else None

    if chosen:
        name = chosen["name"]
    else:
        used = [parsed["n"] for job in mine if (parsed := parse_name(job["name"])) and parsed["revision"] == revision]
        name = job_name(course, revision, max(used, default=0) + 1)
    others = [job for job in active if job["name"] != name]
    promoted = chosen is not None and chosen is current
    live = None if promoted else current
    result = {
        "course": course,
        "revision": revision,
        "name": name,
        "url": task_url(chosen.get("tasks") or []) if chosen else None,
        "promoted": promoted,
        "live": live["name"] if live else None,
        "retire": [job["name"] for job in sorted(others, key=lambda job: job is live)],
        "demote": [job["name"] for job in mine if not is_active(job) and TAG_CURRENT in (job.get("tags") or [])],
        "tags": course_tags(course),
    }
    if chosen is None:
        result["action"] = "submit"
        old = parse_name(live["name"]) if live else None
        before = f"instead of {live['name']}" if live else "as the first one" if not mine else "as none is current"
        kind = "new number, same revision" if old and old["revision"] == revision else f"revision {revision}"
        result["reason"] = f"submit {name} {before} ({kind})"
    elif promoted and _is_settled(chosen, course) and not others and not result["demote"]:
        result["action"] = "none"
        result["reason"] = f"{name} is current"
    else:
        result["action"] = "resume"
        result["reason"] = f"complete what an earlier run began with {name}"
    result["candidate"] = None if result["action"] == "none" else name
    return result


def _is_settled(job: dict[str, Any], course: str) -> bool:
    return job["state"] == "RUNNING" and TAG_JOB + course in (job.get("tags") or [])


def status(course: str, jobs: Iterable[dict[str, Any]], user: str | None = None) -> dict[str, Any]:
    """How the course stands on a cluster: `{course, state, name, revision, since_ms, url, image}`.

    `state`: `current` (tagged and running), the job's own state in lower case when it is tagged but not running,
    `missing` when nothing is current. `url` and `image` need jobs listed with detail and config.
    """
    live = current_job(course, jobs, user)
    if live is None:
        return {"course": course, "state": "missing", "name": None, "revision": None, "since_ms": None, "url": None, "image": None}
    return {
        "course": course,
        "state": "current" if live["state"] == "RUNNING" else live["state"].lower(),
        "name": live["name"],
        "revision": (parse_name(live["name"]) or {}).get("revision"),
        "since_ms": live.get("submissionTime") or live.get("createdTime"),
        "url": task_url(live.get("tasks") or []),
        "image": next(
            (item.get("uri") for item in (live.get("config") or {}).get("prerequisites") or [] if item.get("type") == "dockerimage"), None
        ),
    }


def task_url(tasks: Iterable[dict[str, Any]], label: str = "http") -> str | None:
    """The address of the first running task that has a port of this label, or None."""
    return next((task["urls"][label] for task in tasks if task["state"] == "RUNNING" and label in task["urls"]), None)


def age(since_ms: int | None, now_s: float) -> str:
    """`12 s`, `5 min`, `3 h` or `4 d`; `-` without a time."""
    if not since_ms:
        return "-"
    seconds = max(0, int(now_s - since_ms / 1000))
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def table(rows: list[list[Any]], head: list[str]) -> list[str]:
    """Lines of a plain text table, columns as wide as their longest cell; an empty cell is `-`."""
    cells = [head, *[["-" if value in (None, "") else str(value) for value in row] for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in cells]
