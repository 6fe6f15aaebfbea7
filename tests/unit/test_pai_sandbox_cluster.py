"""The cluster behind the PAI sandbox's API, without containers: rules, capacity, retries, refused jobs, logs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import ROOT, wait_for

sys.path.insert(0, str(ROOT / "roles" / "pai_sandbox" / "files"))

from pai_sandbox.nodes import Capacity
from pai_sandbox.protocol import Role
from pai_sandbox.settings import Node, Storage

from tests.unit.test_pai_sandbox_api import Api, code_of, job, open_api

__all__ = ["open_api"]

Open = Callable[..., AbstractContextManager[Api]]


def rules(tmp_path: Path, *entries: dict[str, Any]) -> Path:
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"rules": list(entries)}))
    return path


def changed(name: str, **changes: Any) -> str:
    """The test's job with other values for its task role, and other top-level keys."""
    document = yaml.safe_load(job(name))
    role = document["taskRoles"]["main"]
    for key, value in changes.items():
        (role if key in ("instances", "completion", "taskRetryCount", "resourcePerInstance") else document)[key] = value
    return yaml.safe_dump(document)


def task(found: dict[str, Any], index: int = 0) -> dict[str, Any]:
    shown: dict[str, Any] = found["taskRoles"]["main"]["taskStatuses"][index]
    return shown


# Rules


@pytest.mark.parametrize(
    ("rule", "state", "code"),
    [
        ({"run_s": 0}, "SUCCEEDED", 0),
        ({"run_s": 0, "exit_code": 3}, "FAILED", 255),
        ({"run_s": 0, "exit_code": 254}, "FAILED", 254),
        ({"run_s": 0, "exit_code": 77, "killed": True}, "FAILED", 77),
    ],
)
def test_a_rule_says_how_a_job_ends(open_api: Open, tmp_path: Path, rule: dict[str, Any], state: str, code: int) -> None:
    with open_api(rules_file=rules(tmp_path, {"job": "other"}, {"job": "j.*", **rule})) as api:
        api.submit(job("job"))
        api.submit(job("xjob"))
        found = api.wait("alice~job", state)
        assert found["jobStatus"]["appExitCode"] == task(found)["containerExitCode"] == code
        api.wait("alice~xjob", "RUNNING")


def test_a_job_may_wait_for_ever_until_it_is_stopped(open_api: Open, tmp_path: Path) -> None:
    path = rules(tmp_path, {"job": "never", "wait_s": None})
    with open_api(rules_file=path) as api:
        api.submit(job("never"))
        api.submit(job("other"))
        api.wait("alice~other", "RUNNING")
        assert api.detail("alice~never")["jobStatus"]["subState"] == "AttemptPreparing"
        api.call("PUT", "/jobs/alice~never/executionType", json={"value": "STOP"})
        assert api.wait("alice~never", "STOPPED")["jobStatus"]["appExitCode"] == -210


def test_rules_are_read_again_when_they_change(open_api: Open, tmp_path: Path) -> None:
    path = rules(tmp_path)
    with open_api(rules_file=path) as api:
        api.submit(job("first"))
        api.wait("alice~first", "RUNNING")
        rules(tmp_path, {"run_s": 0})
        api.submit(job("second"))
        api.wait("alice~second", "SUCCEEDED")


# Capacity


def role(cpu: int = 1, memory_mb: int = 1, gpu: int = 0) -> Role:
    return Role("r", "r", 1, "i", None, "", cpu, memory_mb, gpu, 512, {}, 1, 1)


def test_a_task_goes_to_the_first_node_with_room_for_all_it_wants() -> None:
    capacity = Capacity((Node("a", 4, 100), Node("b", 4, 400, 2)), [("b", role(cpu=1))])
    assert capacity.place(role(gpu=1)) == "b"
    assert [capacity.place(role(cpu=2)) for _ in range(4)] == ["a", "a", "b", None]
    assert capacity.place(role(cpu=0, memory_mb=101)) == "b"
    assert capacity.problem(role(cpu=1, gpu=3)) == "0/2 nodes are available: 2 Insufficient cpu, 2 Insufficient nvidia.com/gpu."


