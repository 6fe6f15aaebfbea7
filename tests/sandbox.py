"""A PAI sandbox inside the test's process, on a real socket: no containers, states by rule, faults by schedule."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ansible.module_utils.golden_jobs import pai_jobs
from ansible.module_utils.golden_jobs.errors import GoldenJobsError
from ansible.module_utils.golden_jobs.progress import Progress

from tests.fault_proxy import FaultProxy
from tests.support import ROOT, free_ports

sys.path.insert(0, str(ROOT / "roles" / "pai_sandbox" / "files"))

from pai_sandbox import fill, remove_containers
from pai_sandbox.server import Sandboxes
from pai_sandbox.settings import Settings

__all__ = ["NAME", "PASSWORD", "USERS", "Sandbox", "ensure_job", "fill", "sandbox"]

PASSWORD = "a-throw-away-password"
USERS = [
    {"username": "op", "password": PASSWORD, "virtualClusters": ["default", "gpu"]},
    {"username": "bob", "password": PASSWORD, "virtualClusters": ["default"]},
]
NAME = "pai-t"


class Sandbox:
    """One cluster with the users `op` and `bob`. `proxy` stands in front of it: it counts requests and gives odd answers."""

    def __init__(self, sandboxes: Sandboxes, folder: Path) -> None:
        self._sandboxes = sandboxes
        self._folder = folder
        self.url = sandboxes.url(NAME)
        self.proxy = FaultProxy(self.url.partition("://")[2])

    @property
    def proxy_url(self) -> str:
        return f"http://{self.proxy.address}"

    @property
    def requests(self) -> list[str]:
        """`METHOD path` of what came through the proxy, without the prefix and the query."""
        return [f"{one.method} {one.path.partition('?')[0].removeprefix('/rest-server')}" for one in self.proxy.log]

    @property
    def server(self) -> Any:
        return self._sandboxes.server(NAME)

    def faults(self, *entries: dict[str, Any]) -> None:
        """The schedule from now on."""
        _replace(self._folder / "faults.yml", {"faults": list(entries)})

    def rules(self, *entries: dict[str, Any]) -> None:
        """How jobs go from now on."""
        _replace(self._folder / "rules.yml", {"rules": list(entries)})

    def restart(self, down_s: float) -> None:
        self._sandboxes.restart(NAME, down_s)

    def token(self, user: str = "op") -> str:
        """An application token, as the profile page makes one."""
        return str(self.server.tokens.create(user, application=True))

    def job(self, name: str, user: str = "op") -> dict[str, Any] | None:
        """The row of a job in the sandbox's memory."""
        found: dict[str, Any] | None = self.server.store.job(f"{user}~{name}")
        return found


def ensure_job(cluster: Sandbox, *, progress: Path | None = None, **options: Any) -> dict[str, Any]:
    """What `pai_job` does, in this process and as `op` with a password: its result, also of a failure."""
    params = {name: option.get("default") for name, option in pai_jobs.JOB_SPEC.items()}
    params |= {"address": cluster.url, "username": "op", "password": PASSWORD, "poll_interval_s": 0.1, "wait_timeout_s": 30.0, **options}
    module = SimpleNamespace(params=params, check_mode=False)
    try:
        return {"failed": False, **pai_jobs.ensure_job(module, Progress(str(progress) if progress else None))}
    except GoldenJobsError as error:
        return {"failed": True, "msg": str(error), **error.details}


def _replace(path: Path, content: dict[str, Any]) -> None:
    """At once, so that nobody reads half of it."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps(content))
    new.replace(path)


@contextmanager
def sandbox(folder: Path, **settings: Any) -> Iterator[Sandbox]:
    """`settings`: fields of `pai_sandbox.settings.Settings` that differ."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "users.json").write_text(json.dumps({"users": USERS}))
    for name in ("faults", "rules"):
        (folder / f"{name}.yml").write_text("{}")
    options: dict[str, Any] = {
        "port": free_ports(1),
        "state_dir": folder / "state",
        "users_file": folder / "users.json",
        "containers": False,
        "settle_s": 0.02,
        "poll_s": 0.02,
        "requests_per_minute": 0,
        "lists_per_minute": 0,
        "faults_file": folder / "faults.yml",
        "rules_file": folder / "rules.yml",
        **settings,
    }
    with Sandboxes([Settings(name=NAME, **options)]) as sandboxes:
        running = Sandbox(sandboxes, folder)
        try:
            yield running
        finally:
            running.proxy.close()
    if options["containers"]:
        remove_containers.main(["--name", NAME, "--state-dir", str(options["state_dir"])])
