"""Tries again what failed for a passing reason, with growing pauses, within a number of attempts and a total time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from .errors import GoldenJobsError
from .progress import Progress, seconds

Result = TypeVar("Result")

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
_SHOWN_EVERY_S = 10.0


class TryAgain(GoldenJobsError):
    """A failure that may pass. `after_s`: how long the other side wants us to wait, None if it did not say."""

    def __init__(self, message: str, after_s: float | None = None) -> None:
        super().__init__(message)
        self.after_s = after_s


class Retry:
    """`attempts` for each piece of work, `total_s` seconds for all of them from now on."""

    def __init__(self, attempts: int, total_s: float, limit_name: str, progress: Progress) -> None:
        self._attempts = attempts
        self._total_s = total_s
        self._limit_name = limit_name
        self._progress = progress
        self._deadline = time.monotonic() + total_s
        #: Attempts beyond the first, over all pieces of work.
        self.repeated = 0

    @property
    def left_s(self) -> float:
        return self._deadline - time.monotonic()

    def run(self, work: Callable[[], Result]) -> Result:
        """The result of `work`, called again after each TryAgain; GoldenJobsError when patience ends."""
        pause_s = FIRST_PAUSE_S
        for attempt in range(1, self._attempts + 1):
            try:
                return work()
            except TryAgain as error:
                reason = str(error).rstrip(".")
                if attempt == self._attempts:
                    raise GoldenJobsError(f"{reason}; given up after {attempt} attempts.") from error
                # Some jitter, so that many clients of one registry do not come back at the same moment.
                wait_s = max(pause_s, error.after_s or 0.0) * random.uniform(1.0, 1.1)  # noqa: S311
                if wait_s >= self.left_s:
                    asked = f"it wants us to wait {seconds(error.after_s)}, and " if error.after_s else ""
                    raise GoldenJobsError(
                        f"{reason}; given up after {attempt} attempts: {asked}{self._limit_name} allows {seconds(self._total_s)} in total."
                    ) from error
                self._progress.say(f"{reason}; trying again in {seconds(wait_s)} (attempt {attempt + 1} of {self._attempts})")
                self._wait(wait_s)
                self.repeated += 1
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        raise GoldenJobsError(f"The option attempts is {self._attempts}: at least 1 is needed.")

    def _wait(self, wait_s: float) -> None:
        until = time.monotonic() + wait_s
        while (left_s := until - time.monotonic()) > 0:
            time.sleep(min(left_s, _SHOWN_EVERY_S))
            if until - time.monotonic() > 1:
                self._progress.say(f"trying again in {seconds(until - time.monotonic())}")
