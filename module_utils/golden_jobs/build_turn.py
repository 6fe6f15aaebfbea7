"""Turns of the courses of one build server: no more of them at a time than there are processors.

The longest has its turn at once, and beside it the shortest first. All at once they would share the processors, and the longest, slowed by all
others, would be alone at the end; those that are short disturb it least, and most courses are done early. A turn lasts from the build to the end of
the run's lock (`run_lock`): tested, pushed, or failed. Beside each course's lock lie `lock.turn`, `{"run": identity, "begun": s or null}`, and
`lock.took`, the seconds of its last turn. A turn is a courtesy: whose run is dead has none, and what cannot be read counts for nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from .managed_files import write
from .progress import Waiting

_POLL_S = 0.1
#: So long one waits for courses that would go before it and do not know yet whether they have to be built.
_UNDECIDED_S = 15.0


def take(
    lock: str, run: str, holder: Callable[[str], str | None], wait_s: float, say: Callable[[str], None], at_once: int | None = None
) -> None:
    """Wait for a turn and begin it, after `wait_s` in any case. `holder`: the live run that has a lock; `run`: the one that has this lock."""
    at_once = at_once or max(2, os.cpu_count() or 1)
    waiting = Waiting(say)
    write(_turn(lock), json.dumps({"run": run, "begun": None}), 0o644)
    while True:
        waited_s = waiting.waited_s
        with _looking(lock):
            before = _before(lock, holder, undecided=waited_s < _UNDECIDED_S)
            if len(before) < at_once or waited_s >= wait_s:
                write(_turn(lock), json.dumps({"run": run, "begun": time.time()}), 0o644)
                return
        waiting.goes_on(f"waiting for its turn after {', '.join(before)}")
        time.sleep(_POLL_S)


def end(lock: str) -> None:
    """End the turn of the run that has this lock, if there is one, and remember what it took."""
    begun = _read_turn(lock).get("begun")
    with contextlib.suppress(OSError):
        os.unlink(_turn(lock))
        if isinstance(begun, (int, float)):
            write(f"{lock}.took", json.dumps(round(time.time() - begun, 1)), 0o644)


def _before(lock: str, holder: Callable[[str], str | None], *, undecided: bool) -> list[str]:
    """The other courses that are at work, or that may begin before this one."""
    folder = os.path.dirname(lock)
    parent, mine = os.path.dirname(folder), os.path.basename(folder)
    begun, waiting = [], []
    for name in sorted(os.listdir(parent)):
        other = os.path.join(parent, name, os.path.basename(lock))
        run = holder(other) if name != mine and os.path.exists(other) else None
        if run is None:
            continue
        turn = _read_turn(other)
        decided = turn.get("run") == run
        if decided and turn.get("begun"):
            begun.append((_took(other), name))
        elif decided or undecided:
            waiting.append((_took(other), name))
    rank = (_took(lock), mine)
    longest = max([rank, *begun, *waiting])
    first = [] if rank == longest else [one for one in waiting if one < rank or one == longest]
    return [name for _took_s, name in begun + first]


def _took(lock: str) -> float:
    """Seconds of the last turn; for ever where nobody knows: it may be the longest."""
    found = _read(f"{lock}.took")
    return float(found) if isinstance(found, (int, float)) else math.inf


def _turn(lock: str) -> str:
    return f"{lock}.turn"


def _read_turn(lock: str) -> dict[str, Any]:
    found = _read(_turn(lock))
    return found if isinstance(found, dict) else {}


def _read(path: str) -> Any:
    try:
        with open(path, encoding="utf-8") as handle:
            return json.load(handle)
    except (OSError, ValueError):
        return None


@contextlib.contextmanager
def _looking(lock: str) -> Iterator[None]:
    """Alone among the courses of this build server, for the moment that it takes to look and to begin."""
    with open(os.path.join(os.path.dirname(os.path.dirname(lock)), ".turns"), "a", encoding="ascii") as handle:
        fcntl.flock(handle.fileno(), fcntl.LOCK_EX)
        yield
