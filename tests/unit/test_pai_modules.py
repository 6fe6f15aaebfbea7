"""pai_job and pai_job_info as Ansible runs them, against a PAI sandbox without containers."""

from __future__ import annotations

import copy
import importlib.util
import itertools
import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.golden_jobs import pai_detail, pai_wait, pulse
from ansible.module_utils.testing import patch_module_args

from tests.sandbox import PASSWORD, Sandbox, ensure_job, sandbox
from tests.support import ROOT

JOB: dict[str, Any] = {
    "protocolVersion": 2,
    "name": "anything",
    "type": "job",
    "prerequisites": [
        {
            "type": "dockerimage",
            "name": "image",
            "uri": "reg:5000/a:v1",
            "auth": {"username": "u", "password": "<% $secrets.p %>", "registryuri": "reg:5000"},
        }
    ],
    "taskRoles": {
        "web": {
            "instances": 1,
            "dockerImage": "image",
            "resourcePerInstance": {"cpu": 1, "memoryMB": 64, "gpu": 0, "ports": {"jupyter": 2}},
            "commands": ["serve"],
        }
    },
}
SECRETS = {"p": "geheim-1"}

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Sandbox]:
    with sandbox(tmp_path / "sandbox") as running:
        yield running


@pytest.fixture
def run(cluster: Sandbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Run a module's `main` and read what it prints; `geheim` never is in it."""
    monkeypatch.setattr(pai_wait, "SETTLE_S", 0.2)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def call(module: str, check: bool = False, **options: Any) -> dict[str, Any]:
        spec = importlib.util.spec_from_file_location(module, ROOT / "library" / f"{module}.py")
        assert spec is not None
        assert spec.loader is not None
        loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
        options = {"address": cluster.proxy_url, "username": "op", "password": PASSWORD, **options}
        if module == "pai_job":
            options = {"poll_interval_s": 0.05, "wait_timeout_s": 20, **options}
        cluster.proxy.log.clear()
        with patch_module_args({**options, "_ansible_check_mode": check}), pytest.raises(SystemExit):
            loaded.main()
        output = capsys.readouterr().out
        assert "geheim" not in output
        assert PASSWORD not in output
        result: dict[str, Any] = json.loads(output)
        return result

    yield call
    for number, handler in handlers.items():
        signal.signal(number, handler)


def other(**changes: Any) -> dict[str, Any]:
    """JOB with other fields in its task role."""
    job = copy.deepcopy(JOB)
    job["taskRoles"]["web"].update(changes)
    return job


def writes(cluster: Sandbox) -> list[str]:
    return [call for call in cluster.requests if not call.startswith("GET") and "/authn/" not in call]


def spoken(cluster: Sandbox, tmp_path: Path, **options: Any) -> list[str]:
    """What `pai_job` says while it works."""
    path = tmp_path / "progress"
    assert not ensure_job(cluster, progress=path, **options)["failed"]
    return [json.loads(line)["text"] for line in path.read_text().splitlines()]


# pai_job


def test_a_new_job_is_submitted_tagged_and_awaited(run: Run, cluster: Sandbox):
    result = run("pai_job", name="x-1", job=JOB, secrets=SECRETS, tags=["a"])
    assert (result["changed"], result["submitted"], result["state"], result["tags"]) == (True, True, "RUNNING", ["a"])
    (task,) = result["tasks"]
    assert (task["role"], task["index"], task["state"], task["ip"], task["exit_code"]) == ("web", 0, "RUNNING", "127.0.0.1", None)
    assert {label: len(numbers) for label, numbers in task["ports"].items()} == {"jupyter": 2, "http": 1, "ssh": 1}
    assert task["urls"]["jupyter"] == f"http://127.0.0.1:{task['ports']['jupyter'][0]}"
    stored = cluster.job("x-1")
    assert stored is not None
    assert json.loads(stored["spec"])["secrets"] == SECRETS
    assert "geheim" not in stored["config"]  # the server has masked them: they were sent in the form that it knows


def test_the_same_job_again_is_unchanged_whatever_its_secrets(run: Run, cluster: Sandbox):
    run("pai_job", name="x-1", job=JOB, secrets=SECRETS, tags=["a"])
    result = run("pai_job", name="x-1", job=JOB, secrets={"p": "geheim-2"}, tags=["a"])
    assert (result["changed"], result["submitted"]) == (False, False)
    assert writes(cluster) == []


def test_the_same_name_with_another_config_is_an_error_that_names_the_differences(run: Run, cluster: Sandbox):
    run("pai_job", name="x-1", job=JOB, secrets=SECRETS)
    changed = other(commands=["serve better"])
    changed["prerequisites"][0]["uri"] = "reg:5000/a:v2"
    result = run("pai_job", name="x-1", job=changed, secrets=SECRETS)
    assert result["failed"]
    assert "another config (it differs in prerequisites[0].uri, taskRoles.web.commands[0]); OpenPAI never frees a name" in result["msg"]
    assert result["differences"] == ["prerequisites[0].uri", "taskRoles.web.commands[0]"]
    assert "serve better" in result["diff"]["after"]
    assert writes(cluster) == []


def test_check_mode_sends_nothing_and_shows_the_job_with_secrets_masked(run: Run, cluster: Sandbox):
    result = run("pai_job", check=True, name="x-1", job=JOB, secrets=SECRETS, tags=["a"])
    assert (result["changed"], result["submitted"], result["diff"]["before"]) == (True, True, "")
    assert "secrets: '******'" in result["diff"]["after"]
    assert writes(cluster) == []
    assert cluster.job("x-1") is None


def test_a_bad_job_is_refused_before_the_cluster_is_asked_anything(run: Run, cluster: Sandbox):
    broken = other()
    del broken["taskRoles"]["web"]["instances"]
    result = run("pai_job", name="x-1", job=broken, secrets=SECRETS)
    assert "taskRoles.web: instances is missing" in result["msg"]
    assert cluster.requests == []


def test_a_job_file_is_named_with_its_line(run: Run, cluster: Sandbox, tmp_path: Path):
    (tmp_path / "job.yaml").write_text("protocolVersion: 2\nname: x\ntype: jop\ntaskRoles: {}\n")
    result = run("pai_job", name="x-1", job_file=str(tmp_path / "job.yaml"))
    assert any("job.yaml, line 3, type: " in problem for problem in result["problems"])
    assert any("job.yaml, line 4, taskRoles: this must not be empty" in problem for problem in result["problems"])
    assert cluster.requests == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tags": ["a"], "tags_absent": ["a"]}, "The tag 'a' stands in tags and in tags_absent"),
        ({"tags": ["a,b"]}, "a tag is a text without a comma"),
        ({"wait_timeout_s": 0}, "wait_timeout_s is 0; allowed are seconds above 0"),
        ({"image": "a:1"}, "The option image changes a job and there is none; give one of job, job_file, clone_from"),
        ({"job": JOB, "secrets": SECRETS, "resources": {"disk": 1}}, "The resources name disk; allowed are cpu, memoryMB, gpu, ports, or"),
        ({"job": JOB, "secrets": SECRETS, "resources": {"db": {"cpu": 1}}}, "The resources name db; allowed are"),
        ({"job": JOB, "secrets": SECRETS, "resources": {"cpu": -1}}, "resourcePerInstance.cpu: -1 cannot be given"),
        ({"job": JOB, "secrets": SECRETS, "deployment": "prod"}, "there is no deployment 'prod'; known: none"),
        ({"job": {"a": 1}}, "is missing; required here: protocolVersion"),
        ({"job": JOB, "job_file": "x"}, "mutually exclusive"),
    ],
)
def test_bad_options_are_one_sentence_before_anything_is_asked(run: Run, cluster: Sandbox, options: dict[str, Any], message: str):
    assert message in run("pai_job", name="x-1", **options)["msg"].replace("are missing", "is missing")
    assert cluster.requests == []