@pytest.mark.parametrize(
    ("options", "word"),
    [({"cpus": 1}, "cpu"), ({"memory_mb": 64}, "memory"), ({"gpus": 1}, "nvidia.com/gpu")],
)
def test_what_does_not_fit_waits_says_why_and_runs_when_there_is_room(open_api: Open, options: dict[str, int], word: str) -> None:
    with open_api(**options) as api:
        for name in ("first", "second"):
            api.submit(job(name, gpu=options.get("gpus", 0)))
        api.wait("alice~first", "RUNNING")
        wait_for(lambda: api.call("GET", "/jobs/alice~second/events").json()["totalCount"] == 1)
        (event,) = api.call("GET", "/jobs/alice~second/events?type=Warning").json()["data"]
        assert (event["reason"], event["message"]) == ("FailedScheduling", f"0/1 nodes are available: 1 Insufficient {word}.")
        waiting = api.detail("alice~second")
        assert (waiting["jobStatus"]["state"], task(waiting)["containerNodeName"]) == ("WAITING", None)
        api.call("PUT", "/jobs/alice~first/executionType", json={"value": "STOP"})
        api.wait("alice~second", "RUNNING")


def test_tasks_of_a_job_start_together_unless_it_asks_for_less(open_api: Open) -> None:
    with open_api(cpus=2) as api:
        api.submit(changed("gang", instances=3))
        api.submit(changed("loose", instances=3, extras={"gangAllocation": False}))
        found = api.wait("alice~loose", "RUNNING")
        wait_for(lambda: [task(api.detail("alice~loose"), index)["taskState"] for index in range(3)] == ["RUNNING", "RUNNING", "WAITING"])
        assert found["jobStatus"]["attemptId"] == 0
        assert api.detail("alice~gang")["jobStatus"]["state"] == "WAITING"


def test_virtual_clusters_and_nodes_show_what_is_used(open_api: Open) -> None:
    nodes = (Node("worker-1", 4, 1000, 1), Node("worker-2", 4, 1000, 3))
    with open_api(nodes=nodes) as api:
        api.submit(job("some", gpu=2))
        assert task(api.wait("alice~some", "RUNNING"))["containerNodeName"] == "worker-2"
        cluster = api.call("GET", "/virtual-clusters/default").json()
        assert cluster["resourcesTotal"] == {"cpu": 8, "memory": 2000, "gpu": 4, "vCores": 8, "GPUs": 4}
        assert cluster["resourcesUsed"] == {"cpu": 1, "memory": 64, "gpu": 2, "vCores": 1, "GPUs": 2}
        assert cluster["usedCapacity"] == 50
        shown = api.call("GET", "/virtual-clusters?nodes").json()
        assert shown["worker-2"] == {"gpuUsed": 2, "gpuAvailable": 1, "gpuTotal": 3}


def test_a_job_may_name_the_storages_that_there_are(open_api: Open) -> None:
    storages = (Storage("data", "nas", "/data", default=True), Storage("scratch", read_only=True))
    with open_api(storages=storages) as api:
        assert api.submit(job("one", extras="{storages: [{name: data}, {mountPath: /x}]}")).status_code == 202
        assert code_of(api.submit(job("two", extras="{storages: [{name: other}]}"))) == (404, "NoStorageError")
        plugin = "{com.microsoft.pai.runtimeplugin: [{plugin: teamwise_storage, parameters: {storageConfigNames: [other]}}]}"
        assert code_of(api.submit(job("three", extras=plugin))) == (404, "NoStorageError")
        assert [one["name"] for one in api.call("GET", "/storages").json()["storages"]] == ["data", "scratch"]
        assert [one["name"] for one in api.call("GET", "/storages?default=true").json()["storages"]] == ["data"]
        found = api.call("GET", "/storages/data").json()
        assert (found["type"], found["data"], found["readOnly"]) == ("nfs", {"server": "nas", "path": "/data"}, False)


# Retries


def test_a_failed_task_is_tried_again_alone_where_the_job_asks_for_that(open_api: Open, tmp_path: Path) -> None:
    path = rules(tmp_path, {"run_s": 0, "exit_code": 3})
    with open_api(rules_file=path) as api:
        api.submit(changed("again", taskRetryCount=2, extras={"gangAllocation": False}))
        api.submit(changed("gang", taskRetryCount=2))
        found = api.wait("alice~again", "FAILED")
        shown = task(found)
        assert (shown["attemptId"], shown["retries"], shown["accountableRetries"]) == (2, 2, 2)
        assert found["jobStatus"]["retries"] == 0
        history = api.call("GET", "/jobs/alice~again/attempts/0/taskRoles/main/taskIndex/0/attempts").json()["attempts"]
        assert [one["attemptId"] for one in history] == [2, 1, 0]
        assert len({one["containerId"] for one in history}) == 3
        assert {one["attemptState"] for one in history} == {"FAILED"}
        assert history[2]["containerLog"].endswith("/taskIndex/0/attempts/0/logs")
        assert set(history[0]) == set(history[2])
        assert task(api.wait("alice~gang", "FAILED"))["retries"] == 0


