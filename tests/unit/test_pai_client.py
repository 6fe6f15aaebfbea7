"""The client against a PAI sandbox over real HTTP; a proxy in between gives the answers that only other servers give."""

from __future__ import annotations

import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.golden_jobs import pai_client, pai_detail, pai_lookup, pai_session, pai_submit, protocol
from ansible.module_utils.golden_jobs.errors import GoldenJobsError
from ansible.module_utils.golden_jobs.pai_client import PaiClient, PaiError
from ansible.module_utils.golden_jobs.progress import Progress

from tests.sandbox import PASSWORD, Sandbox, fill, sandbox
from tests.support import wait_for

from pai_sandbox import tokens  # isort: skip

JOB = """\
protocolVersion: 2
name: {name}
type: job
prerequisites:
  - {{type: dockerimage, name: image, uri: 'a:1'}}
taskRoles:
  web:
    instances: 1
    dockerImage: image
    resourcePerInstance: {{cpu: 1, memoryMB: 64, gpu: 0}}
    commands: [{command}]
secrets:
  p: hunter2
"""
NO_API = {"code": "NoApiError", "message": "API is not found."}
INVALID_TOKEN = {"code": "UnauthorizedUserError", "message": "Your token is invalid."}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Sandbox]:
    with sandbox(tmp_path / "sandbox") as running:
        yield running


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pai_session, "UNAUTHORIZED_PAUSES_S", (0.01, 0.01))
    monkeypatch.setattr(pai_submit, "PAUSES_S", (0.01,))


def with_token(cluster: Sandbox, **options: Any) -> PaiClient:
    return PaiClient(cluster.proxy_url, token=cluster.token(), **options)


def with_password(cluster: Sandbox, **options: Any) -> PaiClient:
    return PaiClient(cluster.proxy_url, **{"username": "op", "password": PASSWORD, **options})


def text(name: str, command: str = "serve") -> str:
    return JOB.format(name=name, command=command)


def look(mine: PaiClient, name: str, command: str = "serve") -> pai_submit.Look:
    def found() -> bool | None:
        config = mine.get_config(name)
        return None if config is None else protocol.same_job(protocol.load_text(text(name, command))[0], config)

    return found


def submit(mine: PaiClient, name: str, command: str = "serve", **options: Any) -> bool:
    return pai_submit.submit(mine, name, text(name, command), look(mine, name, command), **options)


# Address


@pytest.mark.parametrize("ending", ["", "/", "/rest-server", "/rest-server/", "/rest-server/api/v2", "/api/v2/"])
@pytest.mark.parametrize("missing", ["/rest-server/api", "/api"])
def test_the_address_may_have_the_prefix_of_the_web_portal_or_not(cluster: Sandbox, ending: str, missing: str):
    cluster.proxy.fault(f"^[A-Z]+ {missing}/", status=404, body=NO_API)
    found = PaiClient(cluster.proxy_url + ending, token=cluster.token())
    assert found.info()["version"] == "v1.8.1"
    assert found.address == cluster.proxy_url
    assert found.whoami()["username"] == "op"


def test_a_plain_rest_servers_own_port_is_tried_without_the_prefix_first():
    assert PaiClient("http://h:9186", token="t")._prefixes[0] == ""
    assert PaiClient("http://h:9186/rest-server", token="t")._prefixes[0] == "/rest-server"


@pytest.mark.parametrize("address", ["pai.example.com", "ftp://x", "http://", "", "http://h:port", "http://[", "http://h/?a=b"])
def test_an_address_that_is_no_url_is_one_sentence(address: str):
    with pytest.raises(GoldenJobsError, match="is not a URL; write http:// or https://"):
        PaiClient(address, token="app")


def test_a_password_in_the_address_is_refused_and_not_repeated():
    with pytest.raises(GoldenJobsError, match=r"at pai.example.com holds a user name") as error:
        PaiClient("https://op:geheim@pai.example.com", token="app")
    assert "geheim" not in str(error.value)


def test_no_login_at_all_is_one_sentence():
    with pytest.raises(GoldenJobsError, match="give a token, or a user name and a password"):
        PaiClient("http://h", username="op")


def test_something_else_at_the_address_is_said(cluster: Sandbox):
    cluster.proxy.fault(".", status=404)
    with pytest.raises(PaiError, match=r"http://127.0.0.1:\d+ answers, but not as OpenPAI \(HTTP 404"):
        with_token(cluster).whoami()


