"""One call in a thread of its own, for a deadline on what cannot be interrupted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from . import threads

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
