"""The PAI sandbox answers as a real OpenPAI v1.8.1 did: recorded exchanges, sent again in order."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.transcripts.compare import differences
from tests.transcripts.replay import Replay, exchanges, unmatched

EXCHANGES = exchanges()
AT_LEAST = 170
#: What a job submitter does: none of these may be listed as unmatched.
NEVER_LISTED = ("login", "token", "logout", "submit", "job", "list", "stop", "start", "tag", "rate-limit")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[str]]:
    return Replay(tmp_path_factory.mktemp("replay")).run()


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: f"{exchange['number']:03d}-{exchange['name']}")
def test_a_recorded_exchange_is_answered_alike(exchange: dict[str, Any], found: dict[int, list[str]]) -> None:
    reason = unmatched().get(exchange["number"])
    if reason is None:
        assert found[exchange["number"]] == []
    else:
        assert found[exchange["number"]], "matches now: take it out of tests/transcripts/unmatched.yml"


def test_the_list_of_unmatched_exchanges_is_short_and_gives_reasons(found: dict[int, list[str]]) -> None:
    names = {exchange["number"]: exchange["name"] for exchange in EXCHANGES}
    assert len(names) == 200
    assert sum(not one for one in found.values()) >= AT_LEAST
    for number, reason in unmatched().items():
        assert len(reason) > 20
        assert not names[number].startswith(NEVER_LISTED)


# The comparison itself


def recorded(name: str) -> dict[str, Any]:
    """A recorded response to change."""
    return copy.deepcopy(next(exchange["response"] for exchange in EXCHANGES if exchange["name"] == name))


def answered(response: dict[str, Any], body: str) -> list[str]:
    return differences(response, response["status"], response["headers"], body)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"user": "admin", "token": "other", "admin": true}', []),
        ('{"user": "bob", "token": "other", "admin": true}', ["body.user: 'bob' instead of 'admin'"]),
        ('{"user": "admin", "token": 1, "admin": true}', ["body.token: number instead of str"]),
        ('{"user": "admin", "token": "other"}', ["body: keys missing ['admin'], too many []"]),
        ('{"user": "admin", "token": "x", "admin": true, "more": 1}', ["body: keys missing [], too many ['more']"]),
    ],
)
def test_the_comparison_sees_values_types_and_keys(body: str, expected: list[str]) -> None:
    assert answered(recorded("login-ok-json"), body) == expected


def test_the_comparison_sees_status_code_and_content_type() -> None:
    response = recorded("no-token")
    body = '{"code": "OtherError", "message": "Guest is not allowed to do this operation."}'
    headers = {**response["headers"], "content-type": "text/html"}
    assert differences(response, 403, headers, body.replace("OtherError", response["body"]["code"])) == [
        "status: 403 instead of 401",
        "content-type: text/html instead of application/json; charset=utf-8",
    ]
    assert answered(response, body) == ["body.code: 'OtherError' instead of 'UnauthorizedUserError'"]
