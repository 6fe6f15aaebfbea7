"""The one exception that a module turns into `fail_json`, and the short words for what is behind another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class GoldenJobsError(Exception):
    """Something the user can act on.

    The message is one sentence: what is wrong, where, what is allowed. `details` become further keys of
    the module's result (never secrets).
    """

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.details = details


def reason(error: BaseException | None) -> str:
    """The innermost cause as a short text: `Connection refused` and not five nested class names."""
    *_outer, last = [None, *causes(error)]
    return (getattr(last, "strerror", None) or str(last or "no reason given") or type(last).__name__).rstrip(".")


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what is behind it, innermost last; also where requests and urllib3 hide it."""
    seen: set[int] = set()
    current: Any = error
    while isinstance(current, BaseException) and id(current) not in seen:
        seen.add(id(current))
        yield current
        inner = [arg for arg in current.args if isinstance(arg, BaseException)]
        current = getattr(current, "reason", None) or (inner[-1] if inner else None) or current.__cause__ or current.__context__
