"""What an engine's words about a registry mean: what to do now, or whether to try again."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .engine import login_refused, registry_host
from .errors import GoldenJobsError
from .retry import TryAgain

RATE_LIMITED = re.compile(r"toomanyrequests|too many requests|rate limit|rate exceeded|HTTP (status: )?429\b", re.IGNORECASE)
# Go says "deadline exceeded" and "Client.Timeout exceeded" of time.
_FULL = re.compile(
    r"no space left|quota|(?<!deadline )(?<!timeout )exceed|insufficient storage|disk full|HTTP (status: )?507\b",
    re.IGNORECASE,
)
_TOO_LARGE = re.compile(r"HTTP (status: )?413\b|entity too large", re.IGNORECASE)
_UNKNOWN_NAME = re.compile(
    r"name[ _]unknown|repository name not known|repository .* (not found|does not exist)|project .* not found", re.IGNORECASE
)
_DENIED = re.compile(r"\bdenied\b|insufficient_scope|forbidden|HTTP (status: )?403\b", re.IGNORECASE)
_UNAUTHORIZED = re.compile(r"unauthorized|authentication required|no basic auth|HTTP (status: )?401\b|401 Unauthorized", re.IGNORECASE)
_PLAIN_HTTP = re.compile(r"server gave HTTP response to HTTPS client", re.IGNORECASE)
_CERTIFICATE = re.compile(r"x509:|tls: (bad|unknown|failed to verify|certificate)", re.IGNORECASE)
_PASSING = re.compile(
    r"connection refused|connection reset|\bEOF\b|timed? ?out|deadline exceeded|timeout exceeded|broken pipe|no such host|temporar|closed network"
    r"|no route to host|network is unreachable|server misbehaving|HTTP (status: )?5\d\d\b|unavailable|bad gateway|internal server error",
    re.IGNORECASE,
)


def is_login(text: str) -> bool:
    """Whether the words mean that the registry does not know us, not that it knows us and refuses."""
    return bool(_UNAUTHORIZED.search(text)) and not _DENIED.search(text)


#: What is wrong and what to do, by the words. Order matters: quotas come as "denied", and rate limits speak of limits that were exceeded.
_MEANINGS = (
    (
        _TOO_LARGE,
        "The registry {host} refuses a layer of {name} as too large (HTTP 413): raise the project's quota, or the body limit of the proxy before it.",
    ),
    (_FULL, "The registry {host} has no room for {name}: free space there, or raise the project's quota ({text})."),
    (_UNKNOWN_NAME, "The registry {host} has no repository {name}: create it (or its project) there, or correct the option name ({text})."),
    (_DENIED, "The registry {host} does not let {user} push to {name}: {remedy} ({text})."),
    (_PLAIN_HTTP, "The registry {host} speaks plain HTTP: give it a certificate, or add it to insecure-registries of the engine."),
    (
        _CERTIFICATE,
        "The engine does not trust the certificate of the registry {host}: put its CA in /etc/docker/certs.d/{host}/ca.crt on the engine's host ({text}).",
    ),
)


def refusal(text: str, reference: str, login: Mapping[str, str] | None) -> GoldenJobsError | None:
    """The error when the words are those of a known refusal, which no further attempt can change; else None."""
    text = _one_line(text)
    host = registry_host(reference)
    if RATE_LIMITED.search(text):
        return None
    if is_login(text):
        return GoldenJobsError(login_refused("unauthorized", host, login) or text)
    user = f"user {login['username']!r}" if login else "anybody without a login"
    remedy = "grant that right there, or correct the option name" if login else "set registry_username and registry_password"
    for pattern, sentence in _MEANINGS:
        if pattern.search(text):
            return GoldenJobsError(sentence.format(host=host, name=_repository(reference), user=user, remedy=remedy, text=text))
    return None


def fault(text: str, reference: str, login: Mapping[str, str] | None, what: str) -> GoldenJobsError:
    """The error for an engine's words `text` about `reference` (`host/name:tag`): TryAgain where another attempt may help.

    `what` begins the sentence where the words are not those of a known refusal.
    """
    text = _one_line(text)
    if RATE_LIMITED.search(text):
        return TryAgain(f"The registry {registry_host(reference)} has had too many requests: {text}.")
    if refused := refusal(text, reference, login):
        return refused
    return (TryAgain if _PASSING.search(text) else GoldenJobsError)(f"{what}: {text}.")


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")


def _repository(reference: str) -> str:
    head, slash, last = reference.partition("@")[0].rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"
