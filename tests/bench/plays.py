"""One task of Ansible, or one call of the docker CLI, as a contender in a benchmark."""

from __future__ import annotations

import functools
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.bench.measure import ROOT, changed, command, seconds
from tests.support import VENV_BIN, ansible_environment

# ruff: isort: split
# After the import that makes it importable.
from ansible.module_utils.golden_jobs.buildkit import find_cli


class DockerCli:
    """The docker CLI that docker_build takes: several may be installed, and not each can build with BuildKit."""

    @functools.cached_property
    def path(self) -> str:
        return find_cli().path

    def __call__(self, *argv: str) -> str:
        return command([self.path, *argv], env={**os.environ, "DOCKER_BUILDKIT": "1"})


docker_cli = DockerCli()


class Ansible:
    """An installation of Ansible that runs plays of one task on this machine. `project` has the ansible.cfg that counts."""

    def __init__(self, programs: Path = VENV_BIN, project: Path = ROOT) -> None:
        self._playbook, self._python = str(programs / "ansible-playbook"), str(programs / "python")
        self._project = project

    def play(self, module: str, options: dict[str, Any], *, changes: int) -> float:
        """Seconds of a play with this task. Ends the benchmark if the task fails or changes another number of things."""
        return self._run([{"name": module, module: options}], changes)

    def start(self) -> float:
        """Seconds of a play with nothing in it."""
        return self._run([], 0)

    def _run(self, tasks: list[dict[str, Any]], changes: int) -> float:
        with tempfile.NamedTemporaryFile("w", prefix="golden-jobs-bench-", suffix=".json") as handle:
            json.dump([{"name": "Bench", "hosts": "localhost", "gather_facts": False, "tasks": tasks}], handle)
            handle.flush()
            here = ["-i", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={self._python}"]
            env = {**ansible_environment(self._project), "ANSIBLE_INVENTORY_ENABLED": "host_list"}
            said: list[str] = []
            elapsed_s = seconds(lambda: said.append(command([self._playbook, *here, handle.name], env=env)))
        if changed(said[0]) != changes:
            sys.exit(f"The task did not change what it should ({changes}): {tasks}\n{said[0][-2000:]}")
        return elapsed_s


play = Ansible().play