def test_parts_of_a_job_are_replaced(run: Run, cluster: Sandbox):
    job = other()
    job["deployments"] = [{"name": "prod", "taskRoles": {"web": {"preCommands": ["prepare"]}}}]
    job["extras"] = {"submitFrom": "a", "gangAllocation": True}
    run(
        "pai_job",
        name="x-1",
        job=job,
        secrets=SECRETS,
        image="reg:5000/a:v2",
        virtual_cluster="gpu",
        deployment="prod",
        resources={"web": {"memoryMB": 128, "ports": {"extra": 1}}},
        extras={"submitFrom": None, "storages": []},
        state="submitted",
    )
    config = run("pai_job_info", name=["x-1"], config=True)["jobs"][0]["config"]
    assert config["prerequisites"][0]["uri"] == "reg:5000/a:v2"
    assert config["defaults"] == {"virtualCluster": "gpu", "deployment": "prod"}
    assert config["taskRoles"]["web"]["resourcePerInstance"] == {"cpu": 1, "memoryMB": 128, "gpu": 0, "ports": {"jupyter": 2, "extra": 1}}
    assert config["extras"] == {"gangAllocation": True, "storages": []}
    assert config["secrets"] == "******"


def test_resources_may_be_given_for_every_task_role(run: Run):
    job = other()
    job["taskRoles"]["db"] = copy.deepcopy(job["taskRoles"]["web"])
    run("pai_job", name="x-1", job=job, secrets=SECRETS, resources={"cpu": 2}, state="submitted")
    roles = run("pai_job_info", name=["x-1"], config=True)["jobs"][0]["config"]["taskRoles"]
    assert [role["resourcePerInstance"]["cpu"] for role in roles.values()] == [2, 2]