def test_a_proxy_without_its_server_is_a_trouble_that_may_pass(cluster: Sandbox):
    cluster.proxy.fault(" /rest-server/", status=502)
    cluster.proxy.fault(" /api/", status=404)
    with pytest.raises(PaiError, match="HTTP 502") as error:
        with_token(cluster, retries=0).whoami()
    assert error.value.transient


def test_a_redirect_to_another_host_gets_no_token(cluster: Sandbox):
    port = cluster.url.rpartition(":")[2]
    cluster.proxy.fault("/api/v2/info", status=307, headers={"Location": f"http://localhost:{port}/api/v2/info"})
    with pytest.raises(PaiError, match=r"redirects to http://localhost.*; give that address if it is the right one"):
        with_token(cluster).whoami()


def test_after_a_redirect_on_the_same_host_everything_goes_to_the_new_address(cluster: Sandbox):
    cluster.proxy.fault("/api/v2/info", status=307, headers={"Location": f"{cluster.url}/rest-server/api/v2/info"})
    mine = with_token(cluster)
    mine.info()
    assert submit(mine, "x")
    assert cluster.requests == ["GET /api/v2/info"]


def test_a_cluster_that_is_down_is_one_sentence_with_its_address():
    with pytest.raises(PaiError, match=r"The cluster http://127.0.0.1:1 cannot be reached: Connection refused\.") as error:
        PaiClient("http://127.0.0.1:1", token="app", retries=1).info()
    assert error.value.transient


def test_a_name_that_does_not_resolve_is_one_sentence():
    with pytest.raises(PaiError, match=r"The cluster http://nowhere.invalid cannot be reached: .+") as error:
        PaiClient("http://nowhere.invalid", token="app", retries=0).info()
    assert "<" not in str(error.value)


def test_a_server_that_hangs_is_given_up(cluster: Sandbox):
    cluster.faults({"do": "latency", "seconds": 5, "times": 0})
    with pytest.raises(PaiError, match=r"did not answer within 0.2 s") as error:
        with_token(cluster, timeout_s=0.2, retries=1).info()
    assert error.value.transient


