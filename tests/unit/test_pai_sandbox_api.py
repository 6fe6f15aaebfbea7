"""The PAI sandbox's API, without containers."""

from __future__ import annotations

import base64
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx import Response

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "roles" / "pai_sandbox" / "files"))

from pai_sandbox.app import create_app
from pai_sandbox.settings import Settings

USERS = {
    "users": [
        {"username": "admin", "password": "admin-password", "admin": True},
        {"username": "alice", "password": "alice-password", "virtualClusters": ["default"]},
        {"username": "bob", "password": "bob-password", "virtualClusters": ["default", "lab"]},
    ]
}
JOB = """protocolVersion: 2
name: {name}
type: job
prerequisites:
  - {{type: dockerimage, name: img, uri: img}}
taskRoles:
  main:
    instances: {instances}
    dockerImage: img
    resourcePerInstance: {{cpu: 1, memoryMB: 64, gpu: {gpu}, ports: {{jupyter: 1}}}}
    commands: [sleep 1]
defaults: {{virtualCluster: {vc}}}
extras: {extras}
secrets:
  pw: hunter2
"""


def job(name: str, instances: int = 1, gpu: int = 0, vc: str = "default", extras: str = "{}") -> str:
    return JOB.format(name=name, instances=instances, gpu=gpu, vc=vc, extras=extras)


class Api:
    """A client of a sandbox with a token for each user."""

    def __init__(self, client: TestClient) -> None:
        self.client = client
        self._tokens: dict[str, str] = {}

    def login(self, user: str) -> str:
        answer = self.client.post("/api/v2/tokens", json={"username": user, "password": f"{user}-password"})
        return str(answer.json()["token"])

    def call(self, method: str, path: str, user: str = "alice", **options: Any) -> Response:
        if user not in self._tokens:
            self._tokens[user] = self.login(user)
        headers = {"authorization": f"Bearer {self._tokens[user]}", **options.pop("headers", {})}
        return self.client.request(method, f"/api/v2{path}", headers=headers, **options)

    def submit(self, text: str, user: str = "alice") -> Response:
        return self.call("POST", "/jobs", user, content=text, headers={"content-type": "text/yaml"})

    def detail(self, frame: str) -> dict[str, Any]:
        found: dict[str, Any] = self.call("GET", f"/jobs/{frame}").json()
        return found

    def wait(self, frame: str, state: str) -> dict[str, Any]:
        deadline = time.monotonic() + 10
        while (found := self.detail(frame))["jobStatus"]["state"] != state:
            assert time.monotonic() < deadline, found["jobStatus"]
            time.sleep(0.005)
        return found


Open = Callable[..., AbstractContextManager[Api]]


@pytest.fixture
def open_api(tmp_path: Path) -> Open:
    users_file = tmp_path / "users.json"
    users_file.write_text(json.dumps(USERS))

    @contextmanager
    def opened(**changes: Any) -> Iterator[Api]:
        options: dict[str, Any] = {"containers": False, "settle_s": 0.02, "poll_s": 0.01, "lists_per_minute": 0, "requests_per_minute": 0}
        settings = Settings(name="pai-t", state_dir=tmp_path / "state", users_file=users_file, **{**options, **changes})
        with TestClient(create_app(settings)) as client:
            yield Api(client)

    return opened


@pytest.fixture
def api(open_api: Open) -> Iterator[Api]:
    with open_api() as found:
        yield found


def code_of(answer: Response) -> tuple[int, str | None]:
    return answer.status_code, answer.json().get("code")


def names_of(answer: Response) -> list[str]:
    return [item["name"] for item in answer.json()]


# Paths


def test_every_path_is_there_with_the_proxys_prefix_and_in_any_case(api: Api) -> None:
    for path in ("/api/v2/info", "/rest-server/api/v2/info", "/API/v2/Info/", "/rest-server/api/v1"):
        assert api.client.get(path).json()["version"] == "v1.8.1"
    assert code_of(api.call("GET", "/Jobs/Alice~X/CONFIG")) == (404, "NoJobError")
    assert "Alice~X" in api.call("GET", "/Jobs/Alice~X/CONFIG").json()["message"]
    assert api.client.get("/api/v2").text == "PAI RESTful API v2 (beta version)"