def test_a_clone_is_a_job_of_its_own_with_the_secrets_that_are_given(run: Run, cluster: Sandbox):
    job = other()
    job["extras"] = {"submitFrom": "portal", "gangAllocation": False}
    run("pai_job", name="gold-1", job=job, secrets=SECRETS)
    result = run("pai_job", name="copy-1", clone_from="gold-1", secrets={"p": "geheim-3"}, resources={"memoryMB": 256})
    assert (result["submitted"], result["state"]) == (True, "RUNNING")
    stored = cluster.job("copy-1")
    assert stored is not None
    assert json.loads(stored["spec"])["secrets"] == {"p": "geheim-3"}
    config = run("pai_job_info", name=["copy-1"], config=True)["jobs"][0]["config"]
    assert (config["name"], config["extras"]) == ("copy-1", {"gangAllocation": False})
    assert config["taskRoles"]["web"]["resourcePerInstance"]["memoryMB"] == 256
    again = run("pai_job", name="copy-1", clone_from="op~gold-1", secrets={"p": "geheim-3"}, resources={"memoryMB": 256})
    assert (again["changed"], writes(cluster)) == (False, [])


def test_a_clone_without_its_secrets_or_its_source_is_refused_with_what_to_give(run: Run, cluster: Sandbox):
    run("pai_job", name="gold-1", job=JOB, secrets=SECRETS)
    result = run("pai_job", name="copy-1", clone_from="gold-1")
    assert "clone of job 'gold-1' of op on " in result["msg"]
    assert "prerequisites[0].auth.password: there is no secret 'p'; known: none" in result["msg"]
    assert "There is no job 'nothing' of bob on " in run("pai_job", name="copy-1", clone_from="bob~nothing")["msg"]
    assert writes(cluster) == []


def test_somebody_elses_job_can_be_cloned(run: Run):
    run("pai_job", username="bob", name="gold-1", job=JOB, secrets=SECRETS)
    assert run("pai_job", name="copy-1", clone_from="bob~gold-1", secrets=SECRETS)["user"] == "op"


def test_a_virtual_cluster_that_is_not_granted_stops_before_the_submit(run: Run, cluster: Sandbox):
    result = run("pai_job", name="x-1", job=JOB, virtual_cluster="prod", secrets=SECRETS)
    assert "'prod' does not exist" in result["msg"]
    assert "granted: default, gpu" in result["msg"]
    assert writes(cluster) == []


