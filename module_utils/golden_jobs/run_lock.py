"""One run at a time works on a course on a build server: what one makes of its context, another must not change while it is built and tested.

A run is an ansible-playbook process; several modules work for it, one after the other, and the lock stays its own in between. It is a file
`{"run": identity of that process, "by": user@host, "since": s, "seen": s}` (times in seconds since the epoch). The lock of a run that is dead
frees itself: at once where the process can be asked for (the run is on this machine), else `LEASE_S` after its last module has ended. A module
that is still at work, for example a build that outlived its connection, holds it in any case (a lock on the file `.busy`).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from . import build_turn
from .errors import GoldenJobsError
from .managed_files import write
from .process_identity import identity, is_alive
from .progress import Progress, Waiting

SPEC: dict[str, Any] = {
    "lock": {"type": "path"},
    "lock_wait_s": {"type": "int", "default": 7200},
    # Set by the action plugins, not by users.
    "_run": {"type": "dict", "options": {"identity": {"type": "str"}, "by": {"type": "str"}}},
}
LEASE_S = 120.0
_POLL_S = 0.5


@contextlib.contextmanager
def held(params: Mapping[str, Any], progress: Progress, ends: Callable[[], bool]) -> Iterator[None]:
    """Work under the lock of `params`; nothing without one. Afterwards the run keeps it, unless it failed or `ends()` says that it was the last."""
    path = params.get("lock")
    if not path:
        yield
        return
    me = _me(params)
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(f"{path}.busy", "a", encoding="ascii") as busy:
        since = _acquire(path, me, busy.fileno(), params["lock_wait_s"], progress)
        last = True
        try:
            yield
            last = ends() or not params.get("_run")
        finally:
            with _alone(path):
                if last:
                    build_turn.end(path)
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(path)
                else:
                    _write(path, me, since)


def _me(params: Mapping[str, Any]) -> dict[str, str]:
    """The run that these options belong to."""
    run = params.get("_run") or {}
    return {"run": run.get("identity") or identity(), "by": run.get("by") or "somebody"}


def _acquire(path: str, me: dict[str, str], busy: int, wait_s: float, progress: Progress) -> float:
    """Have the lock; when the run began to have it."""
    waiting = Waiting(progress.say)
    while True:
        with _alone(path):
            other = _read(path)
            if other is None or other["run"] == me["run"] or _is_free(path, other):
                fcntl.flock(busy, fcntl.LOCK_SH)
                mine = float(other["since"]) if other and other["run"] == me["run"] else time.time()
                _write(path, me, mine)
                return mine
        since = time.strftime("%H:%M", time.localtime(other["since"]))
        if waiting.waited_s >= wait_s:
            raise GoldenJobsError(
                f"{other['by']} has been working on this course on this build server since {since}: run this again when that has ended (lock {path})."
            )
        waiting.goes_on(f"waiting for the run of {other['by']} that began at {since}")
        time.sleep(_POLL_S)


def holder(path: str) -> str | None:
    """The identity of the live run that has this lock, if one has it."""
    other = _read(path)
    return None if other is None or _is_free(path, other) else str(other["run"])


def take_turn(params: Mapping[str, Any], progress: Progress) -> None:
    """Under the lock of `params`: wait until this course may be built here (`build_turn`); nothing without a lock."""
    if params.get("lock"):
        build_turn.take(params["lock"], _me(params)["run"], holder, params["lock_wait_s"], progress.say)


def _is_free(path: str, other: dict[str, Any]) -> bool:
    """Whether the run that has the lock is dead."""
    with open(f"{path}.busy", "a", encoding="ascii") as busy:
        try:
            fcntl.flock(busy.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    alive = is_alive(other["run"])
    return not alive if alive is not None else time.time() - other["seen"] > LEASE_S


def _read(path: str) -> dict[str, Any] | None:
    """Who has the lock; a file that is none counts as nobody's."""
    try:
        with open(path, encoding="utf-8") as handle:
            found = json.load(handle)
        return {"run": str(found["run"]), "by": str(found["by"]), "since": float(found["since"]), "seen": float(found["seen"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(path: str, me: Mapping[str, str], since: float) -> None:
    write(path, json.dumps({**me, "since": since, "seen": time.time()}) + "\n", 0o644)


@contextlib.contextmanager
def _alone(path: str) -> Iterator[None]:
    """For the moment that it takes to look at the file and to write it."""
    with open(f"{path}.look", "a", encoding="ascii") as handle:
        fcntl.flock(handle.fileno(), fcntl.LOCK_EX)
        yield
