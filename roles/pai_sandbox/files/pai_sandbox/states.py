"""From the inner state of a framework or task to the state that the API shows."""

from __future__ import annotations

CREATION_PENDING = "AttemptCreationPending"
PREPARING = "AttemptPreparing"
RUNNING = "AttemptRunning"
DELETION_PENDING = "AttemptDeletionPending"
ATTEMPT_COMPLETED = "AttemptCompleted"
COMPLETED = "Completed"

_STOP_CODES = (-210, -220)
_WAITING = (CREATION_PENDING, "AttemptCreationRequested", PREPARING)
_ENDING = (DELETION_PENDING, "AttemptDeletionRequested", "AttemptDeleting")


def _final(exit_code: int | None) -> str:
    if exit_code in _STOP_CODES:
        return "STOPPED"
    return "SUCCEEDED" if exit_code == 0 else "FAILED"


def _convert(state: str, exit_code: int | None, final: tuple[str, ...], ending: tuple[str, ...]) -> str:
    if state in _WAITING:
        return "WAITING"
    if state == RUNNING:
        return "RUNNING"
    if state in ending:
        return "STOPPING" if exit_code in _STOP_CODES else "RUNNING"
    return _final(exit_code) if state in final else "UNKNOWN"


def shown_state(state: str, exit_code: int | None) -> str:
    """The ``state`` of a job or the ``taskState`` of a task."""
    return _convert(state, exit_code, (COMPLETED,), (*_ENDING, ATTEMPT_COMPLETED))


def shown_attempt_state(state: str, exit_code: int | None) -> str:
    """The ``attemptState`` of a job or task."""
    return _convert(state, exit_code, (COMPLETED, ATTEMPT_COMPLETED), _ENDING)
