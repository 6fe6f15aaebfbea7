"""One lock per machine between builds and whatever restarts its engine or removes its images.

Builds hold it together, a restart alone. It is a lock on an open file: it ends with the process that holds it, however that ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from typing import BinaryIO

from .errors import GoldenJobsError
from .progress import Waiting

#: Every user of the machine can write there; the folder is empty after a boot.
PATH = "/run/lock/golden-jobs-engine"
_POLL_S = 0.2


@contextlib.contextmanager
def building(path: str = PATH, say: Callable[[str], None] = lambda text: None) -> Iterator[None]:
    """Hold the lock together with other builds. Waits while somebody restarts the engine; does nothing where there is no folder for locks."""
    lock = _opened(path)
    if lock is None:
        yield
        return
    with lock:
        _wait(lock.fileno(), fcntl.LOCK_SH, None, say, "waiting for the engine, which is being restarted")
        yield


@contextlib.contextmanager
def alone(wait_s: float, path: str = PATH, say: Callable[[str], None] = lambda text: None) -> Iterator[None]:
    """Hold the lock while nothing is built. Raises `GoldenJobsError` when a build goes on for longer than `wait_s`."""
    lock = _opened(path)
    if lock is None:
        yield
        return
    with lock:
        if not _wait(lock.fileno(), fcntl.LOCK_EX, wait_s, say, "waiting for builds to end"):
            raise GoldenJobsError(
                f"A build has been running here for {wait_s:g} s and more: nothing was touched; run this again when it has ended (lock {path})."
            )
        yield


def _opened(path: str) -> BinaryIO | None:
    if not os.path.isdir(os.path.dirname(path)):
        return None
    # Without O_CREAT first: in a folder like this the kernel may refuse that flag for a file of another user.
    for flags in (os.O_RDONLY, os.O_RDONLY | os.O_CREAT):
        try:
            return os.fdopen(os.open(path, flags, 0o644), "rb")
        except FileNotFoundError:
            continue
    return None


def _wait(number: int, how: int, wait_s: float | None, say: Callable[[str], None], what: str) -> bool:
    waiting = Waiting(say)
    while True:
        try:
            fcntl.flock(number, how | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if wait_s is not None and waiting.waited_s >= wait_s:
                return False
            waiting.goes_on(what)
            time.sleep(_POLL_S)
