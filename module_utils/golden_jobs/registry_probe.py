"""Asks a registry directly why it does not take an image, when the engine's words hide it.

An engine passes on neither the header Retry-After nor the body of a 5xx, in which a registry says that its disk is full,
and repeats an upload for a minute that a registry has refused for good. Asked is the way an upload begins; the upload
is given up again. The login goes only where the engine sends it: to HTTPS, or to a registry that the engine calls insecure.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

from .engine import registry_host
from .registry_api import host_name, is_loopback

with contextlib.suppress(ImportError):  # engine.Engine says in one sentence what is missing
    import requests

_TIMEOUT_S = (3, 5)
_CERTIFICATES = "/etc/docker/certs.d"
_HUB = "registry-1.docker.io"


@dataclass
class Answer:
    """`retry_after_s`: the header Retry-After in seconds, None where there is none."""

    status: int
    text: str
    retry_after_s: float | None

    @property
    def words(self) -> str:
        """The answer as an engine would put it. A registry tells of its disk by a number (distribution's filesystem driver)."""
        if number := re.search(r'"Err": ?(28|122)\b', self.text):
            return f"HTTP {self.status}: {os.strerror(int(number.group(1))).lower()}"
        return f"HTTP {self.status}: {' '.join(self.text.split())[:300]}"


class Probe:
    """One registry as seen from this host; `info` is the engine's description of itself."""

    def __init__(self, name: str, login: Mapping[str, str] | None, info: Mapping[str, Any], engine_url: str) -> None:
        host = registry_host(name)
        path = name[len(host) + 1 :] if name.startswith(f"{host}/") else name
        self._path = path if host != "docker.io" or "/" in path else f"library/{path}"
        self._login = (login["username"], login["password"]) if login else None
        self._insecure = is_insecure(host, info)
        # A loopback registry of an engine on another machine is not the one that we would reach.
        self._reachable = not (is_loopback(host) and _is_remote(engine_url))
        self._host = _HUB if host == "docker.io" else host
        ca = f"{_CERTIFICATES}/{host}/ca.crt"
        self._verify: bool | str = not self._insecure if self._insecure or not os.access(ca, os.R_OK) else ca

    def ask(self, upload: bool = True) -> Answer | None:
        """The registry's first answer that is not OK, or its last; None when it cannot be reached from here.

        With `upload` false only its front door is asked, without a login.
        """
        if not self._reachable:
            return None
        with requests.Session() as session:
            session.trust_env = not self._insecure
            session.verify = self._verify
            with contextlib.suppress(requests.exceptions.RequestException, ValueError, KeyError, TypeError):
                for scheme in ("https", "http") if self._insecure else ("https",):
                    base = f"{scheme}://{self._host}/v2/"
                    try:
                        door = session.get(base, timeout=_TIMEOUT_S)
                    except requests.exceptions.RequestException:
                        continue
                    return _answer(door if not upload or door.status_code not in (200, 401) else self._upload(session, base, door))
        return None

    def _upload(self, session: Any, base: str, door: Any) -> Any:
        """Begin an upload and give it up again."""
        headers, login = {}, None
        challenge = door.headers.get("WWW-Authenticate", "")
        if challenge.lower().startswith("bearer "):
            asked = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
            realm = asked.pop("realm")
            if urlsplit(realm).scheme != "https" and not self._insecure:
                return door
            scope = f"repository:{self._path}:pull,push"
            token = session.get(realm, params={"service": asked.get("service", ""), "scope": scope}, auth=self._login, timeout=_TIMEOUT_S)
            if token.status_code != 200:
                return token
            body = token.json()
            headers["Authorization"] = f"Bearer {body.get('token') or body['access_token']}"
        elif challenge:
            login = self._login
        begun = session.post(f"{base}{self._path}/blobs/uploads/", headers=headers, auth=login, timeout=_TIMEOUT_S)
        if begun.status_code == 202 and "Location" in begun.headers:
            session.delete(urljoin(begun.url, begun.headers["Location"]), headers=headers, auth=login, timeout=_TIMEOUT_S)
        return begun


def is_insecure(host: str, info: Mapping[str, Any]) -> bool:
    """Whether the engine talks to this registry without a valid certificate, or without TLS."""
    config = info.get("RegistryConfig") or {}
    if host in (config.get("IndexConfigs") or {}):
        return not config["IndexConfigs"][host].get("Secure", True)
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address("127.0.0.1" if host_name(host) == "localhost" else host_name(host))
        return any(address in ipaddress.ip_network(network) for network in config.get("InsecureRegistryCIDRs") or [])
    return False


def retry_after_s(value: str | None, now: float) -> float | None:
    """The header Retry-After: a number of seconds or a date (RFC 9110, 10.2.3). `now` in epoch seconds."""
    if not value:
        return None
    if value.strip().isdigit():
        return float(value)
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    return None


def _answer(response: Any) -> Answer:
    return Answer(response.status_code, response.text, retry_after_s(response.headers.get("Retry-After"), time.time()))


def _is_remote(engine_url: str) -> bool:
    parts = urlsplit(engine_url)
    # The SDK calls an engine behind SSH "http+docker://ssh", one behind a socket "http+docker://localhost".
    return parts.netloc == "ssh" or (parts.scheme in ("http", "https") and not is_loopback(parts.netloc))
