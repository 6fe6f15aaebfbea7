"""Keeps a long wait audible: what was said last is said again, with the time that has passed, before ten seconds are over."""

from __future__ import annotations

import threading
import time
from typing import Any

from . import threads
from .progress import Progress, seconds

#: A line at least this often.
EVERY_S = 9.0


class Pulse:
    """A context manager around work that may be silent for long, whatever it hangs on.

    `say` shows a line at once; a thread repeats the latest one. What was only noted (`note`) is shown when it lasts.
    """

    def __init__(self, progress: Progress, name: str, text: str, every_s: float = EVERY_S) -> None:
        self._progress = progress
        self._name = name
        self._text = text
        self._every_s = every_s
        self._started = self._shown_at = time.monotonic()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        #: Whether anything was shown yet.
        self.heard = False

    def __enter__(self) -> Pulse:
        self._thread = threads.start(self._beat)
        return self

    def __exit__(self, *_reason: Any) -> None:
        self._ended.set()
        self._thread.join()

    def restart(self) -> None:
        """The time that is shown counts from now on."""
        self._started = time.monotonic()

    def note(self, text: str) -> None:
        """What is waited for now."""
        self._text = text

    def say(self, text: str, *, timed: bool = True) -> None:
        """Show a line, if it is a new one with the time since the start."""
        with self._lock:
            self._text = text
            self._show(timed)

    def _beat(self) -> None:
        while not self._ended.wait(min(1.0, self._every_s / 4)):
            with self._lock:
                if time.monotonic() - self._shown_at >= self._every_s:
                    self._show(True)

    def _show(self, timed: bool) -> None:
        now = time.monotonic()
        self.heard = True
        self._shown_at = now
        self._progress.say(f"{self._name}: {self._text}{', ' + seconds(now - self._started) if timed else ''}")
