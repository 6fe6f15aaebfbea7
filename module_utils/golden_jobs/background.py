"""Calls in threads of their own: for a deadline on what cannot be interrupted, and for several at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Generic, TypeVar

from . import threads

Argument = TypeVar("Argument")
Result = TypeVar("Result")


class Background(Generic[Result]):
    """Runs the call at once. A call that never ends does not keep the process from ending."""

    def __init__(self, call: Callable[[], Result]) -> None:
        self._call = call
        self._outcome: list[Any] = []
        self._error: BaseException | None = None
        self._thread = threads.start(self._run)

    def _run(self) -> None:
        try:
            self._outcome.append(self._call())
        except BaseException as error:
            self._error = error

    def wait(self, timeout_s: float | None = None) -> bool:
        """Whether the call has ended within the time, if there is one."""
        self._thread.join(None if timeout_s is None else max(0.0, timeout_s))
        return not self._thread.is_alive()

    def result(self) -> Result:
        """What an ended call returned; raises what it raised."""
        if self._error:
            raise self._error
        result: Result = self._outcome[0]
        return result


def outcomes(work: Callable[[Argument], Result], items: Iterable[Argument], apart_s: float = 0.0) -> list[Result | Exception]:
    """The result of each item, or its error, in their order; all at the same time, begun `apart_s` one after the other.

    Ctrl-C ends the wait at once: nobody waits for a thread that waits for a cluster.
    """
    begun: list[Background[Result]] = []
    for item in items:
        begun.append(Background(partial(work, item)))
        time.sleep(apart_s)
    found: list[Result | Exception] = []
    for one in begun:
        one.wait()
        try:
            found.append(one.result())
        except Exception as error:  # the caller's, as a result
            found.append(error)
    return found
