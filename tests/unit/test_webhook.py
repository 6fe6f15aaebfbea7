"""What a webhook is sent, by a real HTTP server that is told; whatever goes wrong is one sentence without the secret address."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from urllib.parse import parse_qs, urlsplit

import pytest
from ansible.module_utils.golden_jobs import webhook
from ansible.module_utils.golden_jobs.errors import GoldenJobsError

from tests.hook import Hook
from tests.support import free_ports

RECORD = {"playbook": "rollout", "outcome": "failed", "by": "alice@desk"}


def tell(url: str, form: str = "json", secret: str = "") -> None:
    webhook.tell(url, form, "Golden Jobs: rollout failed", "rollout (OOB3): failed after 3 s", RECORD, secret)


def test_json_brings_the_whole_record():
    with Hook() as hook:
        tell(hook.url)
    assert hook.heard == [
        (
            "/robot/send?access_token=t0p-s3cret",
            {"title": "Golden Jobs: rollout failed", "text": "rollout (OOB3): failed after 3 s", "run": RECORD},
        )
    ]


def test_dingtalk_is_signed_as_its_robots_want_it():
    with Hook() as hook:
        tell(hook.url, "dingtalk", "SEC0123")
    ((path, message),) = hook.heard
    assert message["msgtype"] == "markdown"
    assert message["markdown"] == {
        "title": "Golden Jobs: rollout failed",
        "text": "**Golden Jobs: rollout failed**\n\nrollout (OOB3): failed after 3 s",
    }
    query = {name: value[0] for name, value in parse_qs(urlsplit(path).query).items()}
    assert query["access_token"] == "t0p-s3cret"
    assert abs(int(query["timestamp"]) - time.time() * 1000) < 60_000
    digest = hmac.new(b"SEC0123", f"{query['timestamp']}\nSEC0123".encode(), hashlib.sha256).digest()
    assert query["sign"] == base64.b64encode(digest).decode()
    assert "SEC0123" not in path


def test_wecom_gets_markdown_of_at_most_4096_bytes():
    with Hook() as hook:
        webhook.tell(hook.url, "wecom", "标题", "失败" * 2000, RECORD)
    ((path, message),) = hook.heard
    assert path == "/robot/send?access_token=t0p-s3cret"
    assert message["msgtype"] == "markdown"
    assert message["markdown"]["content"].startswith("**标题**\n失败")
    assert 3900 < len(message["markdown"]["content"].encode()) <= 4096


@pytest.mark.parametrize(
    ("hook", "form", "words"),
    [
        (Hook(500), "json", "answers HTTP 500"),
        (Hook(302), "json", "answers HTTP 302"),
        (
            Hook(answer=b'{"errcode": 310000, "errmsg": "sign not match"}'),
            "dingtalk",
            "refuses the message (errcode 310000: sign not match)",
        ),
        (Hook(answer=b'{"errcode": 93000, "errmsg": "invalid webhook url"}'), "wecom", "errcode 93000"),
    ],
)
def test_a_refusal_is_said_without_the_address(hook: Hook, form: str, words: str):
    with hook, pytest.raises(GoldenJobsError) as refused:
        tell(hook.url, form, "SEC0123")
    assert words in str(refused.value)
    assert "127.0.0.1" in str(refused.value)
    assert not [secret for secret in ("t0p-s3cret", "SEC0123", "robot/send") if secret in str(refused.value)]
    assert len(hook.heard) == 1


@pytest.mark.parametrize("piece_s", [0.02, 60.0])
def test_one_that_is_slow_costs_its_patience_at_most(monkeypatch: pytest.MonkeyPatch, piece_s: float):
    """An answer that trickles in for ever, and one that does not come."""
    monkeypatch.setattr(webhook, "_TIMEOUT_S", (0.3, 0.3))
    monkeypatch.setattr(webhook, "_PATIENCE_S", 0.5)
    began = time.monotonic()
    with Hook(piece_s=piece_s) as hook, pytest.raises(GoldenJobsError, match="does not answer"):
        tell(hook.url)
    assert time.monotonic() - began < 5


def test_one_that_is_down_is_one_sentence():
    with pytest.raises(GoldenJobsError) as down:
        tell(f"http://127.0.0.1:{free_ports(1)}/robot?access_token=t0p-s3cret")
    assert str(down.value) == "The webhook at 127.0.0.1 does not answer (ConnectionError)."


@pytest.mark.parametrize("url", ["hooks.example/x", "ftp://hooks.example/x", "https://", "http:///robot", "http://[::1", "javascript:1"])
def test_what_is_no_address_is_refused_before_anything_is_sent(url: str):
    with pytest.raises(GoldenJobsError, match="report_webhook_url is no URL; write http:// or https:// and a host"):
        tell(url)


def test_an_unknown_form_lists_the_known_ones():
    with pytest.raises(GoldenJobsError, match="allowed: json, dingtalk, wecom"):
        tell("http://127.0.0.1:1/", "slack")
