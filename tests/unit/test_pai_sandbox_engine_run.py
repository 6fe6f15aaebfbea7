"""What the PAI sandbox makes of containers that ended when the engine was restarted."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "roles" / "pai_sandbox" / "files"))

from pai_sandbox import app, engine_run
from pai_sandbox.engine import EngineError, Exit, Start
from pai_sandbox.settings import Settings

from tests.unit.test_pai_sandbox_api import USERS, Api, job

FRAME = "alice~work"


class FakeEngine:
    """An engine whose containers end when the test says so, all of them with exit code 0."""

    def __init__(self) -> None:
        self.name: str | None = "run 1 1"
        self.words: dict[str, str] = {}
        self.closing = False

    def end(self, run: str | None) -> None:
        """End all containers; the engine is then ``run``."""
        self.words, self.name = dict.fromkeys(self.words, "exited"), run

    def run(self, known: str | None) -> str | None:
        if self.closing:
            raise EngineError("nobody listens")
        return self.name

    def own(self) -> dict[str, str]:
        return dict(self.words)

    def pull(self, image: str, login: Any, cancelled: Any) -> None:
        """Have every image."""

    def create(self, start: Start) -> str:
        container_id = f"{start.frame} {start.attempt} {start.place.index}"
        self.words[container_id] = "created"
        return container_id

    def start(self, container_id: str) -> None:
        self.words[container_id] = "running"

    def exists(self, container_id: str) -> bool:
        return container_id in self.words

    def exit_of(self, container_id: str) -> Exit:
        return Exit(0, False, "")

    def output(self, container_id: str, stdout: bool, stderr: bool) -> bytes:
        return b""

    def stop(self, container_id: str, timeout_s: int) -> None:
        self.words[container_id] = "exited"

    def remove(self, container_id: str) -> None:
        self.words.pop(container_id, None)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    found = FakeEngine()
    monkeypatch.setattr(app, "Engine", lambda name, state_dir: found)
    return found


Open = Callable[[], AbstractContextManager[Api]]


@pytest.fixture
def open_api(fake: FakeEngine, tmp_path: Path) -> Open:
    users_file = tmp_path / "users.json"
    users_file.write_text(json.dumps(USERS))
    settings = Settings("pai-t", tmp_path / "state", users_file, settle_s=0.02, poll_s=0.01, requests_per_minute=0)

    @contextmanager
    def opened() -> Iterator[Api]:
        with TestClient(app.create_app(settings)) as client:
            yield Api(client)

    return opened


def run_job(api: Api, instances: int = 1) -> None:
    assert api.submit(job("work", instances).replace("uri: img", "uri: img:1")).status_code == 202
    api.wait(FRAME, "RUNNING")


def wait_for_attempt(api: Api, attempt: int) -> dict[str, Any]:
    deadline = time.monotonic() + 10
    while (found := api.detail(FRAME)["jobStatus"])["attemptId"] != attempt or found["state"] != "RUNNING":
        assert time.monotonic() < deadline, found
        time.sleep(0.01)
    return found


@pytest.mark.parametrize(
    ("known", "found", "expected"),
    [("a 1 1", "a 1 1", False), ("a 1 1", "a 2 5", True), ("a 1 1", "b 1 1", True), (None, "a 1 1", False), ("a 1 1", None, False)],
)
def test_only_two_known_and_different_runs_are_a_restart(known: str | None, found: str | None, expected: bool) -> None:
    assert engine_run.was_restarted(known, found) is expected


# Running jobs


@pytest.mark.parametrize("down", [True, False])
def test_a_job_that_ended_with_the_engine_runs_again(open_api: Open, fake: FakeEngine, down: bool) -> None:
    with open_api() as api:
        run_job(api, instances=2)
        if not down:
            fake.end("run 2 2")
            assert wait_for_attempt(api, 1)["retryDetails"] == {"user": 0, "platform": 1, "resource": 0}
    if down:
        fake.end("run 2 2")
        with open_api() as api:
            assert wait_for_attempt(api, 1)["retryDetails"] == {"user": 0, "platform": 1, "resource": 0}
    assert fake.words == {f"{FRAME} 1 0": "running", f"{FRAME} 1 1": "running"}


@pytest.mark.parametrize("run", ["run 1 1", None])
@pytest.mark.parametrize("down", [True, False])
def test_a_job_that_ended_by_itself_keeps_its_exit_code(open_api: Open, fake: FakeEngine, down: bool, run: str | None) -> None:
    with open_api() as api:
        run_job(api)
        if not down:
            fake.end(run)
            api.wait(FRAME, "SUCCEEDED")
    if down:
        fake.end(run)
        with open_api() as api:
            api.wait(FRAME, "SUCCEEDED")


def test_a_container_that_outlives_a_restart_keeps_its_exit_code(open_api: Open, fake: FakeEngine) -> None:
    with open_api() as api:
        run_job(api)
    fake.name = "run 2 2"
    with open_api() as api:
        api.wait(FRAME, "RUNNING")
        time.sleep(0.1)
        fake.end("run 2 2")
        assert api.wait(FRAME, "SUCCEEDED")["jobStatus"]["attemptId"] == 0


def test_an_engine_that_is_shutting_down_decides_nothing(open_api: Open, fake: FakeEngine) -> None:
    with open_api() as api:
        run_job(api)
        fake.closing = True
        fake.end("run 1 1")
        time.sleep(0.1)
        assert api.detail(FRAME)["jobStatus"]["state"] == "RUNNING"
        fake.name, fake.closing = "run 2 2", False
        wait_for_attempt(api, 1)


# The run


class FakeProc:
    """A folder like /proc, and a socket on which this test listens."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        boot = folder / "sys/kernel/random/boot_id"
        boot.parent.mkdir(parents=True)
        boot.write_text("boot\n")

    def add(self, pid: int, name: str, start: int, pid_in_container: str = "") -> None:
        process = self.folder / str(pid)
        process.mkdir(exist_ok=True)
        (process / "stat").write_text(f"{pid} ({name}) S {' '.join(['0'] * 18)} {start} 0 0\n")
        (process / "status").write_text(f"Name:\t{name}\nNSpid:\t{pid}{pid_in_container}\n")


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProc]:
    found = FakeProc(tmp_path / "proc")
    monkeypatch.setattr(engine_run, "_PROC", found.folder)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path / 'docker.sock'}")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "docker.sock"))
        listener.listen()
        yield found


