"""All courses on one build server at once against one after another, in one run, and provision.yml with nothing to do.

Each course gets a requirement more (a comment, so the packages are the same), which runs its packages and all that follows again: build, test, push,
rollout to both clusters. Needs the local platform with all four courses live (`ansible-playbook rebuild.yml -e course=all`). `--images` leaves the
rollout out (playbooks/build.yml). `--provision` makes a VM (tests/vm) and times the second run of provision.yml on it instead.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests import vm
from tests.bench.measure import ROOT, changed, clean_up_when_terminated, command, goal, machine, medians, row, seconds, take_turns

COURSES = ("OOB1", "OOB2", "OOB3", "OOB4")
ROUNDS = 3
GOAL = 0.65
PROVISION_ROUNDS = 5
PROVISION_GOAL_S = 15.0


@contextmanager
def new_requirements() -> Iterator[None]:
    """In the project's own files; put back afterwards."""
    files = {path: path.read_bytes() for course in COURSES for path in (ROOT / "dockerfiles" / course).glob("*requirements*.txt")}
    try:
        for path, content in files.items():
            path.write_bytes(content.rstrip(b"\n") + f"\n# {time.time_ns()}\n".encode())
        yield
    finally:
        for path, content in files.items():
            path.write_bytes(content)


def build(playbook: str, *selections: str) -> float:
    """Seconds of one run of the playbook for each selection."""

    def run() -> None:
        for course in selections:
            output = command(["ansible-playbook", playbook, "-e", f"course={course}"])
            if not changed(output):
                sys.exit(f"{course}: nothing was built, so its time means nothing.")

    with new_requirements():
        return seconds(run)


def busy_s() -> float:
    """Seconds that all processors of this machine together have worked since it started."""
    user, nice, system, _idle, _iowait, irq, softirq = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def measure_courses(playbook: str) -> None:
    busy: dict[str, list[float]] = {"together_s": [], "alone_s": []}

    def measured(name: str, *selections: str) -> float:
        before = busy_s()
        took_s = build(playbook, *selections)
        busy[name].append(busy_s() - before)
        return took_s

    ways = {"together_s": ("all",), "alone_s": COURSES}
    times = take_turns({name: lambda _round, name=name: measured(name, *ways[name]) for name in ways}, ROUNDS)
    took = medians(times)
    cores = os.cpu_count() or 1
    print(f"{playbook}, {len(COURSES)} courses with a requirement more each, medians of {ROUNDS} rounds")
    for name, text in (("alone_s", "one after another"), ("together_s", "at once")):
        row(text, f"{took[name]:.1f} s", f"{statistics.median(busy[name]) / took[name] / cores:.0%} of {cores} processors")
    row("at once, if no processor ever waited", f"{statistics.median(busy['together_s']) / cores:.1f} s")
    row(
        "ratio of each round",
        *(f"{together_s / alone_s:.2f}" for together_s, alone_s in zip(times["together_s"], times["alone_s"], strict=True)),
    )
    goal("ratio", took["together_s"] / took["alone_s"], at_most=GOAL)


def measure_provision() -> None:
    name = f"gj-bench-{os.getpid()}"
    with tempfile.TemporaryDirectory(prefix="golden-jobs-bench-") as folder:
        one = vm.start(Path(folder), name)
        try:
            hosts = {"all": {"children": {"build_servers": {"hosts": {"vm": {**one.inventory(), "build_server_min_free_gb": 1}}}}}}
            inventory = Path(folder) / "vm.json"
            inventory.write_text(json.dumps(hosts))
            argv = ["ansible-playbook", "-i", "inventory/courses.yml", "-i", str(inventory), "playbooks/provision.yml"]
            first_s = seconds(lambda: command(argv))

            def again() -> None:
                if changed(command(argv)):
                    sys.exit("The second run of provision.yml changed something.")

            second_s = medians(take_turns({"second_s": lambda _round: seconds(again)}, PROVISION_ROUNDS))["second_s"]
        finally:
            vm.remove(name)
    row("provision.yml on a fresh VM", f"{first_s:.1f} s")
    goal(f"again, nothing changed, seconds, median of {PROVISION_ROUNDS}", second_s, at_most=PROVISION_GOAL_S)


if __name__ == "__main__":
    clean_up_when_terminated()
    print(machine(), flush=True)
    if "--provision" in sys.argv:
        measure_provision()
    else:
        measure_courses("playbooks/build.yml" if "--images" in sys.argv else "rebuild.yml")
