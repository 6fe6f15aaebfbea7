"""A push by docker_push against one by the docker CLI, in one run: cold to an empty registry, and of an unchanged image.

The CLI runs by itself, and as a task of Ansible as the module does: Ansible's own start takes a second that no module can save.
Needs an engine on this machine and Debian's docker-registry. Prints a table; exits 1 if the ratio of the tasks misses its goal.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
ROUNDS = 3
LAYERS_MB = (200, 80, 20)
#: The cold push by the module against `docker push`, both as a task.
GOAL = 1.05

import ansible.module_utils  # noqa: E402
import docker  # noqa: E402

ansible.module_utils.__path__.append(str(ROOT / "module_utils"))

from tests.integration.pushing import OwnRegistry, make_image, remove  # noqa: E402
from tests.support import ansible_environment, install, run_module  # noqa: E402


def seconds(*argv: str) -> float:
    started = time.monotonic()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, cwd=ROOT, env=ansible_environment())
    return time.monotonic() - started


def cli(reference: str, changed: bool) -> float:
    return seconds("docker", "push", "--quiet", reference)


def cli_task(reference: str, changed: bool) -> float:
    local = ("localhost", "-i", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={sys.executable}")
    return seconds("ansible", *local, "-m", "ansible.builtin.command", "-a", f"docker push --quiet {reference}")


def module_task(reference: str, changed: bool) -> float:
    name, _colon, tag = reference.rpartition(":")
    started = time.monotonic()
    result = run_module("docker_push", name=name, tags=[tag])
    if result["failed"] or result["changed"] != changed:
        sys.exit(f"docker_push did not do what is measured: {result}")
    return time.monotonic() - started


CONTENDERS: dict[str, Callable[[str, bool], float]] = {"cli": cli, "cli_task": cli_task, "module_task": module_task}


def measure() -> dict[str, float]:
    """Medians in seconds, cold and unchanged, and the ratios of the cold ones."""
    if not shutil.which("docker-registry"):
        install("docker-registry")
    engine = docker.from_env(version="auto").api
    engine.timeout = 600
    times: dict[str, list[float]] = {f"{name}_{state}_s": [] for name in CONTENDERS for state in ("cold", "unchanged")}
    reference = "bench-push:1"
    with tempfile.TemporaryDirectory() as folder:
        make_image(engine, reference, *LAYERS_MB)
        try:
            for round_number in range(ROUNDS):
                for name, push in CONTENDERS.items():  # alternating, so that a noisy machine disturbs all alike
                    own = OwnRegistry(Path(folder) / f"{name}{round_number}")
                    own.start()
                    repository = f"{own.address}/bench/push"
                    engine.tag(reference, repository, "v1")
                    try:
                        times[f"{name}_cold_s"].append(push(f"{repository}:v1", True))
                        times[f"{name}_unchanged_s"].append(push(f"{repository}:v1", False))
                    finally:
                        own.stop()
                        remove(engine, own.address)
                        shutil.rmtree(own.folder)
        finally:
            engine.remove_image(reference, force=True)
    medians = {name: statistics.median(values) for name, values in times.items()}
    cold = medians["module_task_cold_s"]
    return {**medians, "ratio": cold / medians["cli_task_cold_s"], "ratio_to_bare_cli": cold / medians["cli_cold_s"]}


def main() -> None:
    result = measure()
    print(
        f"{os.cpu_count()} cores, medians of {ROUNDS} alternating rounds, {sum(LAYERS_MB)} MB in {len(LAYERS_MB)} layers, each to an empty registry"
    )
    print(f"{'':34}{'cold':>10}{'unchanged':>12}")
    for text, name in (("docker push", "cli"), ("docker push as a task of Ansible", "cli_task"), ("docker_push", "module_task")):
        print(f"{text:34}{result[f'{name}_cold_s']:8.2f} s{result[f'{name}_unchanged_s']:10.2f} s")
    missed = result["ratio"] > GOAL
    print(f"{'ratio to docker push as a task':34}{result['ratio']:8.2f}   goal: at most {GOAL}{'  MISSED' if missed else ''}")
    print(f"{'ratio to docker push by itself':34}{result['ratio_to_bare_cli']:8.2f}   with the start of Ansible")
    sys.exit(missed)


if __name__ == "__main__":
    main()