def test_unknown_paths_and_methods_are_a_404_that_names_the_url(api: Api) -> None:
    answer = api.client.get("/rest-server/api/v2/nosuch?x=1")
    assert code_of(answer) == (404, "NoApiError")
    assert answer.json()["message"] == "API /api/v2/nosuch?x=1 is not found."
    assert code_of(api.client.patch("/api/v2/jobs")) == (404, "NoApiError")


def test_a_broken_body_is_refused_on_any_path(api: Api) -> None:
    answer = api.client.post("/api/v2/nosuch", content="{", headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()) == (400, {"message": "Unexpected end of JSON input"})


# Logins and tokens


@pytest.mark.parametrize("path", ["/api/v1/authn/basic/login", "/api/v2/authn/basic/login", "/api/v1/token", "/api/v2/tokens"])
def test_login_takes_forms_and_json(api: Api, path: str) -> None:
    fields = {"username": "admin", "password": "admin-password"}
    for answer in (api.client.post(path, data=fields), api.client.post(path, json={**fields, "expiration": 60})):
        assert answer.status_code == 200
        assert answer.json() | {"token": ""} == {"user": "admin", "token": "", "admin": True}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"username": "admin", "password": "wrong-password"}, "IncorrectPasswordError"),
        ({"username": "nobody", "password": "some-password"}, "NoUserError"),
        ({"username": "admin", "password": "short"}, "InvalidParametersError"),
        ({"username": "a b", "password": "some-password"}, "InvalidParametersError"),
        ({"username": "admin"}, "InvalidParametersError"),
        ({"username": "admin", "password": "admin-password", "foo": 1}, "InvalidParametersError"),
        ({"username": "admin", "password": "admin-password", "expiration": 59}, "InvalidParametersError"),
    ],
)
def test_failed_logins_are_a_400(api: Api, body: dict[str, Any], code: str) -> None:
    assert code_of(api.client.post("/api/v2/tokens", json=body)) == (400, code)


def test_tokens_check_tells_who_asks(api: Api) -> None:
    found = api.call("GET", "/tokens/check").json()
    assert (found["username"], found["admin"], found["application"]) == ("alice", False, False)
    assert found["exp"] - found["iat"] == 7 * 24 * 3600


@pytest.mark.parametrize("header", ["Bearer garbage", "Token abc", "Basic YTpi", "Bearer"])
def test_bad_tokens_are_a_401(api: Api, header: str) -> None:
    answer = api.client.get("/api/v2/jobs", headers={"authorization": header})
    assert code_of(answer) == (401, "UnauthorizedUserError")
    assert answer.json()["message"] == "Your token is invalid."


def test_no_token_is_a_401_for_guests(api: Api) -> None:
    answer = api.client.get("/api/v2/jobs")
    assert answer.json()["message"] == "Guest is not allowed to do this operation."


def test_a_token_is_over_after_logout(api: Api) -> None:
    assert api.call("DELETE", "/authn/basic/logout").status_code == 200
    assert code_of(api.call("GET", "/tokens/check")) == (401, "UnauthorizedUserError")


def test_application_tokens_do_jobs_but_no_tokens(api: Api) -> None:
    token = api.call("POST", "/tokens/application").json()["token"]
    basic = base64.b64encode(f"alice:{token}".encode()).decode()
    for header in (f"Bearer {token}", f"Basic {basic}"):
        assert api.client.get("/api/v2/jobs", headers={"authorization": header}).status_code == 200
        answer = api.client.get("/api/v2/tokens", headers={"authorization": header})
        assert code_of(answer) == (403, "ForbiddenUserError")
    assert "exp" not in api.client.get("/api/v2/tokens/check", headers={"authorization": f"Bearer {token}"}).json()
    assert code_of(api.call("DELETE", f"/tokens/{token}", "bob")) == (403, "ForbiddenUserError")
    assert api.call("DELETE", f"/tokens/{token}").status_code == 200
    assert api.client.get("/api/v2/jobs", headers={"authorization": f"Bearer {token}"}).status_code == 401
    assert code_of(api.call("DELETE", "/tokens/garbage")) == (500, "UnknownError")


