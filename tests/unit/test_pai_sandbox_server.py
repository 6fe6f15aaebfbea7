"""The PAI sandbox as a server of its own: several clusters, restarts, faults by schedule, OIDC."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.support import ROOT, free_ports, wait_for

sys.path.insert(0, str(ROOT / "roles" / "pai_sandbox" / "files"))

from pai_sandbox import make_token
from pai_sandbox.config import read_config
from pai_sandbox.faults import read_schedule
from pai_sandbox.fill import add_finished_jobs
from pai_sandbox.rules import read_rules
from pai_sandbox.server import Sandboxes, _Protocol
from pai_sandbox.settings import Node, Settings

from tests.unit.test_pai_sandbox_api import USERS, job

PROGRAM = ROOT / "roles" / "pai_sandbox" / "files"


class Client:
    """A client of one cluster over a real socket."""

    def __init__(self, url: str, faults: Path) -> None:
        self.url = url
        self._faults = faults
        self._session = requests.Session()
        self._session.trust_env = False
        self._headers: dict[str, str] = {}

    def login(self, user: str = "alice") -> str:
        answer = self.call("POST", "/tokens", json={"username": user, "password": f"{user}-password"})
        token = str(answer.json()["token"])
        self._headers = {"authorization": f"Bearer {token}"}
        return token

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        headers = {**self._headers, **options.pop("headers", {})}
        return self._session.request(method, f"{self.url}/rest-server/api/v2{path}", headers=headers, timeout=10, **options)

    def submit(self, name: str) -> requests.Response:
        return self.call("POST", "/jobs", data=job(name), headers={"content-type": "text/yaml"})

    def names(self) -> list[str]:
        return [one["name"] for one in self.call("GET", "/jobs").json()]

    def schedule(self, *faults: dict[str, Any]) -> None:
        self._faults.write_text(yaml.safe_dump({"seed": 1, "faults": list(faults)}))


Open = Callable[..., AbstractContextManager[tuple[Client, Sandboxes]]]


@pytest.fixture
def open_cluster(tmp_path: Path) -> Open:
    (tmp_path / "users.json").write_text(json.dumps(USERS))

    @contextmanager
    def opened(**changes: Any) -> Iterator[tuple[Client, Sandboxes]]:
        options: dict[str, Any] = {"port": free_ports(1), "containers": False, "settle_s": 0.02, "poll_s": 0.02}
        options |= {"faults_file": tmp_path / "faults.yml", "lists_per_minute": 0, "requests_per_minute": 0, **changes}
        one = Settings(name="pai-t", state_dir=tmp_path / "state", users_file=tmp_path / "users.json", **options)
        with Sandboxes([one]) as sandboxes:
            yield Client(sandboxes.url("pai-t"), tmp_path / "faults.yml"), sandboxes

    return opened


@pytest.fixture
def cluster(open_cluster: Open) -> Iterator[tuple[Client, Sandboxes]]:
    with open_cluster() as found:
        found[0].login()
        yield found


# Start and restart


def test_several_clusters_run_in_one_process_and_share_nothing(tmp_path: Path) -> None:
    (tmp_path / "users.json").write_text(json.dumps(USERS))
    first = free_ports(2)
    clusters = [
        {"name": f"pai-{letter}", "port": first + number, "state_dir": str(tmp_path / letter), "users_file": str(tmp_path / "users.json")}
        for number, letter in enumerate("ab")
    ]
    (tmp_path / "clusters.yml").write_text(yaml.safe_dump({"clusters": [{**one, "containers": False} for one in clusters]}))
    argv = [sys.executable, "-m", "pai_sandbox", "--config", str(tmp_path / "clusters.yml")]
    with subprocess.Popen(argv, env={"PYTHONPATH": str(PROGRAM)}, stderr=subprocess.DEVNULL) as process:
        try:
            clients = [Client(f"http://127.0.0.1:{one['port']}", tmp_path / "none") for one in clusters]
            for client in clients:
                wait_for(lambda client=client: client.call("GET", "/info").status_code == 200)
                client.login()
            assert clients[0].submit("mine").status_code == 202
            assert [client.names() for client in clients] == [["mine"], []]
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=20) == 0


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    (tmp_path / "users.json").write_text(json.dumps(USERS))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        one = Settings("pai-t", tmp_path / "state", tmp_path / "users.json", port, containers=False)
        with pytest.raises(ValueError, match=f"sandbox pai-t: port {port} of 127.0.0.1 is in use"), Sandboxes([one]):
            pass


def test_a_restart_loses_nothing_but_the_rate_limits(open_cluster: Open) -> None:
    with open_cluster(submits_per_hour=2) as (client, sandboxes):
        client.login()
        assert [client.submit(f"j{number}").status_code for number in range(3)] == [202, 202, 429]
        sandboxes.restart("pai-t", down_s=0.1)
        assert client.names() == ["j1", "j0"]
        assert client.submit("j2").status_code == 202


def test_answers_are_not_held_back_for_acknowledgements(cluster: tuple[Client, Sandboxes]) -> None:
    client, _ = cluster
    client.call("GET", "/info")
    port = int(client.url.rpartition(":")[2])
    connection = next(found for (here, _), found in _Protocol.open_connections.items() if here[1] == port)
    assert connection.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "clusters.yml: has no list"),
        ("clusters: []", "has no list"),
        ("clusters: [{name: a}]", "cluster 1: state_dir is missing"),
        ("clusters: [{name: a, state_dir: s, users_file: u, prot: 1}]", "cluster 1: unknown key prot; allowed: name, "),
        ("clusters: [{name: a, state_dir: s, users_file: u, port: '1'}]", "cluster 1: port is '1'; allowed: a whole number"),
        ("clusters: [{name: a, state_dir: s, users_file: u, containers: 1}]", "cluster 1: containers is 1; allowed: true or false"),
        ("clusters: [{name: a, state_dir: s, users_file: u, authn: ldap}]", "authn is ldap; allowed: basic, OIDC"),
        ("clusters: [{name: a, state_dir: s, users_file: u, tls_key: k}]", "tls_cert and tls_key belong together"),
        ("clusters: [{name: a, state_dir: s, users_file: u, nodes: [{name: w, cpus: 1}]}]", "nodes: memory_mb is missing"),
        ("clusters: [{name: a, state_dir: s, users_file: u}, {name: a, state_dir: t, users_file: u}]", "the same name a"),
    ],
)
def test_a_config_file_that_is_not_one_is_refused_with_the_place(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "clusters.yml"
    path.write_text(text)
    with pytest.raises(ValueError) as caught:
        read_config(path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


def test_a_config_file_gives_settings(tmp_path: Path) -> None:
    path = tmp_path / "clusters.yml"
    path.write_text("clusters: [{name: a, state_dir: s, users_file: u, settle_s: 1, nodes: [{name: w, cpus: 2, memory_mb: 3}]}]")
    (found,) = read_config(path)
    assert (found.settle_s, found.workers, found.users_file) == (1, (Node("w", 2, 3, 0),), Path("u"))


# Faults


def test_a_connection_is_reset_before_or_after_the_job_was_made(cluster: tuple[Client, Sandboxes]) -> None:
    client, _ = cluster
    client.schedule(
        {"do": "reset", "path": "/api/v2/jobs", "method": "POST"}, {"do": "reset", "method": "POST", "skip": 1, "committed": True}
    )
    for name in ("lost", "kept"):
        # Which of the two a client sees depends on whether it already reads when the connection ends.
        with pytest.raises(requests.ConnectionError, match=r"reset by peer|closed connection without response"):
            client.submit(name)
    assert client.names() == ["kept"]
    assert client.submit("kept").status_code == 409


def test_an_error_is_answered_with_or_without_the_job_made(cluster: tuple[Client, Sandboxes]) -> None:
    client, _ = cluster
    error = {"do": "error", "method": "POST", "path": "/api/v2/jobs"}
    client.schedule(error, {**error, "skip": 1, "committed": True, "status": 404, "code": "NoJobError", "message": "gone"})
    plain, committed = client.submit("no"), client.submit("yes")
    assert (plain.status_code, plain.json()) == (500, {"message": "fault of the schedule"})
    assert (committed.status_code, committed.json()) == (404, {"code": "NoJobError", "message": "gone"})
    assert client.names() == ["yes"]


def test_too_many_requests_look_like_the_real_ones(cluster: tuple[Client, Sandboxes]) -> None:
    client, _ = cluster
    client.schedule({"do": "too-many-requests", "path": "/api/v2/jobs/.*", "retry_after_s": 7})
    answer = client.call("GET", "/jobs/alice~x")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert (answer.headers["content-type"], answer.text) == ("text/html; charset=utf-8", "Too many requests, please try again later.")
    assert client.call("GET", "/jobs/alice~x").status_code == 404


def test_login_tokens_expire_and_application_tokens_stay(cluster: tuple[Client, Sandboxes]) -> None:
    client, _ = cluster
    token = client.call("POST", "/tokens/application").json()["token"]
    client.schedule({"do": "expire-tokens", "path": "/api/v2/jobs"})
    assert client.call("GET", "/jobs").json()["code"] == "UnauthorizedUserError"
    assert client.call("GET", "/jobs", headers={"authorization": f"Bearer {token}"}).status_code == 200
    client.login()
    assert client.call("GET", "/jobs").status_code == 200


def test_a_server_goes_away_without_an_answer_and_comes_back(cluster: tuple[Client, Sandboxes]) -> None:
    client, _ = cluster
    client.submit("there")
    client.schedule({"do": "restart", "seconds": 0.2, "path": "/api/v2/jobs/.*"})
    with pytest.raises(requests.ConnectionError):
        client.call("GET", "/jobs/alice~there")
    wait_for(lambda: client.call("GET", "/jobs/alice~there").status_code == 200)


def test_faults_hit_their_share_alike_in_every_run(cluster: tuple[Client, Sandboxes]) -> None:
    client, _ = cluster
    runs = []
    for times in (0, 40):
        client.schedule({"do": "error", "chance": 0.5, "times": times, "path": "/api/v2/info"})
        runs.append([client.call("GET", "/info").status_code for _ in range(40)])
    assert runs[0] == runs[1]
    assert 5 < runs[0].count(500) < 35


def test_a_latency_delays_a_request(cluster: tuple[Client, Sandboxes]) -> None:
    client, _ = cluster
    client.schedule({"do": "latency", "seconds": 0.3, "path": "/api/v2/info"})
    assert client.call("GET", "/info").elapsed.total_seconds() >= 0.3


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"do": "explode"}, "fault 1: do is explode; allowed: latency, error"),
        ({"do": "error", "code_": 1}, "fault 1: unknown key code_; allowed: do, method"),
        ({"do": "error", "path": "("}, "fault 1: path is not a regular expression"),
    ],
)
def test_a_schedule_that_is_not_one_is_refused(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        read_schedule({"faults": [entry]})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"wait": 1}, "rule 1: unknown key wait; allowed: job, wait_s"),
        ({"run_s": "soon"}, "rule 1: run_s is 'soon'; allowed: seconds or null"),
        ({"job": "["}, "rule 1: job is not a regular expression"),
    ],
)
def test_rules_that_are_none_are_refused(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        read_rules({"rules": [entry]})
    assert message in str(caught.value)


# OIDC and tokens


def test_a_cluster_with_oidc_has_no_password_login(open_cluster: Open, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_cluster(authn="OIDC") as (client, _):
        assert client.call("GET", "/info").json()["authnMethod"] == "OIDC"
        assert client.call("GET", "/authn/info").json() == {
            "authn_type": "OIDC",
            "loginURI": "/api/v1/authn/oidc/login",
            "loginURIMethod": "get",
        }
        for method, path in (("POST", "/tokens"), ("POST", "/authn/basic/login"), ("DELETE", "/authn/basic/logout"), ("POST", "/users")):
            answer = client.call(method, path, json={"username": "alice", "password": "alice-password"})
            assert (answer.status_code, answer.json()["code"]) == (404, "NoApiError")
        assert client.call("GET", "/authn/oidc/login", allow_redirects=False).status_code == 302
        options = ["--state-dir", str(tmp_path / "state"), "--users-file", str(tmp_path / "users.json"), "--username"]
        assert make_token.main([*options, "alice"]) == 0
        headers = {"authorization": f"Bearer {capsys.readouterr().out.strip()}"}
        assert client.call("GET", "/tokens/check", headers=headers).json()["username"] == "alice"
        assert make_token.main([*options, "nobody"]) == 2
        assert "user nobody is not known; known: admin, alice, bob" in capsys.readouterr().err


def test_a_cluster_without_oidc_has_no_other_login(cluster: tuple[Client, Sandboxes]) -> None:
    client, _ = cluster
    assert client.call("GET", "/authn/oidc/login").json()["code"] == "NoApiError"


# Thousands of jobs


def test_one_job_among_5000_is_found_with_one_small_answer(cluster: tuple[Client, Sandboxes]) -> None:
    client, sandboxes = cluster
    store = sandboxes.server("pai-t").store
    add_finished_jobs(store, 5000, "bob", "student")
    client.submit("golden-oob3-0a1b2c3d-1")
    client.call("PUT", "/jobs/alice~golden-oob3-0a1b2c3d-1/tag", json={"value": "golden-current"})
    for query in ("keyword=golden-oob3-", "tagsContain=golden-current", "username=alice&order=jobName,ASC&limit=20"):
        answer = client.call("GET", f"/jobs?{query}&withTotalCount=true").json()
        assert [one["name"] for one in answer["data"]] == ["golden-oob3-0a1b2c3d-1"]
        assert answer["totalCount"] == 1
    whole = client.call("GET", "/jobs?withTotalCount=true").json()
    assert (whole["totalCount"], len(whole["data"])) == (5001, 5000)
    assert len(client.call("GET", "/jobs?offset=5000&limit=50000").json()) == 1