def test_old_attempts_are_shown_in_the_old_form(open_api: Open, tmp_path: Path) -> None:
    path = rules(tmp_path, {"run_s": 0, "exit_code": 3})
    with open_api(rules_file=path, longest_retry_wait_s=0.01) as api:
        api.submit(changed("again", jobRetryCount=1))
        api.wait("alice~again", "FAILED")
        shown = api.call("GET", "/jobs/alice~again/job-attempts").json()
        assert [(one["attemptIndex"], one["isLatest"]) for one in shown] == [(1, True), (0, False)]
        assert shown[0]["exitCode"] == shown[0]["appExitSpec"]["code"] == 255
        assert api.call("GET", "/jobs/alice~again/job-attempts/0").json()["attemptIndex"] == 0
        assert code_of(api.call("GET", "/jobs/alice~again/job-attempts/2")) == (404, "NoJobError")
        assert api.call("GET", "/jobs/alice~again/job-attempts/healthz").text == "ok"


# Jobs that Kubernetes refuses


def test_a_job_that_kubernetes_refuses_waits_and_then_fails_with_its_reason(open_api: Open) -> None:
    document = yaml.safe_load(job("twice"))
    document["taskRoles"] = {"main_1": document["taskRoles"]["main"], "Main1": document["taskRoles"]["main"]}
    with open_api(refuse_after_s=1.0) as api:
        assert api.submit(json.dumps(document)).status_code == 202
        waiting = api.detail("alice~twice")
        assert (waiting["jobStatus"]["state"], waiting["jobStatus"]["createdTime"]) == ("WAITING", None)
        found = api.wait("alice~twice", "FAILED")
        assert (found["jobStatus"]["appExitCode"], found["taskRoles"]) == (-1100, {})
        (event,) = api.call("GET", "/jobs/alice~twice/events").json()["data"]
        assert (event["type"], event["reason"]) == ("Warning", "CreateFrameworkPermanentFailed")
        assert "main1" in event["message"]


@pytest.mark.parametrize(("instances", "status"), [(2**31, 500), (5000, 202)])
def test_a_job_that_is_too_large_is_refused_sooner_or_later(open_api: Open, instances: int, status: int) -> None:
    with open_api(refuse_after_s=0) as api:
        assert api.submit(changed("large", instances=instances)).status_code == status
        if status == 202:
            assert api.wait("alice~large", "FAILED")["jobStatus"]["appExitCode"] == -1100


# Logs


def test_logs_are_behind_links_that_need_no_login_and_end(open_api: Open, tmp_path: Path) -> None:
    path = rules(tmp_path, {"job": "talks", "run_s": 0, "log": "x" * 20000 + " the end"}, {"job": "waits", "wait_s": None})
    with open_api(rules_file=path) as api:
        api.submit(job("talks"))
        api.submit(job("waits"))
        route = task(api.wait("alice~talks", "SUCCEEDED"))["containerLog"].removeprefix("/api/v2")
        locations = api.call("GET", route).json()["locations"]
        assert [one["name"] for one in locations] == ["all", "stdout", "stderr"]
        answer = api.client.get(locations[1]["uri"])
        assert (answer.status_code, answer.headers["content-type"][:10], len(answer.text)) == (200, "text/plain", 20008)
        tail = api.client.get(api.call("GET", f"{route}?tail-mode=true").json()["locations"][0]["uri"])
        assert (tail.status_code, len(tail.content), tail.text[-7:]) == (206, 16384, "the end")
        # What the description and other clients call it is not what the server reads.
        assert "tail-mode" not in api.call("GET", f"{route}?tailMode=true").json()["locations"][0]["uri"]
        assert api.client.get(locations[1]["uri"].replace("token=", "token=x")).status_code == 403
        assert api.client.get(locations[1]["uri"].replace("user-stdout", "user-nosuch")).status_code == 404
        wait_for(lambda: api.detail("alice~waits")["taskRoles"])
        waits = task(api.detail("alice~waits"))["containerLog"].removeprefix("/api/v2")
        assert code_of(api.call("GET", waits)) == (404, "NoTaskLogError")
        assert code_of(api.call("GET", route.replace("attempts/0/logs", "attempts/7/logs"))) == (404, "NoTaskLogError")
        assert code_of(api.call("GET", route.replace("talks", "nosuch"))) == (500, "UnknownError")
