"""The PAI sandbox with a real engine: each task is a container."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tarfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import docker
import pytest
from fastapi.testclient import TestClient

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "roles" / "pai_sandbox" / "files"))

from pai_sandbox import engine as sandbox_engine
from pai_sandbox import remove_containers
from pai_sandbox.app import create_app
from pai_sandbox.ports import port_numbers
from pai_sandbox.settings import Settings
from pai_sandbox.store import Store

from tests.support import Registry, static_busybox, wait_for

JOB = """protocolVersion: 2
name: {name}
type: job
jobRetryCount: {retries}
prerequisites:
  - {{type: dockerimage, name: img, uri: '{image}'}}
taskRoles:
  main:
    instances: {instances}
    dockerImage: img
    resourcePerInstance: {{cpu: 1, memoryMB: 64, gpu: 0, ports: {{web: 1}}}}
    commands: [{command}]
secrets:
  pw: hunter2
"""
SERVE = """'mkdir -p /tmp/www; echo "$PAI_JOB_NAME <% $secrets.pw %>" > /tmp/www/index.html; httpd -f -p $PAI_PORT_LIST_main_0_web -h /tmp/www'"""

ENDS_WELL = """'trap "exit 0" TERM; echo ready; sleep 1000 & wait'"""


def image_content() -> bytes:
    """A root file system of this host's bash and busybox."""
    bash, busybox = shutil.which("bash"), static_busybox()
    assert bash
    listing = subprocess.run(["ldd", bash], check=True, capture_output=True, text=True).stdout
    libraries = [word for word in listing.split() if word.startswith("/")]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", dereference=True) as archive:
        archive.add(bash, "bin/bash")
        archive.add(busybox, "bin/busybox")
        for library in libraries:
            archive.add(library, library.lstrip("/"))
        for applet in ("httpd", "mkdir", "sleep"):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
        folder = tarfile.TarInfo("tmp")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
        archive.addfile(folder)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def client(engine: Any) -> docker.DockerClient:
    return docker.from_env(timeout=30)


@pytest.fixture(scope="module")
def image(client: docker.DockerClient) -> Iterator[str]:
    name = f"pai-sandbox-test-{uuid.uuid4().hex[:8]}"
    client.api.import_image_from_data(image_content(), repository=name, tag="1", changes=["ENV PATH=/bin"])
    yield f"{name}:1"
    client.images.remove(f"{name}:1", force=True)


