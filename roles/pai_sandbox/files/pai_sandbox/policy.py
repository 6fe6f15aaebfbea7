"""Decisions about jobs that need no I/O: is an attempt over, is it tried again."""

from __future__ import annotations

from dataclasses import dataclass

from .exits import Ending, exit_spec
from .protocol import JobSpec
from .states import COMPLETED
from .store import Row


@dataclass(frozen=True)
class Verdict:
    """The end of an attempt and the task that brought it about."""

    ending: Ending
    trigger_message: str | None = None
    trigger_role: str | None = None
    trigger_index: int | None = None


def _last(tasks: list[Row]) -> Row:
    return max(tasks, key=lambda task: (task["completion_time"], task["task_index"]))


def verdict(spec: JobSpec, tasks: list[Row], runtime_of: dict[int, Ending]) -> Verdict | None:
    """How an attempt ends by its completion policies, or None while it goes on.

    ``runtime_of`` gives the ending of each completed task by the task's row id.
    """
    for role in spec.roles:
        done = [task for task in tasks if task["role"] == role.name and task["sub_state"] == COMPLETED]
        failed = [task for task in done if task["exit_code"] != 0]
        succeeded = [task for task in done if task["exit_code"] == 0]
        if 0 < role.min_failed <= len(failed):
            message = f"FailedTaskCount {len(failed)} has reached MinFailedTaskCount {role.min_failed} in the TaskRole"
            task = _last(failed)
            return Verdict(runtime_of[task["id"]], message, role.name, task["task_index"])
        if 0 < role.min_succeeded <= len(succeeded):
            message = f"SucceededTaskCount {len(succeeded)} has reached MinSucceededTaskCount {role.min_succeeded} in the TaskRole"
            task = _last(succeeded)
            return Verdict(runtime_of[task["id"]], message, role.name, task["task_index"])
    if all(task["sub_state"] == COMPLETED for task in tasks):
        task = _last(tasks)
        message = f"CompletedTaskCount {len(tasks)} has reached TotalTaskCount {len(tasks)} in the Framework"
        return Verdict(Ending(0, "All Tasks are completed"), message, task["role"], task["task_index"])
    return None


def retry_kind(exit_code: int, user_retries: int, max_retries: int) -> str | None:
    """``user`` or ``platform`` when an attempt that ended so is tried again, else None.

    ``jobRetryCount`` limits only failures that count; platform failures (a killed program among them) come back always.
    """
    spec = exit_spec(exit_code) or {}
    if spec.get("reaction") in ("ALWAYS_RETRY", "ALWAYS_BACKOFF_RETRY"):
        return "platform"
    if spec.get("reaction") == "RETRY_TO_MAX" and user_retries < max_retries:
        return "user"
    return None