# Users and virtual clusters


def test_users_are_shown_without_passwords(api: Api) -> None:
    answer = api.call("GET", "/users/bob")
    assert answer.json()["virtualCluster"] == ["default", "lab"]
    assert "bob-password" not in api.call("GET", "/users").text
    assert code_of(api.call("GET", "/users/nobody")) == (400, "NoUserError")


def test_an_admin_makes_users_and_nobody_else(api: Api) -> None:
    carol = {"username": "carol", "password": "carol-password"}
    assert code_of(api.call("POST", "/users", json=carol)) == (403, "ForbiddenUserError")
    assert api.call("POST", "/users", "admin", json=carol).status_code == 201
    assert code_of(api.call("POST", "/users", "admin", json=carol)) == (409, "ConflictUserError")
    assert api.call("GET", "/tokens/check", "carol").json()["username"] == "carol"


def test_virtual_clusters(api: Api) -> None:
    assert set(api.call("GET", "/virtual-clusters").json()) == {"default", "lab"}
    assert api.call("GET", "/virtual-clusters/default").json()["resourcesTotal"]["GPUs"] == 0
    assert code_of(api.call("GET", "/virtual-clusters/nosuch")) == (404, "NoVirtualClusterError")
    assert code_of(api.call("GET", "/virtual-clusters/no-such")) == (400, "InvalidParametersError")


# Submit


def test_a_new_job_is_found_at_once_and_waits_without_tasks(open_api: Open) -> None:
    with open_api(settle_s=60) as api:
        answer = api.submit(job("new"))
        assert answer.status_code == 202
        assert answer.json() == {"status": 202, "message": "Update job new for user alice successfully."}
        found = api.detail("alice~new")
        assert found["taskRoles"] == {}
        assert found["jobStatus"]["state"] == "WAITING"
        assert found["jobStatus"]["createdTime"] is None
        assert "attemptId" not in found["jobStatus"]


def test_a_job_comes_to_run_on_hashed_ports(api: Api) -> None:
    api.submit(job("run", instances=2))
    tasks = api.wait("alice~run", "RUNNING")["taskRoles"]["main"]["taskStatuses"]
    # A job is RUNNING as soon as one of its tasks is.
    deadline = time.monotonic() + 10
    while [task["taskState"] for task in tasks] != ["RUNNING", "RUNNING"]:
        assert time.monotonic() < deadline, tasks
        time.sleep(0.005)
        tasks = api.detail("alice~run")["taskRoles"]["main"]["taskStatuses"]
    assert {task["containerIp"] for task in tasks} == {"127.0.0.1"}
    assert set(tasks[0]["containerPorts"]) == {"jupyter", "ssh", "http"}
    assert all(15000 <= int(port) < 40000 for task in tasks for port in task["containerPorts"].values())
    assert api.call("GET", "/jobs/alice~run/attempts/0").json() == api.detail("alice~run")
    assert code_of(api.call("GET", "/jobs/alice~run/attempts/9")) == (404, "NoJobError")


