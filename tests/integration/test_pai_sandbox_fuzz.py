"""The PAI sandbox against requests made from the server's own API description: no crash, no 5xx that OpenPAI would not give."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode

from tests.support import ROOT, free_ports

sys.path.insert(0, str(ROOT / "roles" / "pai_sandbox" / "files"))

from pai_sandbox.server import Sandboxes
from pai_sandbox.settings import Settings

DESCRIPTION = json.loads((ROOT / "tests" / "transcripts" / "openpai-api.json").read_text(encoding="utf-8"))
SCHEMA = schemathesis.openapi.from_dict(DESCRIPTION)
OPERATIONS = [operation.ok() for operation in SCHEMA.get_all_operations()]
EXAMPLES = 16
#: The 5xx that the real server gives, by what it says (rest-reference.md §3, §5, §8, §13; recorded ones among them).
KNOWN_500 = re.compile(
    r"req\.query\.\w+\.split is not a function|column \"nan\" does not exist|(LIMIT|OFFSET) must not be negative|bigint out of range"
    r"|Cannot destructure property `username` of 'undefined' or 'null'\.|jwt expired|invalid signature|Cannot convert undefined or null to object"
    r"|invalid input syntax for type integer: \"NaN\"|value \".*\" is out of range for type integer|value too long for type character varying\(512\)"
    r"|Unexpected end of JSON input"
    r"|Failed to get log list|template\.indexOf is not a function|Unclosed tag at \d+|(Unclosed|Unopened) section \".*\" at \d+"
    r"|[^\n]+ at line \d+, column \d+:.*|the stream contains non-printable characters",
    re.DOTALL,
)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("fuzz")
    users = [{"username": name, "password": f"{name}-password", "admin": name == "root"} for name in ("root", "alice")]
    (folder / "users.json").write_text(json.dumps({"users": users}))
    limits = {"requests_per_minute": 0, "lists_per_minute": 0, "submits_per_hour": 0}
    one = Settings("pai-f", folder / "state", folder / "users.json", free_ports(1), containers=False, settle_s=0.02, poll_s=0.05, **limits)
    with Sandboxes([one]) as sandboxes:
        yield sandboxes.url("pai-f")


class Client:
    """Sends cases as an admin, as a user, with an application token and as nobody."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session = requests.Session()
        self._session.trust_env = False
        self._tokens = {name: self._login(name) for name in ("root", "alice")}
        answer = self._session.post(f"{url}/api/v2/tokens/application", headers=self._headers("alice"), timeout=10)
        self._tokens["application"] = str(answer.json()["token"])

    def _login(self, name: str) -> str:
        answer = self._session.post(f"{self._url}/api/v2/tokens", json={"username": name, "password": f"{name}-password"}, timeout=10)
        return str(answer.json()["token"])

    def _headers(self, who: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self._tokens[who]}"} if who in self._tokens else {}

    def send(self, case: Case, who: str) -> requests.Response:
        arguments = {**case.as_transport_kwargs(base_url=self._url, headers=self._headers(who)), "timeout": 10, "allow_redirects": False}
        answer = self._session.request(**arguments)
        if case.operation.label.endswith("/logout") and answer.status_code == 200:
            self._tokens[who] = self._login(who)
        return answer

    def alive(self) -> bool:
        return self._session.get(f"{self._url}/api/v2/info", timeout=10).status_code == 200


@pytest.fixture(scope="module")
def client(url: str) -> Client:
    return Client(url)


def check(answer: requests.Response, request: Any) -> None:
    if answer.status_code >= 500:
        assert KNOWN_500.fullmatch(answer.json()["message"]), (request, answer.text)
    elif answer.status_code >= 400 and "json" in answer.headers["content-type"]:
        assert answer.json() is None or answer.json()["message"], (request, answer.text)


def cases(operation: Any) -> Any:
    """Requests as they are described and, where something can be broken, broken ones."""
    described = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    if not (list(operation.iter_parameters()) or operation.body):
        return described
    return described | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_no_request_crashes_the_server(operation: Any, client: Client, caplog: pytest.LogCaptureFixture) -> None:
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases(operation), who=st.sampled_from(["root", "alice", "application", "nobody"]))
    def send(case: Case, who: str) -> None:
        check(client.send(case, who), (case.method, case.formatted_path, case.query, case.body))

    with caplog.at_level(logging.ERROR, logger="pai_sandbox"):
        send()
    assert [record.message for record in caplog.records] == []
    assert client.alive()
