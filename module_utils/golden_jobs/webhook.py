"""Tells a webhook about a run: JSON as it is, or in the forms of DingTalk's and WeCom's group robots.

Forms: open.dingtalk.com "custom robot" (markdown, signed) and developer.work.weixin.qq.com "group robot" (markdown, 4096 bytes).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
import urllib.parse
from collections.abc import Mapping
from typing import Any

from .errors import GoldenJobsError

FORMS = ("json", "dingtalk", "wecom")
_TIMEOUT_S = (5, 10)
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

    if form not in FORMS:
        raise GoldenJobsError(f"The form {form!r} of report_webhook_form is not known; allowed: {', '.join(FORMS)}.")
    if not url.startswith(("http://", "https://")):
        raise GoldenJobsError("The address report_webhook_url is no URL; write http:// or https:// and a host.")
    target = signed(url, secret, int(time.time() * 1000)) if secret and form == "dingtalk" else url
    host = urllib.parse.urlsplit(url).hostname
    try:
        answer = requests.post(target, json=body(form, title, text, record), timeout=_TIMEOUT_S)
    except requests.RequestException as error:
        raise GoldenJobsError(f"The webhook at {host} does not answer ({type(error).__name__}).") from None
    if not answer.ok:
        raise GoldenJobsError(f"The webhook at {host} answers HTTP {answer.status_code}.")
    if form != "json":
        code, words = _refusal(answer)
        if code:
            raise GoldenJobsError(f"The webhook at {host} refuses the message (errcode {code}: {words}).")


def _refusal(answer: Any) -> tuple[int, str]:
    """A robot says no with HTTP 200."""
    try:
        found = answer.json()
        return int(found.get("errcode") or 0), str(found.get("errmsg") or "")[:200]
    except (ValueError, AttributeError):
        return 0, ""
