"""The one exception that a module turns into `fail_json`."""

from __future__ import annotations

from typing import Any


class GoldenJobsError(Exception):
    """Something the user can act on.

    The message is one sentence: what is wrong, where, what is allowed. `details` become further keys of
    the module's result (never secrets).
    """

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.details = details
