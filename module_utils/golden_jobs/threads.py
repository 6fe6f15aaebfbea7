"""Threads that leave signals to the main thread.

Python acts on a signal in the main thread alone. When the system delivers it to another thread, a main thread that
waits in a system call is not woken, and Ctrl-C would be noticed only when that call ends by itself.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

_BLOCKED = {signal.SIGINT, signal.SIGTERM}

Argument = TypeVar("Argument")
Result = TypeVar("Result")


def start(target: Callable[..., Any], *args: Any) -> threading.Thread:
    """Start a daemon thread in which SIGINT and SIGTERM are blocked."""
    thread = threading.Thread(target=target, args=args, daemon=True)
    former = signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)
    try:
        thread.start()  # it inherits the mask
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)
    return thread


def at_once(work: Callable[[Argument], Result], items: Iterable[Argument], most: int) -> list[Result]:
    """`work` of each item, in their order, at most `most` at the same time; the first error is raised."""
    with ThreadPoolExecutor(most, initializer=signal.pthread_sigmask, initargs=(signal.SIG_BLOCK, _BLOCKED)) as pool:
        return list(pool.map(work, items))
