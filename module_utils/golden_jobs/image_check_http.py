"""Checks of what an image serves: status, headers, text, and its bytes against a file."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import image_check_bytes
from .background import Background

with contextlib.suppress(ImportError):  # engine.Engine says in one sentence what is missing
    import requests

_CHUNK_BYTES = 1 << 20
_MOST_BYTES = 256 << 20


class NoAnswer(Exception):
    """Why there was no complete answer, in a few words."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    """names in any case"""
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")


def get(url: str, timeout_s: float, follow: bool = True) -> Answer:
    """The complete answer within the time, redirects followed; NoAnswer otherwise."""
    request = Background(lambda: _get(url, timeout_s, follow))
    if not request.wait(timeout_s):  # requests' own timeout starts anew with each byte
        raise NoAnswer(f"no complete answer within {timeout_s:.0f} s")
    return request.result()


def _get(url: str, timeout_s: float, follow: bool) -> Answer:
    try:
        with requests.Session() as session:
            session.trust_env = False  # a proxy of the host has no business on loopback
            headers = {"Accept-Encoding": "identity"}  # the bytes as they are
            with session.get(url, timeout=timeout_s, allow_redirects=follow, headers=headers, stream=True) as response:
                body = bytearray()
                for chunk in response.iter_content(_CHUNK_BYTES):
                    body += chunk
                    if len(body) > _MOST_BYTES:
                        raise NoAnswer(f"more than {_MOST_BYTES >> 20} MiB")
                return Answer(response.status_code, response.headers, bytes(body))
    except requests.Timeout as error:
        raise NoAnswer(f"no answer within {timeout_s:.0f} s") from error
    except requests.TooManyRedirects as error:
        raise NoAnswer("it redirects for ever") from error
    except requests.RequestException as error:
        raise NoAnswer("the connection was refused or dropped") from error


def problem(address: str, check: Mapping[str, Any]) -> str | None:
    """What is wrong with the answer to a check's path, or None. `address`: `http://host:port`."""
    path = check["http"]
    wanted = 200 if check["status"] is None else check["status"]
    try:
        answer = get(address + path, check["timeout_s"], follow=not 300 <= wanted < 400)
    except NoAnswer as error:
        return f"{path} gives no answer ({error})"
    if answer.status != wanted:
        return f"{path} answers {answer.status} instead of {wanted}"
    return _header_problem(path, answer, check["header"] or {}) or _body_problem(path, answer, check)


def _header_problem(path: str, answer: Answer, wanted: Mapping[str, Any]) -> str | None:
    for name, pattern in wanted.items():
        value = answer.headers.get(name)
        if value is None:
            return f"{path} has no header {name}"
        if not re.search(str(pattern), value):
            return f"{path} has the header {name}: {value[:100]!r}, which does not match {str(pattern)!r}"
    return None


def _body_problem(path: str, answer: Answer, check: Mapping[str, Any]) -> str | None:
    if check["contains"] is not None and check["contains"] not in answer.text:
        return f"{path} does not contain {check['contains']!r}"
    if check["not_contains"] is not None and check["not_contains"] in answer.text:
        return f"{path} contains {check['not_contains']!r}"
    if not image_check_bytes.wanted(check):
        return None
    return image_check_bytes.problem(f"{path} serves", hashlib.sha256(answer.body).hexdigest(), check)
