"""What tests do with processes, ports, modules and a registry of their own."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).resolve().parent.parent
#: In front of a command that only root may run.
AS_ROOT = [] if os.geteuid() == 0 else ["sudo"]
VENV_BIN = Path(sys.prefix) / "bin"


def free_ports(count: int) -> int:
    """First of `count` free loopback ports in a row."""
    for first in range(20000 + os.getpid() % 8000, 60000, count):
        sockets = []
        try:
            for port in range(first, first + count):
                sockets.append(socket.socket())
                sockets[-1].bind(("127.0.0.1", port))
        except OSError:
            continue
        else:
            return first
        finally:
            for one in sockets:
                one.close()
    raise AssertionError("no free ports")


def ansible_environment(project: Path = ROOT) -> dict[str, str]:
    """Environment in which the project's own ansible.cfg decides and nothing of the developer's does.

    Runs in the developer's own tree leave their records elsewhere, until the tests end.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "GOLDEN_JOBS_REPORTS"))}
    return {
        **kept,
        **({"GOLDEN_JOBS_REPORTS": _reports()} if project == ROOT else {}),
        "PATH": f"{VENV_BIN}:{os.environ['PATH']}",
        "ANSIBLE_CONFIG": str(project / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
    }


@functools.cache
def _reports() -> str:
    folder = tempfile.TemporaryDirectory(prefix="golden-jobs-reports-")
    atexit.register(folder.cleanup)
    return folder.name


#: Runs a module as Ansible's wrapper does it: arguments in, JSON out, in a process of its own. It costs a quarter of `ansible -m`.
_MODULE_RUNNER = """
import json, runpy, sys
import ansible.module_utils
ansible.module_utils.__path__.append(sys.argv[2])
try:
    from ansible.module_utils.testing import patch_module_args
except ImportError:  # ansible-core < 2.19
    from contextlib import nullcontext
    from ansible.module_utils import basic
    def patch_module_args(arguments):
        basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode()
        return nullcontext()
with patch_module_args(json.load(sys.stdin)):
    runpy.run_path(sys.argv[1], run_name="__main__")
"""


def run_module(module: str, /, *flags: str, **options: Any) -> dict[str, Any]:
    """Run one of our modules in a process of its own; its result, also of a failure. `--check` is the one flag."""
    done = subprocess.run(
        [sys.executable, "-c", _MODULE_RUNNER, str(ROOT / "library" / f"{module}.py"), str(ROOT / "module_utils")],
        input=json.dumps({**options, "_ansible_check_mode": "--check" in flags, "_ansible_remote_tmp": tempfile.gettempdir()}),
        env=ansible_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip().startswith("{"), done.stdout + done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return {**result, "failed": result.get("failed", False)}


@dataclass
class Registry:
    """Debian's docker-registry with a password, on loopback."""

    folder: Path
    port: int
    username: str = "tester"
    password: str = "a throw-away password"
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def login(self) -> dict[str, str]:
        return {"registry_username": self.username, "registry_password": self.password}

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        htpasswd = subprocess.run(["htpasswd", "-inB", self.username], input=self.password, capture_output=True, text=True, check=True)
        (self.folder / "htpasswd").write_text(htpasswd.stdout)
        config = {
            "version": 0.1,
            "storage": {"filesystem": {"rootdirectory": str(self.folder / "images")}, "delete": {"enabled": True}},
            "http": {"addr": self.address},
            "auth": {"htpasswd": {"realm": "test", "path": str(self.folder / "htpasswd")}},
            "log": {"level": "error"},
        }
        (self.folder / "config.yml").write_text(json.dumps(config))
        self.process = subprocess.Popen(
            ["docker-registry", "serve", str(self.folder / "config.yml")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for(lambda: self.get("").status_code == 200)

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait()

    def get(self, path: str) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            return session.get(f"http://{self.address}/v2/{path}", auth=(self.username, self.password), timeout=5)

    def tags(self, repository: str) -> list[str]:
        return sorted(self.get(f"{repository}/tags/list").json().get("tags") or [])


def power_failure(run: subprocess.Popen[str]) -> None:
    """SIGKILL to a run of ansible-playbook and to its workers, which have sessions of their own."""
    os.kill(run.pid, signal.SIGSTOP)  # so that it starts no further ones
    found = [run.pid]
    for pid in found:  # grows
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended meanwhile
                found.extend(int(child) for child in task.read_text().split())
    for pid in reversed(found):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    run.wait()


def wait_for(condition: Any, timeout_s: float = 30.0) -> None:
    """Poll until the condition holds; refused connections count as not yet."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if condition():
                return
        except requests.ConnectionError:
            pass
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.05)


def install(*packages: str) -> None:
    """Debian packages that tests need, if their programs are missing."""
    subprocess.run([*AS_ROOT, "apt-get", "update", "-qq"], check=False)
    argv = [*AS_ROOT, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)


def static_busybox() -> str:
    """Path of a busybox that runs in an empty root file system; installed if the machine has none."""
    busybox = shutil.which("busybox")
    # ldd fails for what needs no libraries.
    if not busybox or subprocess.run(["ldd", busybox], capture_output=True, check=False).returncode == 0:
        install("busybox-static")
        busybox = shutil.which("busybox")
    assert busybox
    return busybox
