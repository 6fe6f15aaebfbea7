"""The image modules with the options of a test's course (fixture `course`)."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from tests.support import ROOT, ansible_environment, run_module, wait_for

#: An inventory of one host: this machine.
LOCAL = f"build-here ansible_connection=local ansible_python_interpreter={sys.executable}\n"


def build(course: dict[str, Any], *flags: str, **options: Any) -> dict[str, Any]:
    return run_module("docker_build", *flags, **{**course, **options})


def push(course: dict[str, Any], immutable_tag: str, *flags: str, **options: Any) -> dict[str, Any]:
    login = {key: value for key, value in course.items() if key.startswith("registry_")}
    return run_module("docker_push", *flags, **{"name": course["name"], "immutable_tag": immutable_tag, "tags": ["v1"], **login, **options})


class Play:
    """`ansible-playbook` with one task, and what its terminal shows while it runs."""

    def __init__(self, folder: Path, module: str, options: dict[str, Any], *flags: str, inventory: str = LOCAL) -> None:
        play = {"name": "One task", "hosts": "all", "gather_facts": False, "tasks": [{"name": module, module: options}]}
        (folder / "play.json").write_text(json.dumps([play]))
        (folder / "hosts").write_text(inventory)
        environment = {name: value for name, value in ansible_environment().items() if name != "PYTHONUNBUFFERED"}
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            ["ansible-playbook", *flags, "-i", str(folder / "hosts"), str(folder / "play.json")],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # Started in the background, a test may have inherited that SIGINT is ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.lines.append(line.rstrip("\n"))

    def wait_for_line(self, words: str, timeout_s: float = 60) -> None:
        wait_for(lambda: any(words in line for line in self.lines) or self.process.poll() is not None, timeout_s)
        assert any(words in line for line in self.lines), "\n".join(self.lines)

    def end(self) -> tuple[int, str]:
        code = self.process.wait(120)
        self._reader.join()
        return code, "\n".join(self.lines)