def test_a_job_that_fails_is_reported_with_code_meaning_log_and_what_to_do(run: Run, cluster: Sandbox):
    cluster.rules({"run_s": 0, "exit_code": 3, "log": "loading\nno such course\n"})
    result = run("pai_job", name="x-1", job=JOB, secrets=SECRETS)
    assert result["failed"]
    assert "ended as FAILED with exit code 255 (a command of the job failed with exit code 3)" in result["msg"]
    assert "instead of running; its last line was: no such course; correct its commands and submit it under a new name." in result["msg"]
    assert (result["exit_code"], result["state"], result["changed"]) == (255, "FAILED", True)
    assert result["log_tail"][-2:] == ["loading", "no such course"]
    assert (result["tasks"][0]["exit_code"], result["tasks"][0]["log_tail"]) == (255, result["log_tail"])
    assert result["tasks"][0]["exit_meaning"]


def test_succeeded_waits_for_the_end(run: Run, cluster: Sandbox):
    cluster.rules({"run_s": 0.2})
    result = run("pai_job", name="x-1", state="succeeded", job=JOB, secrets=SECRETS)
    assert (result["state"], result["exit_code"]) == ("SUCCEEDED", 0)


def test_a_job_that_should_run_and_has_ended_well_is_an_error(run: Run, cluster: Sandbox):
    cluster.rules({"run_s": 0})
    assert (
        "ended as SUCCEEDED with exit code 0 (Succeeded) instead of running" in run("pai_job", name="x-1", job=JOB, secrets=SECRETS)["msg"]
    )


def test_stopping_waits_for_the_end_and_a_second_time_changes_nothing(run: Run, cluster: Sandbox):
    run("pai_job", name="x-1", job=JOB, secrets=SECRETS, tags=["a"])
    result = run("pai_job", name="x-1", state="stopped", tags_absent=["a"])
    assert (result["changed"], result["state"], result["tags"]) == (True, "STOPPED", [])
    assert writes(cluster) == ["DELETE /api/v2/jobs/op~x-1/tag", "PUT /api/v2/jobs/op~x-1/executionType"]
    result = run("pai_job", name="x-1", state="stopped", tags_absent=["a"])
    assert result["changed"] is False
    assert writes(cluster) == []


def test_a_job_that_has_ended_is_never_asked_to_stop(run: Run, cluster: Sandbox):
    cluster.rules({"run_s": 0})
    run("pai_job", name="x-1", state="succeeded", job=JOB, secrets=SECRETS)
    assert run("pai_job", name="x-1", state="stopped")["state"] == "SUCCEEDED"
    assert writes(cluster) == []


def test_stopping_in_check_mode_only_tells(run: Run, cluster: Sandbox):
    run("pai_job", name="x-1", job=JOB, secrets=SECRETS)
    assert run("pai_job", check=True, name="x-1", state="stopped")["changed"] is True
    assert writes(cluster) == []


def test_a_job_that_does_not_exist_counts_as_stopped_and_cannot_run(run: Run):
    assert run("pai_job", name="none", state="stopped")["changed"] is False
    assert "There is no job 'none'" in run("pai_job", name="none")["msg"]


def test_a_login_is_needed(run: Run):
    assert "give a token, or a user name and a password" in run("pai_job_info", password=None)["msg"]


def test_a_module_logs_in_once_and_gives_its_token_back(run: Run, cluster: Sandbox):
    run("pai_job", name="x-1", job=JOB, secrets=SECRETS)
    assert [call for call in cluster.requests if "/authn/" in call] == [
        "POST /api/v2/authn/basic/login",
        "DELETE /api/v2/authn/basic/logout",
    ]
    assert cluster.server.tokens.of("op") == []


# Progress


def test_states_are_shown_as_they_change(cluster: Sandbox, tmp_path: Path):
    cluster.rules({"wait_s": 1.0, "run_s": 1.5})  # long enough to be seen on a loaded machine
    lines = spoken(cluster, tmp_path, name="x-1", state="succeeded", job=JOB, secrets=SECRETS)
    assert lines[0] == "x-1: submitted"
    states = [line.split()[1].rstrip(",") for line in lines[1:]]
    # A state that lasts is said again.
    assert [state for state, _lines in itertools.groupby(states)] == ["WAITING", "RUNNING", "SUCCEEDED"]


