"""A student's environment: a job of his or her own, cloned from the course's Golden Job. Pure.

The name `env-<course>-<student>-<n>` says whose it is; OpenPAI never frees a name, so `n` counts up. A student's name has no
dash, so that every name can be read in one way only. The tag `environment-of:<golden job>` says what it was cloned from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from . import golden_job
from .errors import GoldenJobsError

#: `environment-of:<golden job>` names the job that an environment was cloned from.
TAG_SOURCE = "environment-of:"

STUDENT_NAME = re.compile(r"[A-Za-z0-9_]{1,40}")
_NUMBER = re.compile(r"[1-9][0-9]*")


def check_student(student: str) -> None:
    """Raise GoldenJobsError for a student who could not be part of a job's name."""
    if not STUDENT_NAME.fullmatch(student):
        raise GoldenJobsError(
            f"The student {student!r} cannot be part of a job name; allowed: 1 to 40 of A-Z a-z 0-9 and _, for example alice."
        )


def prefix(course: str, student: str) -> str:
    """What every environment of the student in the course begins with."""
    golden_job.check_course(course)
    check_student(student)
    return f"env-{course}-{student}-"


def plan(course: str, student: str, jobs: Iterable[dict[str, Any]], golden: dict[str, Any] | None = None) -> dict[str, Any]:
    """What gives the student an environment, from the user's jobs (items of a listing, any state).

    Returns `{name, clone_from, stop, problem}`: `name` of the one that is there, or of the next one; `clone_from` the Golden Job
    that it has to be cloned from, null when it is there; `stop` the names of all that are active, newest first; `problem` why there can be none.
    """
    start = prefix(course, student)
    numbers = {job["name"]: int(job["name"][len(start) :]) for job in jobs if _is_numbered(job["name"], start)}
    active = sorted((job["name"] for job in jobs if job["name"] in numbers and golden_job.is_active(job)), key=lambda name: -numbers[name])
    if active:
        return {"name": active[0], "clone_from": None, "stop": active, "problem": ""}
    return {
        "name": f"{start}{max(numbers.values(), default=0) + 1}",
        "clone_from": golden["name"] if golden else None,
        "stop": [],
        "problem": "" if golden else f"the course {course} has no running Golden Job to clone",
    }


def source_of(tags: Iterable[str]) -> str:
    """The Golden Job that a job with these tags was cloned from; empty when they do not say."""
    return next((tag[len(TAG_SOURCE) :] for tag in tags if tag.startswith(TAG_SOURCE)), "")


def _is_numbered(name: str, start: str) -> bool:
    return name.startswith(start) and bool(_NUMBER.fullmatch(name[len(start) :]))
