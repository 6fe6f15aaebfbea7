"""The steps of a build while it runs: what the operator sees of them, and what the module returns."""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from . import threads
from .progress import Progress, seconds

#: Output lines kept of each step, for the message of a failure.
TAIL_LINES = 30
#: A running step is shown at least this often.
HEARTBEAT_S = 10.0
#: The table at the end names at most so many steps, and none that took less.
SLOWEST, SLOW_S = 5, 1.0

_TICK_S = 0.25
_POSITION = re.compile(r"\[[^\]]*\d+/\d+\] ")
#: `RUN : 'title'; command`: what dockerfiles/macros/site.j2 writes.
_TITLE = re.compile(r"RUN : '([^']+)'; .*")


@dataclass
class Step:
    """One step of a build. `name` is `[2/7] RUN …` for an instruction of the Dockerfile; `duration_s` is None until it ended."""

    name: str
    cached: bool = False
    duration_s: float | None = None
    started: float = field(default_factory=time.monotonic)
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL_LINES))
    error: str | None = None
    announced: bool = False

    @property
    def of_dockerfile(self) -> bool:
        """Whether it is an instruction of the Dockerfile, not something that the builder does besides."""
        return bool(_POSITION.match(self.name))

    @property
    def instruction(self) -> str:
        """`RUN …`, without its position."""
        return _POSITION.sub("", self.name, count=1)

    @property
    def running(self) -> bool:
        return self.duration_s is None and self.error is None

    def summary(self) -> dict[str, Any]:
        """What a module returns of a step."""
        return {"name": self.name, "cached": self.cached, "duration_s": self.duration_s}


def title(name: str, width: int = 100) -> str:
    """A step for people: without mounts, by the title that the macros give it, without a stage that has no name."""
    text = re.sub(r"\[(?:stage-\d+)? ", "[", " ".join(re.sub(r"--mount=\S+ ", "", name).split()))
    text = _TITLE.sub(r"RUN \1", text)
    return text if len(text) <= width else text[: width - 1] + "…"


class Steps:
    """Tells the operator what begins, what runs and what ends. Builders call `begin`, `output` and `end` from one thread."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._all: list[Step] = []
        self._lock = threading.Lock()

    @property
    def of_dockerfile(self) -> list[Step]:
        return [step for step in self._all if step.of_dockerfile]

    @property
    def failed(self) -> Step | None:
        return next((step for step in self._all if step.error), None)

    def begin(self, name: str) -> Step:
        with self._lock:
            self._announce()
            step = Step(name)
            self._all.append(step)
            return step

    def output(self, step: Step, line: str) -> None:
        with self._lock:
            self._announce()
            step.tail.append(line)

    def end(self, step: Step, *, cached: bool = False, duration_s: float | None = None, error: str | None = None) -> None:
        with self._lock:
            self._announce(but=step if cached else None)
            step.cached, step.error = cached, error
            step.duration_s = 0.0 if cached else round(time.monotonic() - step.started, 2) if duration_s is None else duration_s
            if self._shown(step):
                outcome = "cached" if cached else "failed" if error else seconds(step.duration_s)
                self._progress.say(f"{title(step.name)}  {outcome}")

    def say_slowest(self) -> None:
        """A table of the steps that took longest."""
        slow = sorted(self.of_dockerfile, key=lambda step: step.duration_s or 0.0, reverse=True)[:SLOWEST]
        rows = [(seconds(step.duration_s), title(step.name)) for step in slow if step.duration_s and step.duration_s >= SLOW_S]
        if rows:
            self._progress.say("slowest steps:")
            width = max(len(duration) for duration, _text in rows)
            for duration, name in rows:
                self._progress.say(f"  {duration:>{width}}  {name}")

    @contextmanager
    def beating(self) -> Iterator[None]:
        """While inside, what runs is shown at least every HEARTBEAT_S, also when it is silent."""
        ended = threading.Event()

        def beat() -> None:
            shown = time.monotonic()
            while not ended.wait(_TICK_S):
                with self._lock:
                    self._announce()
                    if time.monotonic() - shown >= HEARTBEAT_S:
                        shown = time.monotonic()
                        self._say_running()

        thread = threads.start(beat)
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _announce(self, but: Step | None = None) -> None:
        """Show the beginning of a step, a moment late: one that turns out to be cached is shown once, by its end."""
        for step in self._all[-3:]:
            if not step.announced and step.running and step is not but and self._shown(step):
                self._progress.say(f"{title(step.name)} …")
            step.announced = step.announced or step is not but

    def _say_running(self) -> None:
        running = [step for step in self._all if step.running]
        step = next((step for step in running if step.of_dockerfile), running[0] if running else None)
        if step:
            last = f": {step.tail[-1][:100]}" if step.tail else ""
            self._progress.say(f"{title(step.name, 60)} … {seconds(time.monotonic() - step.started)}{last}")

    @staticmethod
    def _shown(step: Step) -> bool:
        return step.of_dockerfile and not step.instruction.startswith("FROM ")
