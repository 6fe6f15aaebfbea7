"""Tells a webhook about a run: JSON as it is, or in the forms of DingTalk's and WeCom's group robots.

Forms: open.dingtalk.com "custom robot" (markdown, signed) and developer.work.weixin.qq.com "group robot" (markdown, 4096 bytes).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import urllib.parse
from collections.abc import Mapping
from typing import Any

from .errors import GoldenJobsError

FORMS = ("json", "dingtalk", "wecom")
#: For a connection, and for each piece of an answer.
_TIMEOUT_S = (5, 10)
#: For all of it, and the most of an answer that is read.
_PATIENCE_S = 15
_ANSWER_BYTES = 4096
_WECOM_BYTES = 4000


def body(form: str, title: str, text: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """What is sent. `record` goes with the form `json` alone: a chat is for people."""
    if form == "dingtalk":
        return {"msgtype": "markdown", "markdown": {"title": title, "text": f"**{title}**\n\n{text}"}}
    if form == "wecom":
        content = f"**{title}**\n{text}".encode()[:_WECOM_BYTES].decode(errors="ignore")
        return {"msgtype": "markdown", "markdown": {"content": content}}
    return {"title": title, "text": text, "run": dict(record)}


def signed(url: str, secret: str, now_ms: int) -> str:
    """The address with DingTalk's signature: HMAC-SHA256 over `<ms>\\n<secret>`."""
    digest = hmac.new(secret.encode(), f"{now_ms}\n{secret}".encode(), hashlib.sha256).digest()
    sign = urllib.parse.quote_plus(base64.b64encode(digest))
    return f"{url}{'&' if '?' in url else '?'}timestamp={now_ms}&sign={sign}"


def tell(url: str, form: str, title: str, text: str, record: Mapping[str, Any], secret: str = "") -> None:
    """Send it once. Raises GoldenJobsError; the message never holds the address, which is a secret itself."""
    import requests  # noqa: PLC0415 - most runs tell nobody

    from .registry_api import is_loopback  # noqa: PLC0415

    if form not in FORMS:
        raise GoldenJobsError(f"The form {form!r} of report_webhook_form is not known; allowed: {', '.join(FORMS)}.")
    host = _host(url)
    if not host:
        raise GoldenJobsError("The address report_webhook_url is no URL; write http:// or https:// and a host.")
    target = signed(url, secret, int(time.time() * 1000)) if secret and form == "dingtalk" else url
    deadline_s = time.monotonic() + _PATIENCE_S
    with requests.Session() as session:
        session.trust_env = not is_loopback(host)
        try:
            # Not redirected: the record is for this address alone.
            answer = session.post(target, json=body(form, title, text, record), timeout=_TIMEOUT_S, stream=True, allow_redirects=False)
            said = _read(answer, deadline_s)
        except (requests.RequestException, OSError, ValueError) as error:
            raise GoldenJobsError(f"The webhook at {host} does not answer ({type(error).__name__}).") from None
    if not 200 <= answer.status_code < 300:
        raise GoldenJobsError(f"The webhook at {host} answers HTTP {answer.status_code}.")
    if form != "json":
        code, words = _refusal(said)
        if code:
            raise GoldenJobsError(f"The webhook at {host} refuses the message (errcode {code}: {words}).")


def _host(url: str) -> str:
    """The host of a web address; empty for what is none."""
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        return ""
    return (parts.hostname or "") if parts.scheme in ("http", "https") else ""


def _read(answer: Any, deadline_s: float) -> bytes:
    """The beginning of an answer; one that trickles in for ever is cut off. A longer piece would be waited for."""
    found = b""
    for byte in answer.iter_content(1):
        found += byte
        if time.monotonic() > deadline_s:
            raise TimeoutError
        if len(found) >= _ANSWER_BYTES:
            break
    return found


def _refusal(said: bytes) -> tuple[int, str]:
    """A robot says no with HTTP 200."""
    try:
        found = json.loads(said)
        return int(found.get("errcode") or 0), str(found.get("errmsg") or "")[:200]
    except (ValueError, TypeError, AttributeError):
        return 0, ""
