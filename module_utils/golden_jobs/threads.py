"""Threads that leave signals to the main thread.

Python acts on a signal in the main thread alone. When the system delivers it to another thread, a main thread that
waits in a system call is not woken, and Ctrl-C would be noticed only when that call ends by itself.
"""

from __future__ import annotations

import queue
import signal
import threading
import time
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


def outcomes(work: Callable[[Argument], Result], items: Iterable[Argument], apart_s: float = 0.0) -> list[Result | Exception]:
    """The result of each item, or its error, in their order; all at the same time, begun `apart_s` one after the other.

    Ctrl-C ends the wait at once: nobody waits for a thread that waits for a cluster.
    """
    inbox: queue.SimpleQueue[tuple[int, Result | Exception]] = queue.SimpleQueue()

    def one(number: int, item: Argument) -> None:
        try:
            inbox.put((number, work(item)))
        except Exception as error:  # the caller's, as a result
            inbox.put((number, error))

    started = []
    for number, item in enumerate(items):
        started.append(start(one, number, item))
        time.sleep(apart_s)
    found = dict(inbox.get() for _thread in started)
    return [found[number] for number in range(len(started))]