def test_a_name_is_used_once_and_for_ever(api: Api) -> None:
    api.submit(job("once"))
    assert code_of(api.submit(job("once"))) == (409, "ConflictJobError")
    api.call("PUT", "/jobs/alice~once/executionType", json={"value": "STOP"})
    api.wait("alice~once", "STOPPED")
    assert code_of(api.submit(job("once"))) == (409, "ConflictJobError")
    assert api.submit(job("once"), "bob").status_code == 202


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (job("a").replace("type: job", "type: task"), (400, "InvalidProtocolError")),
        (job("a").replace("dockerImage: img", "dockerImage: other"), (400, "InvalidProtocolError")),
        ("", (400, "InvalidProtocolError")),
        ("name: [unclosed", (500, None)),
        (job("a") + "name: b\n", (500, None)),
        (job("a").replace("sleep 1", "sleep <% $parameters.x"), (500, None)),
        (job("a", vc="nosuch"), (403, "ForbiddenUserError")),
        (job("a", vc="lab"), (403, "ForbiddenUserError")),
        (job("a", extras="{storages: [{name: s}]}"), (404, "NoStorageError")),
        (job("a").replace("    instances: 1\n", ""), (500, "UnknownError")),
        (job("a") + "#" * 102400, (413, None)),
    ],
)
def test_bad_jobs_are_refused(api: Api, text: str, expected: tuple[int, str | None]) -> None:
    assert code_of(api.submit(text)) == expected
    assert code_of(api.call("GET", "/jobs/alice~a")) == (404, "NoJobError")


def test_a_job_is_taken_as_text_only(api: Api) -> None:
    for content_type in ("application/x-yaml", "application/octet-stream", "application/x-www-form-urlencoded"):
        answer = api.call("POST", "/jobs", content=job("a"), headers={"content-type": content_type})
        assert code_of(answer) == (400, "InvalidProtocolError")
    answer = api.call("POST", "/jobs", content=job("a"), headers={"content-type": "text/plain; charset=utf-8"})
    assert answer.status_code == 202


def test_a_job_that_wants_more_gpus_than_there_are_waits_and_says_why(open_api: Open) -> None:
    with open_api(gpus=2) as api:
        for name in ("first", "second"):
            api.submit(job(name, gpu=2))
        api.wait("alice~first", "RUNNING")
        deadline = time.monotonic() + 5
        while not (found := api.call("GET", "/jobs/alice~second/events").json()["data"]):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        assert found[0]["reason"] == "FailedScheduling"
        assert api.detail("alice~second")["jobStatus"]["state"] == "WAITING"
        api.call("PUT", "/jobs/alice~first/executionType", json={"value": "STOP"})
        api.wait("alice~second", "RUNNING")


# Read


def test_config_is_json_under_a_yaml_type_with_masked_secrets(api: Api) -> None:
    api.submit(job("c"))
    answer = api.call("GET", "/jobs/alice~c/config", "bob")
    assert answer.headers["content-type"] == "text/yaml; charset=utf-8"
    assert json.loads(answer.text)["secrets"] == "******"
    assert "hunter2" not in answer.text


def test_secrets_are_forgotten_when_a_job_is_over(api: Api, tmp_path: Path) -> None:
    api.submit(job("s"))
    api.call("PUT", "/jobs/alice~s/executionType", json={"value": "STOP"})
    api.wait("alice~s", "STOPPED")
    server = api.client.app.state.server  # type: ignore[attr-defined]
    assert "hunter2" not in json.dumps(server.store.job("alice~s"))


def test_unknown_jobs_are_a_404(api: Api) -> None:
    for path in ("", "/config", "/events", "/attempts/0"):
        assert code_of(api.call("GET", f"/jobs/alice~nosuch{path}")) == (404, "NoJobError")
    assert code_of(api.call("GET", "/jobs/alice~nosuch/ssh")) == (404, "NoJobSshInfoError")
    assert api.call("GET", "/jobs/alice~nosuch/job-attempts").json() is None


