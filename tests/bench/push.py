"""A push by docker_push against one by the docker CLI, in one run: cold to an empty registry, and of an unchanged image.

The CLI runs by itself and as a task of Ansible, as the module does: Ansible's own start takes a second that no module can save, so the image
is big enough for that second to be less than a twentieth. Needs an engine on this machine; installs Debian's docker-registry. Prints a table.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench.measure import Times, clean_up_when_terminated, goal, machine, medians, row, seconds, take_turns
from tests.bench.plays import docker_cli, play
from tests.integration.pushing import OwnRegistry, make_image, remove
from tests.support import install

ROUNDS = 3
#: A course image made in the seed's way has 1.6 GB.
LAYERS_MB = (600, 500, 300, 200)
#: Of a cold push by docker_push, with Ansible's start, to one by the bare CLI.
GOAL = 1.05
IMAGE = "golden-jobs-bench-push:1"


def cli(repository: str, changes: int) -> float:
    return seconds(lambda: docker_cli("push", "--quiet", f"{repository}:v1"))


def cli_task(repository: str, changes: int) -> float:
    argv = [docker_cli.path, "push", "--quiet", f"{repository}:v1"]
    return play("ansible.builtin.command", {"argv": argv}, changes=1)


def module_task(repository: str, changes: int) -> float:
    return play("docker_push", {"name": repository, "tags": ["v1"]}, changes=changes)


CONTENDERS = {"cli": cli, "cli_task": cli_task, "docker_push": module_task}


@contextmanager
def empty_registry(engine: Any, folder: Path) -> Iterator[str]:
    """Address of a registry that is stopped and removed afterwards, with the images that have its address in their names."""
    if not shutil.which("docker-registry"):
        install("docker-registry")
    own = OwnRegistry(folder)
    try:
        own.start()
        yield own.address
    finally:
        own.stop()
        remove(engine, own.address)
        shutil.rmtree(folder)


def measure() -> dict[str, Any]:
    """Medians in seconds, `<contender>_cold_s` and `<contender>_unchanged_s`, and docker_push's ratios when cold."""
    engine = docker.from_env(version="auto", timeout=600).api
    unchanged: Times = {name: [] for name in CONTENDERS}
    with tempfile.TemporaryDirectory(prefix="golden-jobs-bench-") as folder:

        def cold(name: str) -> float:
            with empty_registry(engine, Path(folder) / "registry") as address:
                repository = f"{address}/bench/push"
                engine.tag(IMAGE, repository, "v1")
                elapsed_s = CONTENDERS[name](repository, 1)
                unchanged[name].append(CONTENDERS[name](repository, 0))
            return elapsed_s

        image_id = make_image(engine, IMAGE, *LAYERS_MB)
        try:
            times = take_turns({name: lambda _round, name=name: cold(name) for name in CONTENDERS}, ROUNDS)
        finally:
            engine.remove_image(image_id, force=True)
    cold_s = medians(times)
    return {
        **{f"{name}_cold_s": value for name, value in cold_s.items()},
        **{f"{name}_unchanged_s": value for name, value in medians(unchanged).items()},
        "cold_ratio": cold_s["docker_push"] / cold_s["cli"],
        "cold_ratio_to_task": cold_s["docker_push"] / cold_s["cli_task"],
    }


def report(result: dict[str, Any]) -> None:
    row(f"push, {sum(LAYERS_MB)} MB in {len(LAYERS_MB)} layers, median of {ROUNDS}", "cold", "unchanged")
    for text, name in (("docker push", "cli"), ("docker push as a task of Ansible", "cli_task"), ("docker_push", "docker_push")):
        row(text, f"{result[f'{name}_cold_s']:.2f} s", f"{result[f'{name}_unchanged_s']:.2f} s")
    goal("docker_push, cold, against docker push", result["cold_ratio"], at_most=GOAL)
    row("  against docker push as a task", f"{result['cold_ratio_to_task']:.2f}")


if __name__ == "__main__":
    clean_up_when_terminated()
    print(machine(), flush=True)
    report(measure())