def test_the_run_is_that_of_the_dockerd_behind_the_socket(proc: FakeProc) -> None:
    proc.add(os.getpid(), "dockerd", 77)
    proc.add(1 << 22, "dockerd", 5)
    assert engine_run.find_run(None) == f"boot {os.getpid()} 77"


@pytest.mark.parametrize("name", ["podman", "a (dockerd", "dockerd) S"])
def test_another_program_behind_the_socket_tells_nothing(proc: FakeProc, name: str) -> None:
    proc.add(os.getpid(), name, 77)
    proc.add(1 << 22, "dockerd", 5)
    assert engine_run.find_run(None) is None


def test_behind_a_socket_of_systemd_the_run_is_that_of_the_hosts_dockerd(proc: FakeProc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_run, "_INIT", os.getpid())
    proc.add(os.getpid(), "systemd", 1)
    proc.add(7, "dockerd", 70)
    proc.add(8, "dockerd", 80, pid_in_container="\t1")
    assert engine_run.find_run(None) == "boot 7 70"
    proc.add(9, "dockerd", 90)
    assert engine_run.find_run(None) is None
    assert engine_run.find_run("boot 7 70") == "boot 7 70"
    assert engine_run.find_run("boot 7 69") is None


def test_an_engine_elsewhere_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:2375")
    assert engine_run.find_run(None) is None


def test_a_socket_without_a_listener_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path / 'docker.sock'}")
    with pytest.raises(OSError, match="No such file"):
        engine_run.find_run(None)