@pytest.fixture
def listed(api: Api) -> Api:
    for name, user in (("a_1", "alice"), ("b-2", "bob"), ("c_3", "alice"), ("d_4", "admin")):
        assert api.submit(job(name), user).status_code == 202
    for name in ("alice~a_1", "bob~b-2"):
        api.call("PUT", f"/jobs/{name}/tag", "admin", json={"value": "golden"})
    api.call("PUT", "/jobs/alice~a_1/tag", json={"value": "bad"})
    api.call("PUT", "/jobs/alice~a_1/executionType", json={"value": "STOP"})
    api.wait("alice~a_1", "STOPPED")
    for frame in ("bob~b-2", "alice~c_3", "admin~d_4"):
        api.wait(frame, "RUNNING")
    return api


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["d_4", "c_3", "b-2", "a_1"]),
        ("username=alice,bob", ["c_3", "b-2", "a_1"]),
        ("state=STOPPED", ["a_1"]),
        ("state=stopped", []),
        ("vc=default&limit=1", ["d_4"]),
        ("keyword=_3", ["c_3"]),
        ("keyword=A_1", []),
        ("keyword=%25", ["d_4", "c_3", "b-2", "a_1"]),
        ("tagsContain=golden", ["b-2", "a_1"]),
        ("tagsContain=golden&tagsNotContain=bad", ["b-2"]),
        ("jobPriority=prod", []),
        ("jobPriority=default&limit=1", ["d_4"]),
        ("offset=1&limit=2", ["c_3", "b-2"]),
        ("offset=100", []),
        ("order=jobName,ASC", ["a_1", "b-2", "c_3", "d_4"]),
        ("order=jobName,asc&limit=1", ["d_4"]),
        ("order=completionTime,ASC&limit=1", ["a_1"]),
        ("foo=bar&limit=1", ["d_4"]),
    ],
)
def test_lists_are_filtered_paged_and_ordered(listed: Api, query: str, names: list[str]) -> None:
    assert names_of(listed.call("GET", f"/jobs?{query}")) == names


def test_a_list_counts_when_asked_for(listed: Api) -> None:
    found = listed.call("GET", "/jobs?username=alice&limit=1&withTotalCount=true").json()
    assert (found["totalCount"], len(found["data"])) == (2, 1)
    assert isinstance(listed.call("GET", "/jobs?withTotalCount=1").json(), list)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("limit=50001", (400, "InvalidParametersError")),
        ("limit=abc", (500, None)),
        ("limit=-1", (500, None)),
        ("offset=-1", (500, None)),
        ("username=a&username=b", (500, None)),
    ],
)
def test_bad_list_queries(api: Api, query: str, expected: tuple[int, str | None]) -> None:
    assert code_of(api.call("GET", f"/jobs?{query}")) == expected


# Change


def test_stop_is_recorded_first_and_done_later(open_api: Open) -> None:
    with open_api(settle_s=0.2) as api:
        api.submit(job("s"))
        api.wait("alice~s", "RUNNING")
        answer = api.call("PUT", "/jobs/alice~s/executionType", json={"value": "STOP"})
        assert answer.status_code == 202
        status = api.detail("alice~s")["jobStatus"]
        assert (status["state"], status["executionType"]) == ("RUNNING", "STOP")
        found = api.wait("alice~s", "STOPPED")
        assert found["jobStatus"]["appExitCode"] == -210
        assert found["jobStatus"]["appExitSpec"]["phrase"] == "StopFrameworkRequested"
        assert found["taskRoles"]["main"]["taskStatuses"][0]["containerExitCode"] == -220


@pytest.mark.parametrize("body", [{"value": "stop"}, {"value": "PAUSE"}, {}, {"value": "STOP", "x": 1}])
def test_stop_wants_exactly_its_word(api: Api, body: dict[str, Any]) -> None:
    api.submit(job("s"))
    assert code_of(api.call("PUT", "/jobs/alice~s/executionType", json=body)) == (400, "InvalidParametersError")


def test_only_owner_and_admin_change_a_job(api: Api) -> None:
    api.submit(job("s"))
    for method, path, body in (("PUT", "executionType", "STOP"), ("PUT", "tag", "t"), ("DELETE", "tag", "t")):
        answer = api.call(method, f"/jobs/alice~s/{path}", "bob", json={"value": body})
        assert code_of(answer) == (403, "ForbiddenUserError")
    assert api.call("PUT", "/jobs/alice~s/executionType", "admin", json={"value": "STOP"}).status_code == 202
    assert code_of(api.call("PUT", "/jobs/alice~none/executionType", json={"value": "STOP"})) == (404, "NoJobError")


