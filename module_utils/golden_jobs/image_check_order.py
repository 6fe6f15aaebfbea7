"""When each check of an image runs: side by side where it can, and their rows in the order in which they are written."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from .background import Background
from .image_checks import kind

Check = Mapping[str, Any]
Row = dict[str, Any]

#: So many run at the same time. Most of them keep a processor busy, so more of them would only be in each other's way, and all of
#: them share the container's memory.
AT_ONCE = max(2, min(4, os.cpu_count() or 2))


class CheckOrder:
    """The checks of one container. Who leaves off in between, as after Ctrl-C, has to wait for none of them."""

    def __init__(self, checks: Sequence[Check], row: Callable[[Check], Row]) -> None:
        """`row` runs a check."""
        self._checks = checks
        self._row = row
        self._free = threading.Semaphore(AT_ONCE)
        self._begun: dict[int, Background[Row]] = {}

    def begin_without_server(self) -> None:
        """Begin those that need the container but not what it serves."""
        self._begin(lambda check: check["needs_server"] is False)

    def rows(self) -> Iterator[Row]:
        """One row per check, each as soon as it and all before it are there. The server is ready now."""
        self._begin(lambda check: not _comes_last(check))
        for number, check in enumerate(self._checks):
            if _comes_last(check):
                for other in self._begun.values():
                    other.wait()
                yield self._row(check)
            else:
                self._begun[number].wait()
                yield self._begun[number].result()

    def _begin(self, wanted: Callable[[Check], bool]) -> None:
        for number, check in enumerate(self._checks):
            if number not in self._begun and wanted(check):
                self._begun[number] = Background(lambda check=check: self._when_free(check))  # type: ignore[misc]

    def _when_free(self, check: Check) -> Row:
        with self._free:
            return self._row(check)


def _comes_last(check: Check) -> bool:
    """The log is looked at when all the others have had their say in it."""
    return kind(check) == "log_without"