class Sandbox:
    """A running sandbox and its one user's client."""

    def __init__(self, client: TestClient) -> None:
        self._client = client
        token = client.post("/api/v2/tokens", json={"username": "op", "password": "op-password"}).json()["token"]
        self._headers = {"authorization": f"Bearer {token}"}

    def submit(self, name: str, image: str, command: str, instances: int = 1, retries: int = 0) -> None:
        text = JOB.format(name=name, image=image, command=command, instances=instances, retries=retries)
        self.submit_text(text)

    def submit_text(self, text: str) -> None:
        answer = self._client.post("/api/v2/jobs", content=text, headers={**self._headers, "content-type": "text/yaml"})
        assert answer.status_code == 202, answer.text

    def get(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = self._client.get(path, headers=self._headers).json()
        return found

    def log(self, task: dict[str, Any], name: str) -> str:
        """A log of a task, by the link that the log route gives."""
        locations = {one["name"]: one["uri"] for one in self.get(task["containerLog"])["locations"]}
        answer = self._client.get(locations[name])
        assert answer.status_code == 200
        return answer.text

    def stop(self, name: str) -> None:
        path = f"/api/v2/jobs/op~{name}/executionType"
        assert self._client.put(path, json={"value": "STOP"}, headers=self._headers).status_code == 202

    def detail(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self._client.get(f"/api/v2/jobs/op~{name}", headers=self._headers).json()
        return found

    def wait(self, name: str, *states: str, attempt: int = 0) -> dict[str, Any]:
        deadline = time.monotonic() + 30
        while True:
            found = self.detail(name)
            status = found["jobStatus"]
            if status["state"] in states and status.get("attemptId") == attempt:
                return found
            assert time.monotonic() < deadline, status
            time.sleep(0.05)


Open = Callable[..., AbstractContextManager[Sandbox]]


@pytest.fixture
def state_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "state"
    remove_containers.main(["--name", "pai-test", "--state-dir", str(tmp_path / "state")])


@pytest.fixture
def open_sandbox(state_dir: Path, client: docker.DockerClient) -> Open:
    users_file = state_dir.parent / "users.json"
    users_file.write_text(json.dumps({"users": [{"username": "op", "password": "op-password", "admin": True}]}))

    @contextmanager
    def opened(**changes: Any) -> Iterator[Sandbox]:
        options: dict[str, Any] = {"settle_s": 0.05, "poll_s": 0.05, "requests_per_minute": 0, "stop_timeout_s": 2, **changes}
        settings = Settings("pai-test", state_dir, users_file, **options)
        with TestClient(create_app(settings)) as web:
            yield Sandbox(web)

    return opened


def own(client: docker.DockerClient, state_dir: Path) -> list[Any]:
    label = f"{sandbox_engine.LABEL_STATE}={state_dir.resolve()}"
    return list(client.containers.list(all=True, filters={"label": label}))


def page(port: str) -> str:
    deadline = time.monotonic() + 10
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        try:
            with opener.open(f"http://127.0.0.1:{port}/", timeout=2) as answer:
                return str(answer.read().decode())
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_job_serves_on_its_port_through_a_restart_and_stops(
    open_sandbox: Open, image: str, client: docker.DockerClient, state_dir: Path
) -> None:
    with open_sandbox() as sandbox:
        sandbox.submit("serve", image, SERVE)
        found = sandbox.wait("serve", "RUNNING")
        task = found["taskRoles"]["main"]["taskStatuses"][0]
        assert task["containerIp"] == "127.0.0.1"
        assert page(task["containerPorts"]["web"]) == "op~serve hunter2\n"
        (container,) = own(client, state_dir)
        assert container.labels[sandbox_engine.LABEL_JOB] == "op~serve"
        assert container.name == f"pai-pai-test-serve-main-0-{task['containerId'][:8]}"
        assert "hunter2" not in json.dumps(container.attrs)
        assert container.attrs["HostConfig"]["Memory"] == 64 * 1024 * 1024
    with open_sandbox() as sandbox:
        assert sandbox.wait("serve", "RUNNING") == found
        assert page(task["containerPorts"]["web"]) == "op~serve hunter2\n"
        sandbox.stop("serve")
        stopped = sandbox.wait("serve", "STOPPED")
        assert stopped["jobStatus"]["appExitCode"] == -210
    assert own(client, state_dir) == []


@pytest.mark.parametrize(
    ("command", "state", "code", "user_code"),
    [
        ("exit 0", "SUCCEEDED", 0, None),
        ("exit 3", "FAILED", 255, 3),
        ("echo $NOT_SET", "FAILED", 255, 1),
        ("'false | true; exit 0'", "FAILED", 255, 1),
        ("nosuchprogram", "FAILED", 220, 127),
    ],
)
def test_the_exit_code_of_a_program_decides(
    open_sandbox: Open, image: str, command: str, state: str, code: int, user_code: int | None, client: docker.DockerClient, state_dir: Path
) -> None:
    with open_sandbox() as sandbox:
        sandbox.submit("exit", image, command)
        status = sandbox.wait("exit", "SUCCEEDED", "FAILED")["jobStatus"]
        assert (status["state"], status["appExitCode"]) == (state, code)
        runtime = status["appExitMessages"]["runtime"]
        assert (runtime and runtime["originUserExitCode"]) == user_code
    assert own(client, state_dir) == []


def test_an_image_that_cannot_be_pulled_fails_the_job_with_254(open_sandbox: Open) -> None:
    with open_sandbox() as sandbox:
        sandbox.submit("noimage", "127.0.0.1:1/no/such:1", "exit 0")
        status = sandbox.wait("noimage", "FAILED")["jobStatus"]
        assert status["appExitCode"] == 254
        assert status["appExitSpec"]["phrase"] == "ContainerImageNotExists"
        assert "127.0.0.1:1/no/such:1" in status["appExitDiagnostics"]


def test_a_failed_job_is_tried_again_as_often_as_it_asks(open_sandbox: Open, image: str) -> None:
    with open_sandbox() as sandbox:
        sandbox.submit("again", image, "exit 1", retries=1)
        status = sandbox.wait("again", "FAILED", attempt=1)["jobStatus"]
        assert status["retryDetails"] == {"user": 1, "platform": 0, "resource": 0}


def test_a_container_that_others_removed_comes_back_in_a_new_attempt(
    open_sandbox: Open, image: str, client: docker.DockerClient, state_dir: Path
) -> None:
    with open_sandbox() as sandbox:
        sandbox.submit("gone", image, "sleep 1000")
        sandbox.wait("gone", "RUNNING")
        own(client, state_dir)[0].remove(force=True)
        found = sandbox.wait("gone", "RUNNING", attempt=1)
        assert found["jobStatus"]["retryDetails"]["platform"] == 1


@pytest.mark.parametrize(("restarted", "state", "attempt"), [(False, "SUCCEEDED", 0), (True, "RUNNING", 1)])
def test_a_container_that_ended_with_the_engine_comes_back_in_a_new_attempt(
    open_sandbox: Open, image: str, client: docker.DockerClient, state_dir: Path, restarted: bool, state: str, attempt: int
) -> None:
    with open_sandbox() as sandbox:
        sandbox.submit("well", image, ENDS_WELL)
        sandbox.wait("well", "RUNNING")
    (container,) = own(client, state_dir)
    deadline = time.monotonic() + 10
    while b"ready" not in container.logs():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    container.stop()
    assert container.wait()["StatusCode"] == 0
    with closing(Store(state_dir / "pai.sqlite")) as store:
        run = store.engine_run()
        assert run == sandbox_engine.Engine("pai-test", state_dir).run(None)
        assert run
        if restarted:
            store.set_engine_run("an-earlier-boot 1 1")
    with open_sandbox() as sandbox:
        status = sandbox.wait("well", state, attempt=attempt)["jobStatus"]
        assert status["retryDetails"] == {"user": 0, "platform": attempt, "resource": 0}
    assert [found.id == container.id for found in own(client, state_dir)] == [False] * attempt


def test_tasks_of_one_job_have_ports_of_their_own(open_sandbox: Open, image: str) -> None:
    with open_sandbox() as sandbox:
        sandbox.submit("pair", image, "sleep 1000", instances=2)
        tasks = sandbox.wait("pair", "RUNNING")["taskRoles"]["main"]["taskStatuses"]
        numbers = [port for task in tasks for port in task["containerPorts"].values()]
        assert len(set(numbers)) == len(numbers) == 6
        for task in tasks:
            hashed = port_numbers(task["containerId"], {"web": 1})["web"][0]
            assert task["containerPorts"]["web"] == str(hashed)


def test_removing_a_sandboxs_containers_leaves_those_of_others(
    open_sandbox: Open, image: str, client: docker.DockerClient, state_dir: Path, tmp_path: Path
) -> None:
    with open_sandbox() as sandbox:
        sandbox.submit("mine", image, "sleep 1000")
        sandbox.wait("mine", "RUNNING")
    remove_containers.main(["--name", "pai-test", "--state-dir", str(tmp_path / "other")])
    assert len(own(client, state_dir)) == 1
    remove_containers.main(["--name", "pai-test", "--state-dir", str(state_dir)])
    assert own(client, state_dir) == []


def test_what_a_task_writes_can_be_read_while_it_runs_and_after_its_end(open_sandbox: Open, image: str, state_dir: Path) -> None:
    with open_sandbox() as sandbox:
        sandbox.submit("talk", image, "'echo out; echo err >&2; sleep 1000'")
        task = sandbox.wait("talk", "RUNNING")["taskRoles"]["main"]["taskStatuses"][0]
        wait_for(lambda: "err" in sandbox.log(task, "stderr") and "out" in sandbox.log(task, "stdout"))
        assert "Started" in [event["reason"] for event in sandbox.get("/api/v2/jobs/op~talk/events?type=Normal")["data"]]
        sandbox.stop("talk")
        sandbox.wait("talk", "STOPPED")
    with open_sandbox() as sandbox:
        assert (sandbox.log(task, "stdout"), sandbox.log(task, "stderr")) == ("out\n", "err\n")
        assert sorted(sandbox.log(task, "all").split()) == ["err", "out"]
    assert all(path.stat().st_mode & 0o077 == 0 for path in (state_dir / "logs").rglob("user-*"))


PRIVATE = """protocolVersion: 2
name: {name}
type: job
prerequisites:
  - name: img
    type: dockerimage
    uri: '{image}'
    auth: {{username: '{user}', password: <% $secrets.pw %>, registryuri: '{registry}'}}
taskRoles:
  main:
    instances: 1
    dockerImage: img
    resourcePerInstance: {{cpu: 1, memoryMB: 64, gpu: 0}}
    commands: [exit 0]
secrets: {{pw: '{password}'}}
"""


def test_a_private_image_is_pulled_with_the_jobs_own_login(open_sandbox: Open, tiny_image: str, registry: Registry) -> None:
    values = {"image": tiny_image, "user": registry.username, "registry": registry.address}
    with open_sandbox() as sandbox:
        sandbox.submit_text(PRIVATE.format(name="right", password=registry.password, **values))
        sandbox.submit_text(PRIVATE.format(name="wrong", password="guessed", **values))
        assert sandbox.wait("right", "SUCCEEDED", "FAILED")["jobStatus"]["state"] == "SUCCEEDED"
        assert sandbox.wait("wrong", "SUCCEEDED", "FAILED")["jobStatus"]["appExitCode"] == 254
        sandbox.submit("nobody", tiny_image, "exit 0")
        assert sandbox.wait("nobody", "SUCCEEDED", "FAILED")["jobStatus"]["appExitCode"] == 254


def test_a_job_that_finds_no_room_waits_through_a_restart_without_a_container(
    open_sandbox: Open, image: str, client: docker.DockerClient, state_dir: Path
) -> None:
    with open_sandbox(memory_mb=100) as sandbox:
        sandbox.submit("first", image, "sleep 1000")
        sandbox.wait("first", "RUNNING")
        sandbox.submit("second", image, "sleep 1000")
        wait_for(lambda: sandbox.get("/api/v2/jobs/op~second/events")["totalCount"])
    with open_sandbox(memory_mb=100) as sandbox:
        assert sandbox.detail("second")["jobStatus"]["state"] == "WAITING"
        assert len(own(client, state_dir)) == 1
        sandbox.stop("first")
        sandbox.wait("second", "RUNNING")
