"""Rate limits like express-rate-limit 5: fixed windows, counted in memory, gone with a restart."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """The state of one key's window after a hit."""

    limit: int
    remaining: int
    reset_epoch_s: int
    exceeded: bool
    window_s: int

    def headers(self) -> dict[str, str]:
        """The headers that tell a client about its window."""
        found = {
            "x-ratelimit-limit": str(self.limit),
            "x-ratelimit-remaining": str(self.remaining),
            "x-ratelimit-reset": str(self.reset_epoch_s),
        }
        return {**found, "retry-after": str(self.window_s)} if self.exceeded else found


class RateLimiter:
    """Counts hits per key in windows of ``window_s``; a limit of 0 never refuses."""

    def __init__(self, limit: int, window_s: int) -> None:
        self._limit = limit
        self._window_s = window_s
        self._hits: dict[str, int] = {}
        self._reset_at = time.time() + window_s
        self._lock = threading.Lock()

    def hit(self, key: str) -> Verdict | None:
        """Count one request; None when the limit is off."""
        if not self._limit:
            return None
        with self._lock:
            now = time.time()
            if now >= self._reset_at:
                self._hits.clear()
                self._reset_at = now + self._window_s
            count = self._hits[key] = self._hits.get(key, 0) + 1
        return Verdict(
            limit=self._limit,
            remaining=max(0, self._limit - count),
            reset_epoch_s=math.ceil(self._reset_at),
            exceeded=count > self._limit,
            window_s=self._window_s,
        )
