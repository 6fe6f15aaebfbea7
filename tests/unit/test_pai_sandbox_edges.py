"""Corners of the PAI sandbox's API where the real server's JavaScript shows through, without containers."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT

sys.path.insert(0, str(ROOT / "roles" / "pai_sandbox" / "files"))

from pai_sandbox import js_values
from pai_sandbox.store import Store

from tests.unit.test_pai_sandbox_api import Api, Open, code_of, job, names_of, open_api

__all__ = ["open_api"]


@pytest.fixture
def api(open_api: Open) -> Iterator[Api]:
    with open_api() as found:
        yield found


@pytest.mark.parametrize(
    ("text", "number"), [("7", 7), (" 7 ", 7), ("", 0), ("0x10", 16), ("1e2", 100), ("-1", -1), (".5", 0.5), ("Infinity", float("inf"))]
)
def test_a_number_in_a_path_is_read_like_javascripts_number(text: str, number: float) -> None:
    assert js_values.number_of(text) == number


@pytest.mark.parametrize("text", ["abc", "1_0", "7x", "١", "--1", "0x", "NaN"])
def test_what_is_no_number_for_javascript_is_none_here(text: str) -> None:
    assert js_values.shown_number(js_values.number_of(text)) == "NaN"


@pytest.mark.parametrize(("text", "number"), [("7", 7), (" 7x", 7), ("-7", -7), ("0x1f", 31), ("1.9", 1), ("x", None), ("", None)])
def test_a_number_in_a_query_is_read_like_javascripts_parse_int(text: str, number: int | None) -> None:
    assert js_values.whole_of(text) == number


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=2&limit=3", 200),
        ("limit=", 500),
        ("limit=99999999999999999999", 400),
        ("offset=99999999999999999999", 500),
        ("limit=0", 200),
    ],
)
def test_odd_pages_are_what_they_are_on_the_real_server(api: Api, query: str, status: int) -> None:
    assert api.call("GET", f"/jobs?{query}").status_code == status


@pytest.mark.parametrize("name", ["username", "vc", "state", "tagsContain", "tagsNotContain", "jobPriority", "order"])
def test_a_list_parameter_that_stands_twice_is_a_500(api: Api, name: str) -> None:
    answer = api.call("GET", f"/jobs?{name}=a&{name}=b")
    assert (answer.status_code, answer.json()) == (500, {"message": f"req.query.{name}.split is not a function"})


def test_a_keyword_that_stands_twice_is_one_text(api: Api) -> None:
    api.submit(job("a"))
    assert names_of(api.call("GET", "/jobs?keyword=a&keyword=b")) == []
    assert names_of(api.call("GET", "/jobs?keyword=a&withTotalCount=true&withTotalCount=true")) == ["a"]


def test_before_the_first_attempt_every_number_stands_for_nothing_yet(open_api: Open) -> None:
    with open_api(settle_s=60) as api:
        api.submit(job("new"))
        assert api.call("GET", "/jobs/alice~new/attempts/9").json()["taskRoles"] == {}
        task = "/taskRoles/main/taskIndex/0/attempts"
        answer = api.call("GET", f"/jobs/alice~new/attempts/abc{task}")
        assert code_of(answer) == (404, "NoJobError")
        assert "jobAttemptIndex NaN, taskRoleName main and taskIndex 0" in answer.json()["message"]


def test_attempts_are_found_by_number(api: Api) -> None:
    api.submit(job("one"))
    api.wait("alice~one", "RUNNING")
    for number, status in (("0", 200), ("abc", 200), ("1", 404), ("-1", 404), ("0.5", 404)):
        assert api.call("GET", f"/jobs/alice~one/attempts/{number}").status_code == status
    assert api.call("GET", "/jobs/alice~one/attempts/x/taskRoles/main/taskIndex/0x0/attempts").json()["taskIndex"] == 0


def test_a_path_that_is_not_utf_8_is_a_400_without_a_code(api: Api) -> None:
    answer = api.call("GET", "/jobs/%ff")
    assert (answer.status_code, answer.json()) == (400, {"message": "Failed to decode param '%ff'"})


def test_json_has_no_nan(api: Api) -> None:
    answer = api.call("PUT", "/jobs/alice~x/tag", content='{"value": NaN}', headers={"content-type": "application/json"})
    assert (answer.status_code, list(answer.json())) == (400, ["message"])


def test_the_limit_of_an_address_counts_the_first_forwarded_one(open_api: Open) -> None:
    with open_api(requests_per_minute=2) as api:
        codes = [
            api.client.get("/api/v2/info", headers={"x-forwarded-for": f"10.0.0.{number}, 10.9.9.9"}).status_code for number in (1, 1, 1, 2)
        ]
        assert codes == [200, 200, 429, 200]


# Users, groups and virtual clusters


def test_users_and_groups_are_read_by_everybody(api: Api) -> None:
    found = api.call("GET", "/users/bob").json()
    assert (found["grouplist"], found["virtualCluster"], found["admin"]) == (["default", "lab"], ["default", "lab"], False)
    assert found["extension"]["jobSSH"]["key"].startswith("-----BEGIN RSA PRIVATE KEY-----")
    assert found["extension"]["jobSSH"]["pubKey"].endswith(" pai-job-ssh")
    assert api.call("GET", "/user/bob").json() == found
    assert api.call("GET", "/users/admin").json()["grouplist"] == ["default", "lab", "admingroup"]
    assert code_of(api.call("GET", "/users/nosuch")) == (400, "NoUserError")
    assert api.call("GET", "/groups/lab").json()["extension"]["acls"] == {"virtualClusters": ["lab"], "admin": False}
    assert code_of(api.call("GET", "/groups/nosuch")) == (400, "NoGroupError")
    assert code_of(api.call("GET", "/groups/lab/userlist")) == (403, "ForbiddenUserError")
    assert api.call("GET", "/groups/lab/userlist", "admin").json() == [
        {"username": "admin", "clusterAdmin": True},
        {"username": "bob", "clusterAdmin": False},
    ]


def test_free_user_data_is_merged_by_its_owner_and_by_admins(api: Api) -> None:
    api.call("PUT", "/users/alice/extension", json={"extension": {"sshKeys": [1]}})
    api.call("PUT", "/users/alice/extension", "admin", json={"extension": {"more": 2}})
    found = api.call("GET", "/users/alice").json()["extension"]
    assert (found["sshKeys"], found["more"]) == ([1], 2)
    assert code_of(api.call("PUT", "/users/alice/extension", "bob", json={"extension": {}})) == (403, "ForbiddenUserError")
    assert code_of(api.call("PUT", "/users/nosuch/extension", "admin", json={"extension": {}})) == (404, "NoUserError")
    assert code_of(api.call("PUT", "/users/alice/extension", json={})) == (500, "UnknownError")


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"email": "nowhere"}, 400, "InvalidParametersError"),
        ({"virtualCluster": "default"}, 400, "InvalidParametersError"),
        ({"virtualCluster": ["nosuch"]}, 400, "NoVirtualClusterError"),
        ({"password": "short"}, 400, "InvalidParametersError"),
        ({"email": "", "virtualCluster": ["lab"]}, 201, None),
    ],
)
def test_a_new_user_is_checked(api: Api, changes: dict[str, Any], status: int, code: str | None) -> None:
    carol = {"username": "carol", "password": "carol-password", **changes}
    assert code_of(api.call("POST", "/users", "admin", json=carol)) == (status, code)


def test_virtual_clusters_are_not_made_through_the_api(api: Api) -> None:
    # Names are looked at before tokens.
    assert code_of(api.client.get("/api/v2/virtual-clusters/no-such")) == (400, "InvalidParametersError")
    assert code_of(api.client.put("/api/v2/virtual-clusters/default")) == (403, "ForbiddenUserError")
    assert code_of(api.client.get("/api/v2/virtual-clusters/default")) == (401, "UnauthorizedUserError")
    path = "/virtual-clusters/new"
    assert code_of(api.call("PUT", path, json={"vcCapacity": 10})) == (403, "ForbiddenUserError")
    assert code_of(api.call("PUT", path, "admin", json={"vcCapacity": 101})) == (400, "InvalidParametersError")
    assert code_of(api.call("PUT", path, "admin", json={"vcCapacity": 10})) == (400, "NotImplementedError")
    assert code_of(api.call("PUT", f"{path}/status", "admin", json={"vcStatus": "stopped"})) == (400, "NotImplementedError")
    assert code_of(api.call("DELETE", path, "admin")) == (400, "NotImplementedError")


def test_what_kubernetes_knows_is_for_admins(api: Api) -> None:
    assert code_of(api.call("GET", "/kubernetes/nodes")) == (403, "ForbiddenUserError")
    assert [node["metadata"]["name"] for node in api.call("GET", "/kubernetes/nodes", "admin").json()["items"]] == ["pai-t"]
    assert api.call("GET", "/kubernetes/pods", "admin").json()["items"] == []
    assert api.call("GET", "/alerts").json() == []
    assert api.client.get("/healthz").text == "Pylon ready."


@pytest.mark.parametrize("whose", ["own", "other"])
def test_tokens_that_are_not_this_servers_cannot_be_revoked(api: Api, whose: str) -> None:
    mine = api.login("alice")
    foreign = f"{mine.rpartition('.')[0]}.AAAA" if whose == "own" else api.login("bob")
    expected = (500, "UnknownError") if whose == "own" else (403, "ForbiddenUserError")
    assert code_of(api.call("DELETE", f"/tokens/{foreign}")) == expected


# The store


def test_a_store_of_an_earlier_version_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "pai.sqlite"
    Store(path).close()
    with sqlite3.connect(path) as database:
        for column in ("task_attempt", "retries", "accountable_retries", "attempt_start_time", "attempt_run_time", "history"):
            database.execute(f"ALTER TABLE tasks DROP COLUMN {column}")
    store = Store(path)
    fields: dict[str, Any] = {"role": "r", "task_index": 0, "task_uid": "u", "port_counts": "{}", "sub_state": "x", "start_time": 1}
    store.add_attempt("a~b", 0, {"sub_state": "x", "start_time": 1}, [fields])
    assert store.tasks("a~b", 0)[0]["task_attempt"] == 0
    store.close()
