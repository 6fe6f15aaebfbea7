"""What pai_job promises when the cluster, the network or the job misbehave: the faults are made by the PAI sandbox.

Each ends as documented, leaves exactly one job, and says what to do.
"""

from __future__ import annotations

import copy
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.golden_jobs import pai_wait

from tests.sandbox import Sandbox, ensure_job, sandbox
from tests.support import Registry, run_module

JOB: dict[str, Any] = {
    "protocolVersion": 2,
    "name": "any",
    "type": "job",
    "prerequisites": [{"type": "dockerimage", "name": "image", "uri": "a:1"}],
    "taskRoles": {
        "web": {"instances": 1, "dockerImage": "image", "resourcePerInstance": {"cpu": 1, "memoryMB": 64, "gpu": 0}, "commands": ["serve"]}
    },
}
SUBMIT = {"method": "POST", "path": "/api/v2/jobs"}
DETAIL = {"method": "GET", "path": "/api/v2/jobs/op~x-1"}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Sandbox]:
    with sandbox(tmp_path / "sandbox") as running:
        yield running


def job(cluster: Sandbox, **options: Any) -> dict[str, Any]:
    return ensure_job(cluster, **{"name": "x-1", "job": JOB, **options})


def by_ansible(cluster: Sandbox, **options: Any) -> dict[str, Any]:
    return run_module("pai_job", **{"address": cluster.url, "token": cluster.token(), "name": "x-1", "job": JOB, **options})


def made(cluster: Sandbox) -> list[str]:
    return [row["frame"] for row in cluster.server.store._rows("SELECT frame FROM jobs")]


def logins(cluster: Sandbox) -> int:
    return cluster.requests.count("POST /api/v2/authn/basic/login")


def test_a_token_that_expires_in_the_middle_of_a_wait(cluster: Sandbox):
    cluster.rules({"wait_s": 1.5})
    cluster.faults({"do": "expire-tokens", **DETAIL, "skip": 2})
    result = job(cluster, address=cluster.proxy_url)
    assert (result["failed"], result["state"]) == (False, "RUNNING")
    assert logins(cluster) == 2
    assert made(cluster) == ["op~x-1"]


def test_an_application_token_that_is_revoked_in_the_middle_of_a_wait(cluster: Sandbox):
    cluster.rules({"wait_s": None})
    token = cluster.token()
    waiting = threading.Timer(1.0, cluster.server.tokens.revoke, ("op", token))
    waiting.start()
    result = job(cluster, token=token, username=None, password=None)
    waiting.join()
    assert "does not accept the token: it is wrong, expired or revoked; make a new application token on your profile page" in result["msg"]
    assert made(cluster) == ["op~x-1"]


@pytest.mark.parametrize("where", [SUBMIT, {**DETAIL, "skip": 1}, {"method": "POST", "path": ".*/login"}, {"path": ".*/tag"}])
def test_a_rate_limit_is_waited_for_as_long_as_the_server_asks(cluster: Sandbox, where: dict[str, Any]):
    cluster.faults({"do": "too-many-requests", "retry_after_s": 2, **where})
    result = job(cluster, tags=["a"])
    assert (result["failed"], result["state"], result["tags"]) == (False, "RUNNING", ["a"])
    assert made(cluster) == ["op~x-1"]


@pytest.mark.parametrize("fault", ["error", "reset"])
@pytest.mark.parametrize("committed", [True, False])
def test_a_submit_without_a_good_answer(cluster: Sandbox, fault: str, committed: bool):
    cluster.faults({"do": fault, **SUBMIT, "committed": committed})
    result = job(cluster, address=cluster.proxy_url)
    assert (result["failed"], result["submitted"], result["changed"], result["state"]) == (False, True, True, "RUNNING")
    assert cluster.requests.count("POST /api/v2/jobs") == (1 if committed else 2)
    assert made(cluster) == ["op~x-1"]


def test_a_server_that_restarts_right_after_the_submit(cluster: Sandbox):
    cluster.faults({"do": "restart", "seconds": 3, **SUBMIT, "committed": True})
    result = job(cluster, address=cluster.proxy_url)
    assert (result["failed"], result["submitted"], result["state"]) == (False, True, "RUNNING")
    assert cluster.requests.count("POST /api/v2/jobs") == 1
    assert made(cluster) == ["op~x-1"]


def test_a_server_that_restarts_during_a_wait(cluster: Sandbox):
    cluster.rules({"wait_s": 1})
    cluster.faults({"do": "restart", "seconds": 3, **DETAIL, "skip": 2})
    result = by_ansible(cluster)
    assert (result["failed"], result["state"]) == (False, "RUNNING")
    assert made(cluster) == ["op~x-1"]


def test_a_server_that_does_not_come_back(cluster: Sandbox):
    cluster.rules({"wait_s": None})
    cluster.faults({"do": "error", "status": 502, "message": "no upstream", **DETAIL, "skip": 1, "times": 0})
    result = job(cluster, wait_timeout_s=2)
    assert re.search(
        r"The job 'x-1' on http\S+ does not answer for 2.0 s \(.*no upstream\); run this again when the cluster answers\.", result["msg"]
    )
    assert made(cluster) == ["op~x-1"]


