"""What the benchmarks share: running things against the clock, and one way to print what came out."""

from __future__ import annotations

import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import ansible.module_utils
import docker
from docker.errors import DockerException

ROOT = Path(__file__).resolve().parents[2]
# The modules' code under the name that Ansible gives it.
ansible.module_utils.__path__.append(str(ROOT / "module_utils"))

Times = dict[str, list[float]]
Contender = TypeVar("Contender")


def seconds(action: Callable[[], Any]) -> float:
    """Wall time of one call."""
    started = time.monotonic()
    action()
    return time.monotonic() - started


def command(argv: Sequence[str], *, env: dict[str, str] | None = None) -> str:
    """Run a command in the project's folder; its output. Ends the benchmark if it fails: its time would mean nothing."""
    with subprocess.Popen(argv, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            out, err = process.communicate()
        except BaseException:
            process.send_signal(signal.SIGINT)  # unlike SIGKILL, it lets a build be ended in the engine as well
            process.communicate()
            raise
    if process.returncode != 0:
        sys.exit(f"{' '.join(argv)} ended with {process.returncode}:\n{out[-2000:]}{err[-1000:]}")
    return out


def clean_up_when_terminated() -> None:
    """SIGTERM, of `timeout` for example, ends the benchmark as Ctrl-C does: it removes what it has made."""

    def end(number: int, _frame: Any) -> NoReturn:
        signal.signal(number, signal.SIG_IGN)  # once is enough: what follows is the removal
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, end)


def changed(output: str) -> int:
    """Tasks that changed something, as the recap of ansible-playbook's output says."""
    return sum(int(count) for count in re.findall(r"\bchanged=(\d+)", output))


def take_turns(contenders: dict[str, Callable[[int], float]], rounds: int) -> Times:
    """Seconds of each contender in each round.

    They alternate, so that a noisy machine disturbs all alike, and each round begins with another one, so that none is always the first.
    """
    times: Times = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(rounds):
        for name in turn(names, number):
            times[name].append(contenders[name](number))
    return times


def turn(names: list[Contender], number: int) -> list[Contender]:
    """The contenders in the order of that round."""
    start = number % len(names)
    return names[start:] + names[:start]


def medians(times: Times) -> dict[str, float]:
    """Seconds by name."""
    return {name: statistics.median(values) for name, values in times.items()}


def machine() -> str:
    """What a figure depends on: cores, load, engine."""
    try:
        engine = f"engine {docker.from_env(version='auto').version()['Version']}"
    except DockerException:
        engine = "no engine"
    return f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {engine}"


def row(text: str, *values: str) -> None:
    """A line of the table: what it is, and a column for each value."""
    print(f"{text:46}" + "".join(f"{value:>14}" for value in values), flush=True)


def goal(text: str, value: float, unit: str = "", *, at_most: float | None = None, at_least: float | None = None) -> None:
    """A line of the table that has a goal."""
    limit, words = (at_most, "at most") if at_most is not None else (at_least, "at least")
    missed = limit is not None and (value > limit if at_most is not None else value < limit)
    shown = f"{value:.2f}" if isinstance(value, float) else str(value)
    print(f"{text:46}{shown + (unit and f' {unit}'):>14}   goal: {words} {limit:g}{'  MISSED' if missed else ''}", flush=True)
