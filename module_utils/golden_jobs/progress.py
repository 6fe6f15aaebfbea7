"""Progress events of a long-running module.

A module cannot write to the terminal. It appends one JSON object per line to the file that the action
plugin `live` named in `_progress_file`; the plugin shows each line while the module still runs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from typing import TextIO


class Progress:
    """Writes events `{"t": <epoch seconds>, "text": <one line>}`; writes nothing without a path.

    `verbosity` is the number of `-v` that the operator gave.
    """

    def __init__(self, path: str | None, verbosity: int = 0) -> None:
        self._file: TextIO | None = open(path, "a", buffering=1, encoding="utf-8") if path else None  # noqa: SIM115
        self._verbosity = verbosity
        self._secrets: list[str] = []

    def hide(self, secrets: Iterable[str]) -> None:
        """Show asterisks instead of these texts from now on."""
        self._secrets += [secret for secret in secrets if secret]

    def masked(self, text: str) -> str:
        """The text without the secrets that `hide` named."""
        for secret in self._secrets:
            text = text.replace(secret, "********")
        return text

    def say(self, text: str) -> None:
        """Show one line on the operator's terminal."""
        if self._file:
            self._file.write(json.dumps({"t": time.time(), "text": self.masked(text)}) + "\n")

    def detail(self, text: str) -> None:
        """Show one line where the operator asked for everything (`-v`)."""
        if self._verbosity:
            self.say(text)


class Waiting:
    """A wait for somebody else, begun now: it is said at once and then every `EVERY_S`."""

    EVERY_S = 10.0

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._started = time.monotonic()
        self._next_s = 0.0

    @property
    def waited_s(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._started

    def goes_on(self, text: str) -> None:
        """Say what is waited for, with the time so far, if a line is due; to be called in each turn of the wait."""
        waited_s = self.waited_s
        if waited_s >= self._next_s:
            self._say(f"{text} … {seconds(waited_s)}")
            self._next_s = waited_s + self.EVERY_S


def seconds(value: float) -> str:
    """A duration for people: `4.2 s` below ten seconds, `41 s` below two minutes, else `2 min 05 s`."""
    if value < 10:
        return f"{value:.1f} s"
    if value < 120:
        return f"{value:.0f} s"
    return f"{int(value) // 60} min {int(value) % 60:02d} s"