# TLS


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[tuple[Sandbox, Path]]:
    """A cluster with a certificate of its own, and the file to trust it with."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", *subject]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    with sandbox(tmp_path / "sandbox", tls_cert=certificate, tls_key=key) as running:
        yield running, certificate


def test_a_certificate_of_its_own_is_trusted_with_its_ca_only(tls: tuple[Sandbox, Path], monkeypatch: pytest.MonkeyPatch):
    cluster, certificate = tls
    assert cluster.url.startswith("https://")
    with pytest.raises(
        PaiError, match=r"The certificate of https://.* is not trusted \(.*\); give the CA that signed it as ca_file"
    ) as error:
        PaiClient(cluster.url, token=cluster.token()).info()
    assert not error.value.transient
    # requests itself would let this variable win over what is asked for here.
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", ssl.get_default_verify_paths().cafile or str(certificate))
    mine = PaiClient(cluster.url, username="op", password=PASSWORD, ca_file=str(certificate))
    mine._patient.trust_env = mine._once.trust_env = True
    assert mine.whoami()["username"] == "op"
    assert PaiClient(cluster.url, token=cluster.token(), validate_certs=False).whoami()["username"] == "op"


def test_a_ca_file_that_is_missing_is_said():
    with pytest.raises(GoldenJobsError, match=r"The CA file /none.pem for the cluster https://h does not exist"):
        PaiClient("https://h", token="t", ca_file="/none.pem")


# Login


@pytest.mark.parametrize(
    ("login", "expected"),
    [
        ({"username": "OP"}, "knows no user 'OP'; names are case-sensitive"),
        ({"password": "a wrong password"}, "refuses the password of 'op'"),
        ({"password": "short"}, "refuses the password of 'op'"),
    ],
)
def test_a_wrong_login_is_one_sentence_and_tried_once(cluster: Sandbox, login: dict[str, str], expected: str):
    with pytest.raises(PaiError, match=expected) as error:
        with_password(cluster, **login).whoami()
    assert cluster.proxy_url in str(error.value)
    assert cluster.requests == ["POST /api/v2/authn/basic/login"]


def test_a_password_on_an_oidc_cluster_says_what_to_do_instead_and_a_token_works(tmp_path: Path):
    with sandbox(tmp_path, authn="OIDC") as cluster:
        with pytest.raises(PaiError, match="uses OIDC, which has no password login: make an application token on your profile page"):
            with_password(cluster).whoami()
        assert with_token(cluster).whoami()["username"] == "op"


def test_one_login_serves_many_calls_and_is_given_back(cluster: Sandbox):
    with with_password(cluster) as mine:
        assert [mine.get_job("x"), mine.get_job("x"), mine.user] == [None, None, "op"]
        assert len(cluster.server.tokens.of("op")) == 1
    assert cluster.requests == [
        "POST /api/v2/authn/basic/login",
        "GET /api/v2/jobs/op~x",
        "GET /api/v2/jobs/op~x",
        "DELETE /api/v2/authn/basic/logout",
    ]
    assert cluster.server.tokens.of("op") == []


def test_a_token_that_was_given_is_not_given_back(cluster: Sandbox):
    with with_token(cluster) as mine:
        assert mine.get_job("x") is None
    assert len(cluster.server.tokens.of("op")) == 1


def test_the_password_never_goes_over_a_network_in_the_clear_before_a_redirect_is_known(cluster: Sandbox):
    mine = with_password(cluster)
    mine._local = False  # as on a host elsewhere
    assert mine.whoami()["username"] == "op"
    assert cluster.requests[:2] == ["GET /api/v2/info", "POST /api/v2/authn/basic/login"]


def test_a_token_not_yet_stored_right_after_the_login_is_tried_again(cluster: Sandbox):
    cluster.proxy.fault("GET .*/users/op", status=401, body=INVALID_TOKEN, times=1)
    assert with_password(cluster).whoami()["username"] == "op"
    assert cluster.requests.count("POST /api/v2/authn/basic/login") == 1


def test_a_token_that_expires_is_replaced_by_one_new_login(cluster: Sandbox):
    mine = with_password(cluster)
    assert mine.whoami()["username"] == "op"
    cluster.server.tokens.expire_logins()
    assert mine.get_job("x") is None
    assert cluster.requests.count("POST /api/v2/authn/basic/login") == 2


def test_a_token_that_the_server_lost_when_two_logins_crossed_is_replaced(cluster: Sandbox):
    mine = with_password(cluster)
    assert mine.user == "op"
    cluster.server.tokens.expire_logins()
    assert mine.whoami()["username"] == "op"
    assert cluster.requests.count("POST /api/v2/authn/basic/login") == 2


def test_a_login_that_the_logouts_of_other_runs_take_along_is_made_again(cluster: Sandbox, monkeypatch: pytest.MonkeyPatch):
    """All logins are of the same second, so they have the same token, and each logout ends it for everybody."""
    now = time.time()
    monkeypatch.setattr(tokens, "time", SimpleNamespace(time=lambda: now))
    mine = with_password(cluster)
    assert mine.get_job("x") is None

    def others_come_and_go() -> None:
        with with_password(cluster) as other:
            assert other.get_job("x") is None

    crossings = [others_come_and_go] * 2
    post_login = PaiClient._post_login

    def login(self: PaiClient, base: str) -> Any:
        answer = post_login(self, base)
        if self is mine and crossings:
            crossings.pop()()
        return answer

    monkeypatch.setattr(PaiClient, "_post_login", login)
    others_come_and_go()
    assert mine.get_job("x") is None
    assert crossings == []


def test_trouble_of_the_server_with_a_good_token_is_waited_through(cluster: Sandbox):
    mine = with_token(cluster)
    assert mine.whoami()["username"] == "op"
    cluster.proxy.fault("GET .*/jobs/", status=401, body=INVALID_TOKEN, times=1)
    assert mine.get_job("x") is None


def test_a_login_that_is_not_accepted_any_more_ends(cluster: Sandbox):
    cluster.proxy.fault("GET .*/jobs/", status=401, body=INVALID_TOKEN)
    with pytest.raises(PaiError, match="does not accept the login of 'op', not even a new one"):
        with_password(cluster).get_job("x")
    assert cluster.requests.count("POST /api/v2/authn/basic/login") == 1 + pai_session.MOST_RENEWALS


def test_a_bad_token_is_one_sentence_with_what_to_do(cluster: Sandbox):
    with pytest.raises(
        PaiError, match=r"does not accept the token: it is wrong, expired or revoked; make a new application token"
    ) as error:
        PaiClient(cluster.proxy_url, token="app").whoami()
    assert error.value.status == 401


def test_a_token_that_does_not_name_its_user_is_asked_for_it(cluster: Sandbox):
    cluster.proxy.fault("GET .*/tokens/check", body={"username": "op"}, status=200)
    assert PaiClient(cluster.proxy_url, token="opaque").user == "op"


def test_an_entry_in_netrc_does_not_replace_the_token(cluster: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login x password y\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    mine = with_token(cluster)
    mine._patient.trust_env = True
    assert mine.whoami()["username"] == "op"


def test_a_virtual_cluster_that_is_not_granted_is_said_before_a_submit(cluster: Sandbox):
    mine = with_token(cluster)
    mine.require_virtual_cluster("gpu")
    with pytest.raises(PaiError, match=r"'prod' does not exist on http.* or is not granted to op; granted: default, gpu"):
        mine.require_virtual_cluster("prod")


# Retries


def test_500_and_429_are_tried_again_as_long_as_the_server_asks_for(cluster: Sandbox):
    mine = with_token(cluster)
    submit(mine, "x")
    cluster.faults(
        {"do": "error", "status": 503, "path": "/api/v2/jobs/.*"},
        {"do": "too-many-requests", "retry_after_s": 2, "path": "/api/v2/jobs/.*", "skip": 1},
    )
    started = time.monotonic()
    found = mine.get_job("x")
    assert found is not None
    assert time.monotonic() - started >= 2


def test_the_end_of_the_servers_window_counts_and_not_its_length(cluster: Sandbox):
    reset = {"X-RateLimit-Reset": str(int(time.time()) + 2), "Retry-After": "3600"}
    cluster.proxy.fault("GET .*/jobs/", status=429, headers=reset, times=1)
    assert with_token(cluster).get_job("x") is None  # does not wait an hour


def test_a_wait_of_many_minutes_is_said_and_not_slept(cluster: Sandbox):
    cluster.proxy.fault("GET .*/jobs/", status=429, headers={"Retry-After": "1800"})
    with pytest.raises(PaiError, match=r"limits the rate of requests; try again in 30 min") as error:
        with_token(cluster).get_job("x")
    assert (error.value.retry_after_s, error.value.transient) == (1800, True)


def test_a_4xx_is_never_tried_again(cluster: Sandbox):
    mine = with_token(cluster)
    mine.info()
    with pytest.raises(PaiError, match=r"refuses this \(HTTP 400 InvalidParametersError\): Limit exceeds max number 50000\."):
        mine.call("GET", "/jobs", params={"limit": 50001})
    assert cluster.requests.count("GET /api/v2/jobs") == 1


def test_a_connection_that_breaks_is_made_again_for_a_get(cluster: Sandbox):
    mine = with_token(cluster)
    mine.info()
    cluster.faults({"do": "reset", "path": "/api/v2/jobs/.*"})
    assert mine.get_job("x") is None


# Reading


def test_a_listing_is_paged_by_offset_because_pages_may_be_short(cluster: Sandbox, monkeypatch: pytest.MonkeyPatch):
    mine = with_token(cluster)
    for number in range(5):
        submit(mine, f"x-{number}")
    monkeypatch.setattr(pai_client, "PAGE_SIZE", 2)
    # The server leaves rows out after it has cut a page.
    cluster.server.store._run("UPDATE jobs SET debug_id = 'odd' WHERE job_name = 'x-3'")
    jobs, total = mine.list_jobs(keyword="x-", state=["RUNNING", "WAITING"], vc=None)
    assert ([job["name"] for job in jobs], total) == (["x-4", "x-2", "x-1", "x-0"], 5)
    assert [job["name"] for job in mine.list_jobs(limit=3, offset=2)[0]] == ["x-2", "x-1", "x-0"]


def test_before_1_2_a_listing_is_one_list(cluster: Sandbox):
    jobs: Any = [{"name": name} for name in "abc"]
    cluster.proxy.fault("GET .*/jobs", status=200, body=jobs)
    mine = with_token(cluster)
    assert mine.list_jobs() == (jobs, 3)
    assert mine.list_jobs(limit=1, offset=1) == (jobs[1:2], 3)


def test_a_config_is_read_whatever_its_content_type(cluster: Sandbox):
    mine = with_token(cluster)
    submit(mine, "x")
    wanted = {**protocol.load_text(text("x"))[0], "secrets": "******"}
    assert mine.get_config("x") == wanted
    cluster.proxy.fault("GET .*/config", status=200, body=wanted)  # as JSON says that it is JSON
    assert mine.get_config("x") == wanted


def test_removing_a_tag_that_is_not_there_is_fine_and_a_missing_job_is_not(cluster: Sandbox):
    mine = with_token(cluster)
    submit(mine, "x")
    mine.add_tag("x", "t")
    mine.add_tag("x", "t")
    assert mine.get_job("x")["tags"] == ["t"]
    mine.remove_tag("x", "t")
    mine.remove_tag("x", "t")
    assert mine.get_job("x")["tags"] == []
    with pytest.raises(PaiError, match="Job op~none is not found"):
        mine.remove_tag("none", "t")


def test_stopping_what_has_ended_meanwhile_is_fine(tmp_path: Path):
    with sandbox(tmp_path, cleanup_after_s=0.0) as cluster:
        cluster.rules({"run_s": 0})
        mine = with_token(cluster, retries=0)
        submit(mine, "x")
        wait_for(lambda: (mine.get_job("x") or {})["jobStatus"]["subState"] == "Completed")
        with pytest.raises(PaiError, match="HTTP 500"):
            mine.call("PUT", "/jobs/op~x/executionType", json={"value": "STOP"})
        mine.stop("x")


def test_a_log_that_cannot_be_had_is_no_error(cluster: Sandbox):
    cluster.rules({"run_s": 0, "exit_code": 1, "log": "\n".join(str(number) for number in range(50))})
    mine = with_token(cluster)
    submit(mine, "x")
    wait_for(lambda: (mine.get_job("x") or {})["jobStatus"]["subState"] == "Completed")
    job = mine.get_job("x") or {}
    log = job["taskRoles"]["web"]["taskStatuses"][0]["containerLog"]
    assert mine.log_tail(log, 3) == ["47", "48", "49"]
    for odd in ("", "http://node:9103/log-manager/tail/x", log.replace("attempts/0", "attempts/7")):
        assert mine.log_tail(odd) == []


# Submitting


def test_a_submit_is_yaml_text_with_masked_secrets_and_sent_once(cluster: Sandbox):
    assert submit(with_token(cluster), "x") is True
    assert cluster.requests.count("POST /api/v2/jobs") == 1
    stored = cluster.job("x") or {}
    assert "secrets" in stored["config"]
    assert "hunter2" not in stored["config"]


@pytest.mark.parametrize("status", [500, 502, 504, 404])
@pytest.mark.parametrize("committed", [True, False])
def test_after_an_odd_answer_the_job_is_looked_up_before_it_is_sent_again(cluster: Sandbox, status: int, committed: bool):
    cluster.faults({"do": "error", "status": status, "method": "POST", "path": "/api/v2/jobs", "committed": committed})
    assert submit(with_token(cluster), "x") is True
    assert cluster.requests[1:] == [
        "POST /api/v2/jobs",
        "GET /api/v2/jobs/op~x/config",
        *([] if committed else ["POST /api/v2/jobs"]),
    ]
    assert cluster.job("x")


def test_an_answer_that_is_no_receipt_is_looked_up(cluster: Sandbox):
    cluster.proxy.fault("POST .*/jobs", status=200, body={"page": "of some proxy"}, times=1)
    assert submit(with_token(cluster), "x") is True
    assert cluster.requests.count("POST /api/v2/jobs") == 2


def test_a_taken_name_is_ours_only_when_it_holds_the_same_job(cluster: Sandbox):
    mine = with_token(cluster)
    submit(mine, "x")
    assert submit(mine, "x") is False  # somebody was first, with the same job
    with pytest.raises(PaiError, match=r"'x' is already used on http.*; OpenPAI never frees a name") as error:
        submit(mine, "x", "serve better")
    assert error.value.status == 409


def test_a_name_that_is_taken_by_another_job_is_said_after_an_odd_answer_too(cluster: Sandbox):
    mine = with_token(cluster)
    submit(mine, "x")
    cluster.proxy.log.clear()
    cluster.faults({"do": "error", "method": "POST", "path": "/api/v2/jobs"})
    with pytest.raises(PaiError, match=r"'x' is already used"):
        submit(mine, "x", "serve better")
    assert cluster.requests.count("POST /api/v2/jobs") == 1


def test_a_submit_that_is_refused_is_not_sent_again(cluster: Sandbox):
    mine = with_token(cluster)
    with pytest.raises(PaiError, match=r"refuses this \(HTTP 400 InvalidProtocolError\): .+"):
        pai_submit.submit(mine, "x", text("x").replace("type: job", "type: jop"), look(mine, "x"))
    with pytest.raises(PaiError, match=r"virtual cluster 'prod' does not exist on http.* or is not granted to op"):
        pai_submit.submit(mine, "x", text("x") + "defaults: {virtualCluster: prod}\n", look(mine, "x"))
    assert cluster.requests.count("POST /api/v2/jobs") == 2


def test_a_submit_that_never_works_says_that_no_job_was_made(cluster: Sandbox):
    cluster.faults({"do": "error", "method": "POST", "message": "database is down", "times": 0})
    with pytest.raises(PaiError, match=r"'x' could not be submitted and was not made: .*HTTP 500.*database is down"):
        submit(with_token(cluster), "x", timeout_s=0.3)
    assert cluster.job("x") is None


def test_a_submit_that_cannot_be_looked_up_says_that_it_is_not_known(cluster: Sandbox):
    cluster.faults(
        {"do": "reset", "method": "POST", "path": "/api/v2/jobs", "committed": True},
        {"do": "error", "method": "GET", "path": "/api/v2/jobs/.*", "times": 0},
    )
    with pytest.raises(PaiError, match=r"Whether the job 'x' was made on http.* is not known: .*Run this again when the cluster answers"):
        submit(with_token(cluster, retries=0), "x", timeout_s=0.3)
    cluster.faults()
    assert submit(with_token(cluster), "x") is False  # the second run finds it
    assert cluster.requests.count("POST /api/v2/jobs") == 2


def test_a_rate_limit_of_an_hour_is_said_at_once(cluster: Sandbox):
    cluster.faults({"do": "too-many-requests", "method": "POST", "path": "/api/v2/jobs", "retry_after_s": 3600, "times": 0})
    with pytest.raises(PaiError, match=r"'x' could not be submitted and was not made: .*limits the rate of requests; try again in 60 min"):
        submit(with_token(cluster), "x")
    assert cluster.requests.count("POST /api/v2/jobs") == 1


# Many jobs


def test_one_golden_job_among_five_thousand_takes_three_requests(cluster: Sandbox):
    name = "golden-OOB3-0123abcd-1"
    mine = with_token(cluster)
    submit(mine, name)
    mine.add_tag(name, "golden-current")
    wait_for(lambda: (mine.get_job(name) or {})["jobStatus"]["state"] == "RUNNING")
    fill.add_finished_jobs(cluster.server.store, 5000, "op")

    cluster.proxy.log.clear()
    mine = with_token(cluster)
    jobs, total = mine.list_jobs()
    assert (len(jobs), total) == (5001, 5001)
    found = next(job for job in jobs if "golden-current" in job["tags"])
    assert pai_detail.tasks_of(mine.get_job(found["name"]))[0]["urls"]["http"]
    assert cluster.requests == ["GET /api/v2/info", "GET /api/v2/jobs", f"GET /api/v2/jobs/op~{name}"]

    cluster.proxy.log.clear()
    params = {option: spec.get("default") for option, spec in pai_lookup.INFO_SPEC.items()}
    params |= {"address": cluster.proxy_url, "username": "op", "password": PASSWORD, "course": "OOB3"}
    result = pai_lookup.look_up(SimpleNamespace(params=params), Progress(None))
    assert (result["golden_job"]["name"], result["golden_job"]["ip"]) == (name, "127.0.0.1")
    *asked, goodbye = cluster.requests
    assert asked == ["POST /api/v2/authn/basic/login", "GET /api/v2/jobs", f"GET /api/v2/jobs/op~{name}"]
    assert goodbye == "DELETE /api/v2/authn/basic/logout"


def test_a_connection_that_is_refused_is_no_submit(cluster: Sandbox):
    mine = with_token(cluster, retries=0)
    mine.info()
    with socket.create_server(("127.0.0.1", 0)) as closed:
        mine._base = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(PaiError, match=r"Whether the job 'x' was made on .* is not known: .*Connection refused"):
        submit(mine, "x", timeout_s=0.2)
