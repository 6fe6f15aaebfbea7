"""The client against a small server over real HTTP that answers as OpenPAI's recordings do."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from ansible.module_utils.golden_jobs import pai_client
from ansible.module_utils.golden_jobs.errors import GoldenJobsError
from ansible.module_utils.golden_jobs.pai_client import PaiClient, PaiError

INFO = {"name": "PAI RESTful API", "version": "v1.8.1", "launcherType": "k8s", "authnMethod": "basic"}
INVALID_TOKEN = (401, {"code": "UnauthorizedUserError", "message": "Your token is invalid."})
TOO_MANY = (429, "Too many requests, please try again later.")
NO_JOB = (404, {"code": "NoJobError", "message": "Job op~x is not found."})


class Server:
    """`answers[(method, path)]`: list of `(status, body)` or callables; the last one repeats. `seen`: what came in."""

    def __init__(self, prefix=""):
        self.prefix = prefix
        self.seen = []
        self.answers = {
            ("GET", "/api/v2/info"): [(200, INFO)],
            ("POST", "/api/v2/authn/basic/login"): [(200, {"user": "op", "token": "t1", "admin": False})],
            ("GET", "/api/v2/tokens/check"): [(200, {"username": "op", "application": False, "admin": False})],
            ("GET", "/api/v2/users/op"): [(200, {"username": "op", "admin": False, "virtualCluster": ["default", "gpu"]})],
        }
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                url = urlsplit(self.path)
                outer.seen.append((self.command, url.path, parse_qs(url.query), dict(self.headers), body))
                path = url.path.removeprefix(outer.prefix) if url.path.startswith(outer.prefix) else None
                queue = outer.answers.get(
                    (self.command, path), [(404, {"code": "NoApiError", "message": f"API {self.path} is not found."})]
                )
                answer = queue.pop(0) if len(queue) > 1 else queue[0]
                if callable(answer):
                    answer = answer(self)
                if answer is None:  # the connection is lost
                    self.connection.close()
                    self.close_connection = True
                    return
                status, content, *headers = answer
                data = (content if isinstance(content, str) else json.dumps(content)).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                for key, value in (headers[0] if headers else {}).items():
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_DELETE = handle_one

            def log_message(self, *_args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.http.handle_error = lambda *_args: None
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.http.server_address[1]}"

    def count(self, method, path):
        return sum((seen[0], seen[1]) == (method, self.prefix + path) for seen in self.seen)


@contextmanager
def serve(prefix=""):
    server = Server(prefix)
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()


@pytest.fixture
def server():
    with serve() as running:
        yield running


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(pai_client, "UNAUTHORIZED_PAUSES_S", (0.01, 0.01))
    monkeypatch.setattr(pai_client, "SUBMIT_PAUSES_S", (0.01, 0.01, 0.01))
    monkeypatch.setattr(pai_client._PaiRetry, "DEFAULT_BACKOFF_MAX", 0.01)


def client(server, **options):
    login = {"token": "app"} if "token" not in options and "username" not in options else {}
    return PaiClient(server.address, **login, **options)


@pytest.mark.parametrize(
    ("prefix", "ending"), [("", ""), ("", "/"), *[("/rest-server", ending) for ending in ("", "/", "/rest-server", "/rest-server/")]]
)
def test_the_address_may_have_the_prefix_of_the_web_portal_or_not(prefix, ending):
    with serve(prefix) as server:
        found = PaiClient(server.address + ending, token="app")
        assert found.info()["version"] == "v1.8.1"
        assert found.address == server.address


@pytest.mark.parametrize("address", ["pai.example.com", "ftp://x", "http://", ""])
def test_an_address_that_is_no_url_is_one_sentence(address):
    with pytest.raises(GoldenJobsError, match="is not a URL; write http:// or https://"):
        PaiClient(address, token="app")


def test_no_login_at_all_is_one_sentence():
    with pytest.raises(GoldenJobsError, match="give a token, or a user name and a password"):
        PaiClient("http://h", username="op")


def test_something_else_at_the_address_is_said(server):
    server.answers[("GET", "/api/v2/info")] = [(404, "404 page not found")]
    with pytest.raises(PaiError, match=r"http://127.0.0.1:\d+ answers, but not as OpenPAI \(HTTP 404"):
        client(server).whoami()


def test_a_cluster_that_is_down_is_one_sentence_with_its_address():
    with pytest.raises(PaiError, match=r"The cluster http://127.0.0.1:1 cannot be reached: Connection refused\.") as error:
        PaiClient("http://127.0.0.1:1", token="app", retries=1).info()
    assert error.value.transient


def test_a_name_that_does_not_resolve_is_one_sentence():
    with pytest.raises(PaiError, match=r"The cluster http://nowhere.invalid cannot be reached: .+") as error:
        PaiClient("http://nowhere.invalid", token="app", retries=0).info()
    assert "<" not in str(error.value)


def test_a_server_that_hangs_is_given_up_in_time(server):
    server.answers[("GET", "/rest-server/api/v2/info")] = [lambda _: time.sleep(5)]
    started = time.monotonic()
    with pytest.raises(PaiError, match=r"did not answer within 0.2 s"):
        client(server, timeout_s=0.2).info()
    assert time.monotonic() - started < 3


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((400, {"code": "NoUserError", "message": "x"}), "knows no user 'op'"),
        ((400, {"code": "IncorrectPasswordError", "message": "x"}), "refuses the password of 'op'"),
        ((400, {"code": "InvalidParametersError", "message": "x"}), "refuses the password of 'op'"),
    ],
)
def test_a_wrong_login_is_one_sentence_and_tried_once(server, answer, expected):
    server.answers[("POST", "/api/v2/authn/basic/login")] = [answer]
    with pytest.raises(PaiError, match=expected) as error:
        client(server, username="op", password="wrong").whoami()
    assert server.address in str(error.value)
    assert server.count("POST", "/api/v2/authn/basic/login") == 1


def test_a_password_on_an_oidc_cluster_says_what_to_do_instead(server):
    server.answers[("GET", "/api/v2/info")] = [(200, {**INFO, "authnMethod": "OIDC"})]
    with pytest.raises(PaiError, match="application token"):
        client(server, username="op", password="secret").whoami()
    assert server.count("POST", "/api/v2/authn/basic/login") == 0


def test_one_login_serves_many_calls(server):
    server.answers[("GET", "/api/v2/jobs/op~x")] = [NO_JOB]
    mine = client(server, username="op", password="secret")
    assert [mine.get_job("x"), mine.get_job("x"), mine.user] == [None, None, "op"]
    assert server.count("POST", "/api/v2/authn/basic/login") == 1


def test_a_token_not_yet_stored_right_after_the_login_is_tried_again(server):
    server.answers[("GET", "/api/v2/tokens/check")] = [INVALID_TOKEN, (200, {"username": "op"})]
    assert client(server, username="op", password="secret").user == "op"
    assert server.count("POST", "/api/v2/authn/basic/login") == 1


def test_a_token_that_expires_is_replaced_by_a_new_login(server):
    server.answers[("POST", "/api/v2/authn/basic/login")] = [(200, {"token": "t1"}), (200, {"token": "t2"})]
    mine = client(server, username="op", password="secret")
    assert mine.user == "op"
    server.answers[("GET", "/api/v2/jobs/op~x")] = [
        lambda request: (200, {"name": "x"}) if request.headers["Authorization"] == "Bearer t2" else INVALID_TOKEN
    ]
    assert mine.get_job("x") == {"name": "x"}
    assert server.count("POST", "/api/v2/authn/basic/login") == 2


def test_a_bad_token_is_one_sentence(server):
    server.answers[("GET", "/api/v2/tokens/check")] = [INVALID_TOKEN]
    with pytest.raises(PaiError, match="does not accept the token: it is wrong, expired or revoked") as error:
        client(server).whoami()
    assert error.value.status == 401


def test_before_1_6_the_token_names_its_user(server):
    server.answers[("GET", "/api/v2/tokens/check")] = [(404, {"code": "NoApiError", "message": "x"})]
    assert client(server, token="e30.eyJ1c2VybmFtZSI6Im9wIn0.sig").user == "op"


def test_a_virtual_cluster_that_is_not_granted_is_said_before_a_submit(server):
    mine = client(server)
    mine.require_virtual_cluster("gpu")
    with pytest.raises(PaiError, match=r"'prod' does not exist on http.* or is not granted to op; granted: default, gpu"):
        mine.require_virtual_cluster("prod")


def test_500_and_429_are_tried_again_as_long_as_the_server_asks_for(server):
    wait = {"X-RateLimit-Reset": str(int(time.time()) + 1), "Retry-After": "3600"}
    server.answers[("GET", "/api/v2/jobs/op~x")] = [(500, {"message": "x"}), (*TOO_MANY, wait), (200, {"name": "x"})]
    started = time.monotonic()
    assert client(server).get_job("x") == {"name": "x"}
    assert 0.9 < time.monotonic() - started < 10


def test_a_4xx_is_never_tried_again(server):
    server.answers[("GET", "/api/v2/jobs")] = [(400, {"code": "InvalidParametersError", "message": "Limit exceeds max number 50000."})]
    with pytest.raises(PaiError, match=r"refuses this \(HTTP 400 InvalidParametersError\): Limit exceeds max number 50000\."):
        client(server).list_jobs()
    assert server.count("GET", "/api/v2/jobs") == 1


def test_a_listing_is_paged_by_offset_because_pages_may_be_short(server, monkeypatch):
    monkeypatch.setattr(pai_client, "PAGE_SIZE", 2)
    pages = {"0": [{"name": "a"}], "2": [{"name": "b"}, {"name": "c"}], "4": [{"name": "d"}]}
    server.answers[("GET", "/api/v2/jobs")] = [
        lambda request: (200, {"totalCount": 5, "data": pages[parse_qs(urlsplit(request.path).query)["offset"][0]]})
    ]
    assert [job["name"] for job in client(server).list_jobs(keyword="golden-", state=["RUNNING", "WAITING"], vc=None)] == list("abcd")
    query = server.seen[-1][2]
    assert (query["keyword"], query["state"], query["withTotalCount"], "vc" in query) == (["golden-"], ["RUNNING,WAITING"], ["true"], False)


def test_before_1_2_a_listing_is_one_list(server):
    server.answers[("GET", "/api/v2/jobs")] = [(200, [{"name": "a"}])]
    assert client(server).list_jobs() == [{"name": "a"}]


def test_a_config_is_read_whatever_its_content_type(server):
    server.answers[("GET", "/api/v2/jobs/op~x/config")] = [
        (200, '{"name":"x","secrets":"******"}', {"Content-Type": "text/yaml; charset=utf-8"}),
        (200, "name: x\nsecrets: '******'\n"),
    ]
    mine = client(server)
    assert mine.get_config("x") == mine.get_config("x") == {"name": "x", "secrets": "******"}


def test_removing_a_tag_that_is_not_there_is_fine_and_a_missing_job_is_not(server):
    server.answers[("DELETE", "/api/v2/jobs/op~x/tag")] = [(404, {"code": "NoTagError", "message": "x"}), NO_JOB]
    mine = client(server)
    mine.remove_tag("x", "t")
    assert json.loads(server.seen[-1][4]) == {"value": "t"}
    with pytest.raises(PaiError, match="Job op~x is not found"):
        mine.remove_tag("x", "t")


SUBMIT = ("POST", "/api/v2/jobs")
ACCEPTED = (202, {"status": 202, "message": "ok"})


def test_a_submit_is_yaml_text_and_sent_once(server):
    server.answers[SUBMIT] = [ACCEPTED]
    client(server).submit("x", "name: x\n")
    *_, headers, body = server.seen[-1]
    assert (headers["Content-Type"], body) == ("text/yaml", "name: x\n")
    assert server.count(*SUBMIT) == 1


@pytest.mark.parametrize("first", [None, (500, {"message": "x"}), (502, "bad gateway"), (404, {"code": "NoJobError", "message": "x"})])
@pytest.mark.parametrize("made", [True, False])
def test_after_an_odd_answer_the_job_is_looked_up_before_it_is_sent_again(server, first, made):
    jobs = set()

    def take(_request):
        jobs.add("x") if made or server.count(*SUBMIT) > 1 else None
        return first if server.count(*SUBMIT) == 1 else ACCEPTED

    server.answers[SUBMIT] = [take]
    asked = []
    client(server).submit("x", "name: x\n", lambda name: asked.append(name) or name in jobs)
    assert server.count(*SUBMIT) == (1 if made else 2)
    assert asked == ["x"]
    assert jobs == {"x"}


def test_a_taken_name_is_ours_only_when_it_holds_the_same_job(server):
    server.answers[SUBMIT] = [(409, {"code": "ConflictJobError", "message": "Job name x already exists."})]
    client(server).submit("x", "name: x\n", lambda _: True)
    with pytest.raises(PaiError, match=r"'x' is already used on http.*; OpenPAI never frees a name") as error:
        client(server).submit("x", "name: x\n", lambda _: False)
    assert error.value.status == 409


def test_a_submit_that_is_refused_is_not_sent_again(server):
    failures = json.dumps([{"keyword": "type", "dataPath": ".taskRoles.a", "message": "should be object"}])
    server.answers[SUBMIT] = [(400, {"code": "InvalidProtocolError", "message": failures})]
    with pytest.raises(PaiError, match=r"refuses this \(HTTP 400 InvalidProtocolError\): .taskRoles.a should be object\."):
        client(server).submit("x", "name: x\n")
    server.answers[SUBMIT] = [(403, {"code": "ForbiddenUserError", "message": "User op is not allowed to do operation in prod"})]
    with pytest.raises(PaiError, match=r"virtual cluster 'prod' does not exist on http.* or is not granted to op"):
        client(server).submit("x", "name: x\n")
    assert server.count(*SUBMIT) == 2


def test_a_submit_that_never_works_says_that_no_job_was_made(server):
    server.answers[SUBMIT] = [(500, {"message": "database is down"})]
    with pytest.raises(PaiError, match=r"'x' could not be submitted and was not made: .*HTTP 500.*database is down"):
        client(server).submit("x", "name: x\n", lambda _: False)


def test_a_log_that_cannot_be_had_is_no_error(server):
    log = "/api/v2/jobs/op~x/attempts/0/taskRoles/a/taskIndex/0/attempts/0/logs"
    mine = client(server)
    assert mine.log_tail(log) == []
    assert mine.log_tail("") == []
    server.answers[("GET", log)] = [(200, {"locations": [{"name": "all", "uri": "/log-manager/n:9103/x?token=y"}]})]
    server.answers[("GET", "/log-manager/n:9103/x")] = [(200, "\n".join(str(n) for n in range(50)))]
    assert mine.log_tail(log, 3) == ["47", "48", "49"]
    assert [seen[2] for seen in server.seen if seen[1] == log][-1] == {"tail-mode": ["true"]}