def test_states_of_tasks_are_shown_where_they_differ():
    statuses = [{"taskState": state, "taskIndex": index} for index, state in enumerate(["RUNNING", "WAITING", "WAITING"])]
    job = {"jobStatus": {"state": "RUNNING", "retries": 1}, "taskRoles": {"web": {"taskStatuses": statuses}}}
    assert pai_detail.words(job) == "RUNNING (attempt 2; 3 tasks: 1 RUNNING, 2 WAITING)"


def recorded(name: str) -> dict[str, Any]:
    """A job's detail as the real server gave it."""
    lines = (ROOT / "tests" / "transcripts" / "exchanges.jsonl").read_text().splitlines()
    (found,) = [exchange for exchange in map(json.loads, lines) if exchange["name"] == name]
    body: dict[str, Any] = found["response"]["body"]
    return body


@pytest.mark.parametrize(
    ("name", "words", "tasks"),
    [
        ("job-get-right-after-submit", "WAITING", []),
        ("job-attempt-0", "RUNNING", [("taskrole", "http://10.0.0.11:19214", None)]),
        ("job-get-right-after-stop", "RUNNING (asked to stop)", [("taskrole", "http://10.0.0.11:19214", None)]),
        ("job-stopped", "STOPPED (exit code -210: stopped by a user)", [("taskrole", "http://10.0.0.11:19214", -220)]),
        ("job-waiting-stop-requested", "WAITING (asked to stop)", [("taskrole", None, None)]),
        ("job-succeeded", "SUCCEEDED", [("taskrole", "http://10.0.0.11:33009", 0)]),
        (
            "job-failed-137-no-runtime-message",
            "FAILED (exit code 137: killed by SIGKILL, often out of memory)",
            [("taskrole", "http://10.0.0.11:29929", 137)],
        ),
    ],
)
def test_jobs_of_the_real_server_are_read(name: str, words: str, tasks: list[Any]):
    job = recorded(name)
    assert pai_detail.words(job) == words
    assert [(task["role"], task["urls"].get("http"), task["exit_code"]) for task in pai_detail.tasks_of(job)] == tasks


