"""How long `make demo` takes in a fresh clone, and what was there before that made it shorter.

The clone gets ports, state and passwords of its own and is removed afterwards; an engine that answers is used and left alone. The figure is a
cold one only on a machine without engine and images: the table says what it found.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import docker
from docker.errors import DockerException

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench.measure import goal, machine
from tests.platform import Platform

GOAL_S = 360.0


def found_before() -> str:
    """What a machine has that a cold one has not."""
    try:
        engine = docker.from_env(version="auto").api
    except DockerException:
        return "no engine"
    return f"engine {engine.version()['Version']} with {len(engine.images())} images"


def main() -> None:
    before = found_before()
    with tempfile.TemporaryDirectory(prefix="golden-jobs-cold-") as folder:
        platform = Platform.clone(Path(folder))
        started = time.monotonic()
        try:
            done = platform.run("make", "demo")
            elapsed_s = time.monotonic() - started
        finally:
            platform.run("make", "purge")
    if done.returncode != 0:
        sys.exit(f"make demo failed:\n{done.stdout[-2000:]}{done.stderr[-1000:]}")
    print(f"{machine()}; found before: {before}")
    goal("make demo in a fresh clone", elapsed_s, "s", at_most=GOAL_S)


if __name__ == "__main__":
    main()