def test_stop_of_a_job_that_is_long_over_is_a_500(open_api: Open) -> None:
    with open_api(cleanup_after_s=-2) as api:
        api.submit(job("s"))
        api.call("PUT", "/jobs/alice~s/executionType", json={"value": "STOP"})
        api.wait("alice~s", "STOPPED")
        assert code_of(api.call("PUT", "/jobs/alice~s/executionType", json={"value": "STOP"})) == (500, "UnknownError")


def test_tags_are_added_again_and_again_but_deleted_once(api: Api) -> None:
    api.submit(job("t"))
    for _ in range(2):
        assert api.call("PUT", "/jobs/alice~t/tag", json={"value": "one"}).status_code == 200
    assert api.call("PUT", "/jobs/alice~t/tag", data={"value": "two"}).status_code == 200
    assert api.detail("alice~t")["tags"] == ["one", "two"]
    assert api.call("DELETE", "/jobs/alice~t/tag", json={"value": "one"}).status_code == 200
    assert code_of(api.call("DELETE", "/jobs/alice~t/tag", json={"value": "one"})) == (404, "NoTagError")
    assert code_of(api.call("DELETE", "/jobs/alice~t/tag")) == (400, "InvalidParametersError")
    assert code_of(api.call("PUT", "/jobs/alice~t/tag", json={"value": "a,b"})) == (400, "InvalidParametersError")
    assert code_of(api.call("PUT", "/jobs/alice~t/tag", json={"value": "t" * 513})) == (500, None)
    assert code_of(api.call("PUT", "/jobs/alice~none/tag", json={"value": "x"})) == (404, "NoJobError")


# Limits and restarts


def test_too_many_lists_are_a_429_in_html_for_that_user_only(open_api: Open) -> None:
    with open_api(lists_per_minute=2) as api:
        answers = [api.call("GET", "/jobs") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert answers[2].headers["content-type"].startswith("text/html")
        assert answers[2].headers["retry-after"] == "60"
        assert answers[1].headers["x-ratelimit-limit"] == "2"
        assert api.call("GET", "/jobs", "bob").status_code == 200


def test_failed_submissions_count_against_the_limit(open_api: Open) -> None:
    with open_api(submits_per_hour=1) as api:
        assert api.submit("name: x").status_code == 400
        assert api.submit(job("a")).status_code == 429


def test_a_restart_loses_nothing(open_api: Open) -> None:
    with open_api() as api:
        api.submit(job("kept"))
        before = api.wait("alice~kept", "RUNNING")
        api.call("PUT", "/jobs/alice~kept/tag", json={"value": "golden"})
        token = api.login("alice")
    with open_api() as api:
        headers = {"authorization": f"Bearer {token}"}
        after = api.client.get("/api/v2/jobs/alice~kept", headers=headers).json()
        assert after == {**before, "tags": ["golden"]}
        assert code_of(api.submit(job("kept"))) == (409, "ConflictJobError")
        api.call("PUT", "/jobs/alice~kept/executionType", json={"value": "STOP"})
        api.wait("alice~kept", "STOPPED")


def test_a_hundred_jobs_run_side_by_side(api: Api) -> None:
    for number in range(100):
        assert api.submit(job(f"j{number}")).status_code == 202
    deadline = time.monotonic() + 20
    while len(names_of(api.call("GET", "/jobs?state=RUNNING"))) < 100:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_users_file_that_is_not_one_is_named(tmp_path: Path) -> None:
    bad = tmp_path / "users.json"
    bad.write_text("[]")
    with pytest.raises(ValueError, match=r"users\.json: not a users file"):
        create_app(Settings(name="x", state_dir=tmp_path / "state", users_file=bad, containers=False))