def test_a_job_that_never_leaves_waiting(cluster: Sandbox):
    greedy = copy.deepcopy(JOB)
    greedy["taskRoles"]["web"]["resourcePerInstance"]["gpu"] = 8
    result = job(cluster, job=greedy, wait_timeout_s=3)
    assert re.search(
        r"The job 'x-1' on http\S+ is WAITING and not running after 3.0 s \(FailedScheduling: .+\); "
        r"it is left as it is: run this again to wait on, or stop it with state: stopped\.",
        result["msg"],
    )
    assert (result["failed"], result["state"], result["changed"]) == (True, "WAITING", True)
    assert made(cluster) == ["op~x-1"]
    stopped = job(cluster, job=None, state="stopped")
    assert (stopped["changed"], stopped["state"]) == (True, "STOPPED")


def test_a_job_that_is_started_again_and_again_is_waited_for_until_it_runs(cluster: Sandbox):
    cluster.rules({"run_s": 0.2, "exit_code": 137, "killed": True})  # a platform failure: always tried again
    result = job(cluster, state="succeeded", wait_timeout_s=5)
    assert "attempt" in result["msg"]
    assert "not succeeded after 5.0 s" in result["msg"]
    assert made(cluster) == ["op~x-1"]


def test_two_operators_at_once_make_one_job(cluster: Sandbox):
    results: list[dict[str, Any]] = []
    both = [threading.Thread(target=lambda: results.append(by_ansible(cluster))) for _index in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert [(result["failed"], result["state"]) for result in results] == [(False, "RUNNING")] * 2
    assert sorted(result["submitted"] for result in results) == [False, True]
    assert made(cluster) == ["op~x-1"]


# With containers


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Sandbox]:
    with sandbox(tmp_path / "sandbox", containers=True, settle_s=0.1, poll_s=0.1) as running:
        yield running


def private(tiny_image: str, registry: Registry, **changes: Any) -> dict[str, Any]:
    """Options for a job from the test's registry, which has a password."""
    auth = {"username": registry.username, "password": "<% $secrets.registry %>", "registryuri": registry.address}
    image = {"type": "dockerimage", "name": "image", "uri": tiny_image, "auth": auth, **changes.pop("image", {})}
    role = {**JOB["taskRoles"]["web"], **changes}
    return {
        "job": {**JOB, "prerequisites": [image], "taskRoles": {"web": role}},
        "secrets": {"registry": registry.password},
        "wait_timeout_s": 60,
    }


def test_a_container_that_serves_answers_at_the_url_and_is_stopped(real: Sandbox, tiny_image: str, registry: Registry):
    result = by_ansible(real, **private(tiny_image, registry, commands=["exec httpd -f -p $PAI_PORT_LIST_web_0_http"]))
    assert (result["failed"], result["state"]) == (False, "RUNNING"), result.get("msg")
    assert result["tasks"][0]["urls"]["http"].startswith("http://127.0.0.1:")
    assert registry.password not in str(result)
    stopped = job(real, job=None, state="stopped")
    assert (stopped["state"], stopped["exit_code"], stopped["exit_meaning"]) == ("STOPPED", -210, "stopped by a user")


def test_an_image_that_does_not_exist(real: Sandbox, tiny_image: str, registry: Registry):
    result = job(real, **private(tiny_image, registry, image={"uri": f"{registry.address}/test/none:1"}))
    assert re.search(
        r"ended as FAILED with exit code 254 \(the image does not exist, or its registry refuses the login\) instead of running.*; "
        r"correct the image's uri or the secret of its registry and submit it under a new name\.",
        result["msg"],
    )
    assert made(real) == ["op~x-1"]


def test_a_registry_that_refuses_the_login(real: Sandbox, tiny_image: str, registry: Registry):
    options = {**private(tiny_image, registry), "secrets": {"registry": "a wrong password"}}
    assert "exit code 254 (the image does not exist, or its registry refuses the login)" in job(real, **options)["msg"]


def test_a_container_that_exits_at_once(real: Sandbox, tiny_image: str, registry: Registry, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pai_wait, "SETTLE_S", 10.0)  # an engine that is busy takes its time to notice
    result = job(real, **private(tiny_image, registry, commands=["echo no such course", "exit 7"]))
    assert re.search(
        r"ended as FAILED with exit code \d+ \(a command of the job failed with exit code 7\) instead of running; "
        r"its last line was: .+; correct its commands and submit it under a new name\.",
        result["msg"],
    )
    assert "no such course" in result["log_tail"]
    assert (result["tasks"][0]["state"], result["tasks"][0]["log_tail"]) == ("FAILED", result["log_tail"])
    assert made(real) == ["op~x-1"]
    again = job(real, **private(tiny_image, registry, commands=["echo no such course", "exit 7"]))
    assert "ended as FAILED" in again["msg"]
    assert (again["changed"], made(real)) == (False, ["op~x-1"])