def test_a_silent_wait_says_something_before_ten_seconds_are_over(cluster: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert pulse.EVERY_S < 10
    monkeypatch.setattr(pulse.Pulse.__init__, "__defaults__", (0.2,))
    cluster.rules({"wait_s": 0})
    cluster.faults({"do": "latency", "seconds": 1.5, "path": "/api/v2/jobs/op~x-1", "skip": 1})  # a look that hangs
    lines = spoken(cluster, tmp_path, name="x-1", job=JOB, secrets=SECRETS)
    assert len([line for line in lines if line.startswith("x-1: submitted, ")]) >= 3
    assert lines[-1].startswith("x-1: RUNNING, ")


def test_nothing_is_said_when_nothing_has_to_be_done(cluster: Sandbox, tmp_path: Path):
    spoken(cluster, tmp_path, name="x-1", job=JOB, secrets=SECRETS)
    (tmp_path / "progress").unlink()
    assert spoken(cluster, tmp_path, name="x-1", job=JOB, secrets=SECRETS) == []


# pai_job_info


def test_info_describes_the_cluster_on_request(run: Run, cluster: Sandbox):
    assert run("pai_job_info")["cluster"] == {"address": cluster.proxy_url, "user": "op"}
    assert run("pai_job_info", describe_cluster=True)["cluster"] == {
        "address": cluster.proxy_url,
        "user": "op",
        "version": "v1.8.1",
        "authn": "basic",
        "admin": False,
        "virtual_clusters": ["default", "gpu"],
    }


def test_info_filters_on_the_server(run: Run, cluster: Sandbox):
    cluster.rules({"job": "done.*", "run_s": 0})
    run("pai_job", name="golden-a", job=JOB, secrets=SECRETS, tags=["one"])
    run("pai_job", name="golden-b", job=JOB, secrets=SECRETS, tags=["two", "bad"], virtual_cluster="gpu")
    run("pai_job", name="done-1", job=JOB, secrets=SECRETS, state="succeeded")
    run("pai_job", username="bob", name="golden-c", job=JOB, secrets=SECRETS)

    def names(**filters: Any) -> list[str]:
        return [f"{job['username']}~{job['name']}" for job in run("pai_job_info", **filters)["jobs"]]

    assert names() == ["op~done-1", "op~golden-b", "op~golden-a"]
    assert names(user="*", keyword="golden-") == ["bob~golden-c", "op~golden-b", "op~golden-a"]
    assert names(user="bob") == ["bob~golden-c"]
    assert names(states=["running"], virtual_cluster="gpu") == ["op~golden-b"]
    assert names(states=["SUCCEEDED"]) == ["op~done-1"]
    assert names(tags=["one", "two"]) == ["op~golden-b", "op~golden-a"]
    assert names(tags=["one", "two"], tags_absent=["bad"]) == ["op~golden-a"]
    assert names(name=["golden-a", "bob~golden-c", "none"]) == ["op~golden-a", "bob~golden-c"]


def test_info_pages(run: Run):
    for number in range(5):
        run("pai_job", name=f"x-{number}", job=JOB, secrets=SECRETS, state="submitted")
    page = run("pai_job_info", limit=2, offset=1)
    assert ([job["name"] for job in page["jobs"]], page["total_count"]) == (["x-3", "x-2"], 5)
    assert run("pai_job_info", limit=0)["msg"] == "The option limit is 0; allowed are whole numbers from 1 on."
    assert "no state of a job; allowed: WAITING, RUNNING" in run("pai_job_info", states=["RUN"])["msg"]


def test_info_has_tasks_and_config_on_request_and_passwords_are_masked(run: Run, cluster: Sandbox):
    run("pai_job", name="x-1", job=JOB, secrets=SECRETS)
    (job,) = run("pai_job_info", detail=True, config=True)["jobs"]
    assert job["tasks"][0]["urls"]["http"].startswith("http://127.0.0.1:")
    assert job["config"]["secrets"] == "******"
    assert job["config"]["prerequisites"][0]["auth"]["password"] == "<% $secrets.p %>"


def test_info_by_name_has_the_shape_of_a_listing(run: Run):
    run("pai_job", name="x-1", job=JOB, secrets=SECRETS)
    (listed,) = run("pai_job_info")["jobs"]
    (named,) = run("pai_job_info", name=["x-1"])["jobs"]
    for key in ("name", "username", "state", "executionType", "tags", "submissionTime", "virtualCluster", "appExitCode"):
        assert named[key] == listed[key], key


def test_info_fails_when_the_virtual_cluster_is_not_granted(run: Run):
    assert "'prod' does not exist" in run("pai_job_info", require_virtual_cluster="prod")["msg"]


def test_the_golden_job_of_a_course_is_found_with_its_address(run: Run):
    for number, (course, tags) in enumerate([("OOB3", ["golden-current"]), ("OOB3", []), ("OOB33", ["golden-current"])]):
        run("pai_job", name=f"golden-{course}-0123abc{number}-1", job=JOB, secrets=SECRETS, tags=tags)
    result = run("pai_job_info", course="OOB3")
    found = result["golden_job"]
    assert (found["name"], found["revision"], found["user"], found["ip"]) == ("golden-OOB3-0123abc0-1", "0123abc0", "op", "127.0.0.1")
    assert found["url"] == f"http://{found['ip']}:{found['port']}"
    assert found["port"] == found["ports"]["http"][0]
    assert [job["name"] for job in result["jobs"]] == [found["name"]]
    assert run("pai_job_info", course="OOB1")["golden_job"] is None
    assert "The course name 'a b' cannot be part of a job name" in run("pai_job_info", course="a b")["msg"]
