"""Work on many items, shared among as many processes as there are processors: the threads of one process share one processor."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def shared(work: Callable[[Sequence[Item]], list[Result]], items: Sequence[Item], most: int | None = None) -> list[Result]:
    """What `work` returns for shares of the items, in the items' order; the results have to be picklable.

    The first share is worked on here, the others in forked processes, which end with this one's interrupt. Called before threads are started.
    """
    count = max(1, min(most or os.cpu_count() or 1, len(items)))
    parts = [items[number::count] for number in range(count)]
    children = []
    try:
        for part in parts[1:]:
            children.append(_fork(work, part))
        found = [work(parts[0]), *(_read(pipe) for _pid, pipe in children)]
    except BaseException:
        for pid, _pipe in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        raise
    finally:
        for pid, pipe in children:
            pipe.close()
            os.waitpid(pid, 0)
    return [found[number % count][number // count] for number in range(len(items))]


def _fork(work: Callable[[Sequence[Item]], list[Result]], part: Sequence[Item]) -> tuple[int, Any]:
    """A process and the pipe that its results, or its error, come from."""
    read, write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(write)
        return pid, os.fdopen(read, "rb")
    try:
        os.close(read)
        try:
            answer = pickle.dumps((work(part), None))
        except Exception as error:
            answer = pickle.dumps((None, f"{type(error).__name__}: {error}"))
        with os.fdopen(write, "wb") as pipe:
            pipe.write(answer)
    finally:
        os._exit(0)  # not a second end of everything that the parent has open


def _read(pipe: Any) -> Any:
    try:
        found, error = pickle.load(pipe)  # noqa: S301 - from our own child
    except EOFError:
        found, error = None, "it was killed"
    if error:
        raise RuntimeError(f"A process that worked on a share has failed: {error}")
    return found
