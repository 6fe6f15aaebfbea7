"""How tasks run where there are no containers: by rules for job names."""

from __future__ import annotations

import logging
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .exits import IMAGE_NOT_EXISTS, Ending, container_ending, init_ending, killed_ending
from .watched import WatchedFile

log = logging.getLogger("pai_sandbox")


@dataclass(frozen=True)
class Rule:
    """How the tasks of some jobs go. Times in seconds; None is for ever.

    ``killed``: the container ended together with its runtime, so that nobody could say why.
    """

    job: re.Pattern[str] = re.compile(".*")
    wait_s: float | None = 0.0
    run_s: float | None = None
    exit_code: int = 0
    killed: bool = False
    log: str = ""

    def ending(self) -> Ending:
        """How a task of this rule ends by itself."""
        if self.exit_code == IMAGE_NOT_EXISTS:
            return init_ending(IMAGE_NOT_EXISTS, self.log or "image does not exist")
        if self.killed:
            return killed_ending(self.exit_code)
        return container_ending(self.exit_code, False, self.log)


_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "job": ((str,), "a regular expression"),
    "wait_s": ((int, float, type(None)), "seconds or null"),
    "run_s": ((int, float, type(None)), "seconds or null"),
    "exit_code": ((int,), "a whole number"),
    "killed": ((bool,), "true or false"),
    "log": ((str,), "text"),
}


def read_rules(content: dict[str, Any]) -> list[Rule]:
    """The rules of a file. Raises ``ValueError`` with a sentence."""
    rules: list[Rule] = []
    for number, entry in enumerate(content.get("rules") or [], 1):
        if not isinstance(entry, dict):
            raise ValueError(f"rule {number}: not a map; allowed keys: {', '.join(_KINDS)}")
        for key, value in entry.items():
            if key not in _KINDS:
                raise ValueError(f"rule {number}: unknown key {key}; allowed: {', '.join(_KINDS)}")
            kinds, word = _KINDS[key]
            if not isinstance(value, kinds):
                raise ValueError(f"rule {number}: {key} is {value!r}; allowed: {word}")
        try:
            pattern = re.compile(entry.get("job", ".*"))
        except re.error as error:
            raise ValueError(f"rule {number}: job is not a regular expression: {error}") from error
        rules.append(Rule(**{**entry, "job": pattern}))
    return rules


class Rules:
    """The rules of a file that may change; the first that fits a job's name counts, else it runs until it is stopped."""

    def __init__(self, path: Path | None) -> None:
        self._file = WatchedFile(path)
        self._rules: list[Rule] = []
        self._lock = threading.Lock()

    def of(self, job_name: str) -> Rule:
        """The rule for a job."""
        with self._lock:
            try:
                content = self._file.changed()
                if content is not None:
                    self._rules = read_rules(content)
            except ValueError as error:
                self._rules = []
                log.error("no rules: %s", error)
            return next((rule for rule in self._rules if rule.job.fullmatch(job_name)), Rule())
