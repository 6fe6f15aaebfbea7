"""docker_push when the registry, the way to it or the engine fails, each for real, and registries with other logins."""

from __future__ import annotations

import ipaddress
import itertools
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.golden_jobs import retry

from tests.fault_proxy import FaultProxy, Relay
from tests.integration.pushing import OwnRegistry, make_image, push_here, remove, texts
from tests.support import AS_ROOT, Registry, free_ports, run_module, wait_for
from tests.token_server import Authority, TokenServer

ENGINES = "docker/"  # how an engine's User-Agent begins
TOO_MANY = {"errors": [{"code": "TOOMANYREQUESTS", "message": "too many requests"}]}
QUOTA = "adding 30.1 MiB of storage resource, which when updated to current usage will exceed the configured upper limit of 100.0 MiB."


def denied(message: str) -> dict[str, Any]:
    return {"errors": [{"code": "DENIED", "message": message}]}


@pytest.fixture
def image(target: dict[str, Any], engine: Any) -> str:
    """An image of 1 MB at the tag v1 of the target."""
    return make_image(engine, f"{target['name']}:v1", 1)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that nobody asked for are short."""
    monkeypatch.setattr(retry, "FIRST_PAUSE_S", 0.01)


@pytest.mark.usefixtures("image")
def test_three_times_500_is_survived_with_growing_pauses(target: dict[str, Any], proxy: FaultProxy, registry: Registry, lines: Path):
    fault = proxy.fault("PUT .*/manifests/v1", status=500, times=3)
    pushed = push_here(lines, **target, tags=["v1"])
    assert pushed["changed"]
    assert pushed["attempts"] == 4
    puts = [one.at for one in proxy.requests("PUT .*/manifests/v1")]
    assert len(fault.seen) == 3
    assert all(later - earlier >= pause for (earlier, later), pause in zip(itertools.pairwise(puts), (1, 2, 4), strict=True))
    assert sum("trying again in" in text and "of 5)" in text for text in texts(lines)) == 3
    # The layer was sent once: later attempts found it.
    assert (pushed["layers_pushed"], pushed["bytes_sent"]) == (1, 1_000_000)
    assert registry.tags(target["name"].partition("/")[2]) == ["v1"]


@pytest.mark.usefixtures("image", "hurried")
def test_three_times_429_is_survived_and_retry_after_is_honoured(target: dict[str, Any], proxy: FaultProxy, lines: Path):
    fault = proxy.fault("PUT .*/manifests/v1", status=429, body=TOO_MANY, times=3, seconds=2.0)
    pushed = push_here(lines, **target, tags=["v1"])
    assert pushed["changed"]
    assert len(fault.seen) == 3
    for limited in fault.seen:  # nothing of the engine came while the registry wanted to be left alone
        assert not [one for one in proxy.log if limited < one.at < limited + 1.9 and one.agent.startswith(ENGINES)]
    assert not pushed["failed"]


@pytest.mark.usefixtures("image")
def test_a_wait_that_the_registry_wants_but_the_deadline_forbids_fails_at_once(target: dict[str, Any], proxy: FaultProxy, lines: Path):
    proxy.fault("(manifests|/v2/$|uploads)", status=429, body=TOO_MANY, headers={"Retry-After": "900"})
    failed = push_here(lines, **target, tags=["v1"], push_timeout_s=60)
    assert "too many requests" in failed["msg"]
    assert "wants us to wait 15 min 00 s" in failed["msg"]
    assert "push_timeout_s allows 60 s" in failed["msg"]


@pytest.mark.parametrize("status", [500, 429])
@pytest.mark.usefixtures("image", "hurried")
def test_faults_at_the_front_door_are_not_taken_for_a_refused_login(target: dict[str, Any], proxy: FaultProxy, lines: Path, status: int):
    proxy.fault("GET /v2/$", status=status, times=4)
    assert push_here(lines, **target, tags=["v1"])["changed"]


@pytest.mark.usefixtures("image", "hurried")
def test_500_for_ever_ends_after_the_attempts_and_says_so(target: dict[str, Any], proxy: FaultProxy, lines: Path):
    fault = proxy.fault("PUT .*/manifests/", status=500)
    failed = push_here(lines, **target, tags=["v1"], attempts=3)
    assert "received unexpected HTTP status: 500 Internal Server Error; given up after 3 attempts" in failed["msg"]
    assert f"The push of {target['name']}:v1 failed" in failed["msg"]
    assert len(fault.seen) == failed["attempts"] == 3


@pytest.mark.usefixtures("image")
def test_429_for_ever_ends_in_time_and_says_so(target: dict[str, Any], proxy: FaultProxy, lines: Path):
    proxy.fault(".", status=429, body=TOO_MANY)
    failed = push_here(lines, **target, tags=["v1"], attempts=99, push_timeout_s=3)
    assert "given up after" in failed["msg"]
    assert "push_timeout_s allows 3.0 s in total" in failed["msg"]
    assert "\n" not in failed["msg"]


@pytest.mark.usefixtures("image", "hurried")
def test_a_connection_that_is_cut_at_the_end_is_made_again(target: dict[str, Any], proxy: FaultProxy, lines: Path):
    proxy.fault("PUT .*/manifests/", cut_after_bytes=0, times=2)
    pushed = push_here(lines, **target, tags=["v1"])
    assert pushed["changed"]
    assert pushed["attempts"] == 3


def test_a_connection_that_is_cut_in_the_middle_of_a_layer_is_made_again(
    target: dict[str, Any], proxy: FaultProxy, engine: Any, lines: Path
):
    make_image(engine, f"{target['name']}:v1", 5)
    proxy.fault("PATCH ", cut_after_bytes=2_000_000, times=1)
    pushed = push_here(lines, **target, tags=["v1"])
    assert pushed["changed"]
    assert pushed["layers"][0]["state"] == "pushed"
    assert pushed["bytes_sent"] == 5_000_000
    assert proxy.body_bytes() > 7_000_000


def test_a_registry_that_is_killed_in_the_middle_of_a_push_and_started_again_gets_the_image(
    engine: Any, registry: Registry, lines: Path, tmp_path: Path
):
    own = OwnRegistry(tmp_path / "own")
    own.start()
    proxy = FaultProxy(own.address)
    proxy.rate_bytes_s = 8e6
    name = f"{proxy.address}/push/killed"
    result: dict[str, Any] = {}
    try:
        make_image(engine, f"{name}:v1", 60, 1)
        pushing = threading.Thread(target=lambda: result.update(push_here(lines, name=name, tags=["v1", "v2"])))
        pushing.start()
        wait_for(lambda: proxy.body_bytes() > 15e6)
        own.stop()
        own.start()
        pushing.join(120)
        assert result.get("changed"), result
        assert len(set(result["digests"].values())) == 1
        assert result["layers_pushed"] == 2
        assert sorted(own.get("push/killed/tags/list").json()["tags"]) == ["v1", "v2"]
    finally:
        proxy.close()
        own.stop()
        remove(engine, proxy.address)
    counted = [text for text in texts(lines) if " of 61 MB, " in text]
    assert len(counted) >= 2, texts(lines)
    assert all(" MB/s, " in text and " of 2 layers" in text for text in counted)
    assert any("retrying in" in text for text in texts(lines))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run([*AS_ROOT, "mount", "-t", "tmpfs", "-o", "size=8m,mode=0777", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run([*AS_ROOT, "umount", str(folder)], check=True)


def test_a_full_registry_fails_at_once_and_says_so(engine: Any, registry: Registry, small_disk: Path):
    full = OwnRegistry(small_disk)
    full.start()
    proxy = FaultProxy(full.address)
    name = f"{proxy.address}/push/full"
    try:
        make_image(engine, f"{name}:v1", 20)
        failed = run_module("docker_push", name=name, tags=["v1"])
        assert failed["failed"]
        assert f"The registry {proxy.address} has no room for {name}: free space there" in failed["msg"]
        # An engine alone goes on for a minute.
        assert len([one for one in proxy.requests("POST ") if one.agent.startswith(ENGINES)]) == 1
    finally:
        proxy.close()
        full.stop()
        remove(engine, proxy.address)


@pytest.mark.parametrize(
    ("where", "answer", "sentence"),
    [
        (
            "PUT .*/manifests/",
            {"status": 403, "body": denied(QUOTA)},
            "has no room for {name}: free space there, or raise the project's quota",
        ),
        ("PUT .*/manifests/", {"status": 507}, "has no room for {name}"),
        ("PUT .*/uploads/", {"status": 413}, "refuses a layer of {name} as too large (HTTP 413)"),
        (
            "POST .*/uploads/",
            {"status": 403, "body": denied("no push here")},
            "does not let user 'tester' push to {name}: grant that right there",
        ),
        (
            "POST .*/uploads/",
            {"status": 404, "body": {"errors": [{"code": "NAME_UNKNOWN", "message": "repository name not known to registry"}]}},
            "has no repository {name}: create it",
        ),
    ],
)
def test_what_no_attempt_can_change_fails_at_once_in_one_sentence(
    target: dict[str, Any], proxy: FaultProxy, engine: Any, where: str, answer: dict[str, Any], sentence: str
):
    make_image(engine, f"{target['name']}:v1", 1)
    fault = proxy.fault(where, **answer)
    failed = run_module("docker_push", **target, tags=["v1"])
    assert sentence.format(name=target["name"]) in failed["msg"]
    assert "password" not in failed["msg"]
    assert "\n" not in failed["msg"]
    assert len([one for one in proxy.requests(where) if one.agent.startswith(ENGINES)]) == 1
    assert fault.seen


@pytest.mark.usefixtures("image")
def test_a_tag_that_names_something_else_after_the_push_is_a_failure(
    target: dict[str, Any], proxy: FaultProxy, engine: Any, registry: Registry, lines: Path
):
    old = push_here(lines, **target, tags=["v1"])["digest"]
    make_image(engine, f"{target['name']}:v1", 1)
    proxy.fault("PUT (.*)/manifests/v1", rewrite=r"\1/manifests/lost", times=1)
    failed = push_here(lines, **target, tags=["v1"])
    assert f"was not kept: the registry answers {old} for v1, where sha256:" in failed["msg"]
    assert failed["digests"] == {"v1": old}
    proxy.faults.clear()
    repeated = push_here(lines, **target, tags=["v1"])
    assert not repeated["failed"]
    assert repeated["digest"] != old


def test_an_engine_that_dies_in_the_middle_of_a_push_is_named(target: dict[str, Any], proxy: FaultProxy, engine: Any, lines: Path):
    make_image(engine, f"{target['name']}:v1", 20)
    proxy.rate_bytes_s = 4e6
    relay = Relay("/var/run/docker.sock")
    cutting = threading.Thread(target=lambda: (wait_for(lambda: proxy.body_bytes() > 4e6), relay.cut()))
    cutting.start()
    failed = push_here(lines, **target, tags=["v1"], docker_host=relay.address)
    cutting.join(30)
    assert f"The Docker engine at {relay.address} stopped answering in the middle of the push of {target['name']}:v1" in failed["msg"]
    assert "\n" not in failed["msg"]
    assert failed["attempts"] == 1


def test_the_deadline_ends_a_slow_push_and_nothing_goes_on_behind_it(target: dict[str, Any], proxy: FaultProxy, engine: Any):
    make_image(engine, f"{target['name']}:v1", 60)
    proxy.rate_bytes_s = 1e6
    failed = run_module("docker_push", **target, tags=["v1"], push_timeout_s=3)
    assert "has not ended within push_timeout_s, 3.0 s" in failed["msg"]
    wait_for(lambda: not proxy.open_requests)
    assert proxy.body_bytes() < 50e6


def test_the_token_flow_of_docker_hub(engine: Any, registry: Registry, lines: Path, tmp_path: Path):
    authority = Authority(tmp_path / "authority", "127.0.0.1")
    tokens = TokenServer(authority, "tester", "good", writable="mine/")
    own = OwnRegistry(tmp_path / "own", config={"auth": tokens.registry_config})
    own.start()
    proxy = FaultProxy(own.address)
    login = {"registry_username": "tester", "registry_password": "good"}
    try:
        for name in ("mine/a", "theirs/a"):
            make_image(engine, f"{proxy.address}/{name}:v1", 1)
        mine = {"name": f"{proxy.address}/mine/a", "tags": ["v1"]}
        assert push_here(lines, **mine, **login)["changed"]
        assert any(scope == "repository:mine/a:push,pull" for scope in tokens.asked)
        assert not push_here(lines, **mine, **login)["changed"]

        refused = push_here(lines, **mine, registry_username="tester", registry_password="bad")
        assert "refuses user 'tester' or the password" in refused["msg"]
        foreign = push_here(lines, name=f"{proxy.address}/theirs/a", tags=["v1"], **login)
        assert f"does not let user 'tester' push to {proxy.address}/theirs/a" in foreign["msg"]
        nobody = push_here(lines, name=f"{proxy.address}/mine/a", image=f"{proxy.address}/theirs/a:v1", tags=["v2"])
        assert "set registry_username and registry_password" in nobody["msg"]
    finally:
        proxy.close()
        own.stop()
        tokens.close()
        remove(engine, proxy.address)


def test_a_registry_with_a_certificate_of_its_own_is_trusted_by_its_ca(engine: Any, registry: Registry, lines: Path, tmp_path: Path):
    # Engines do not look at certificates on 127.0.0.0/8; the bridge's address is another one of this machine.
    address = str(ipaddress.ip_network(engine.inspect_network("bridge")["IPAM"]["Config"][0]["Subnet"])[1])
    authority = Authority(tmp_path / "authority", address)
    tls = {"certificate": str(authority.ca_file), "key": str(authority.key_file)}
    own = OwnRegistry(tmp_path / "own", f"{address}:{free_ports(1)}", {"http": {"tls": tls}}, ca=str(authority.ca_file))
    own.start()
    trusted = Path("/etc/docker/certs.d") / own.address
    push = {"name": f"{own.address}/push/tls", "tags": ["v1"]}
    try:
        make_image(engine, f"{push['name']}:v1", 1)
        failed = push_here(lines, **push)
        assert f"put its CA in /etc/docker/certs.d/{own.address}/ca.crt on the engine's host" in failed["msg"]
        subprocess.run([*AS_ROOT, "install", "-D", "-m", "644", str(authority.ca_file), str(trusted / "ca.crt")], check=True)
        assert push_here(lines, **push)["changed"]
    finally:
        subprocess.run([*AS_ROOT, "rm", "-rf", str(trusted)], check=True)
        subprocess.run([*AS_ROOT, "rmdir", "--ignore-fail-on-non-empty", str(trusted.parent)], check=False)
        own.stop()
        remove(engine, own.address)


def test_a_registry_that_is_down_is_named(engine: Any, registry: Registry, lines: Path):
    started = time.monotonic()
    failed = push_here(lines, name="127.0.0.1:1/push/nowhere", tags=["v1"], attempts=2)
    assert "The registry 127.0.0.1:1 cannot be asked for 127.0.0.1:1/push/nowhere:v1" in failed["msg"]
    assert "given up after 2 attempts" in failed["msg"]
    assert time.monotonic() - started >= retry.FIRST_PAUSE_S


def test_a_registry_that_never_answers_is_named_when_the_time_is_up(engine: Any, registry: Registry, lines: Path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        failed = push_here(lines, name=f"{address}/push/silent", tags=["v1"], push_timeout_s=3)
    assert f"The registry {address} cannot be asked for {address}/push/silent:v1: timed out after" in failed["msg"]
    assert "push_timeout_s allows 3.0 s in total" in failed["msg"]
