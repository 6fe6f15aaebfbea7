"""Does a text, an environment or an image's history hold a secret? By names, by known forms of tokens, by URLs with a password.

A finding says where the secret is and what it is called, never what it is.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

_SECRET_WORDS = frozenset(
    [
        "password",
        "passwd",
        "passphrase",
        "passcode",
        "pwd",
        "pass",
        "token",
        "secret",
        "secrets",
        "credential",
        "credentials",
        "apikey",
        "accesskey",
        "secretkey",
        "privatekey",
        "key",
        "auth",
    ]
)
#: With one of these words a name is about something that everybody may see, or about the secret, but is not the secret.
_PUBLIC_WORDS = frozenset(["public", "pub", "gpg", "pgp", "host", "keyboard", "keyring"])
_ABOUT_WORDS = frozenset(
    [
        "file",
        "path",
        "dir",
        "url",
        "uri",
        "name",
        "type",
        "ttl",
        "expiry",
        "timeout",
        "length",
        "size",
        "count",
        "max",
        "min",
        "limit",
        "id",
        "ids",
        "version",
        "header",
        "endpoint",
        "sock",
        "socket",
        "provider",
        "stdin",
        "method",
        "mode",
        "class",
        "enabled",
        "disabled",
        "required",
        "algorithm",
    ]
)
_HARMLESS_VALUES = frozenset(["", "true", "false", "yes", "no", "on", "off", "none", "null", "0", "1"])
_WORKING_FOLDERS = frozenset(["PWD", "OLDPWD"])

#: What providers document as the form of their tokens.
_TOKENS: dict[str, re.Pattern[str]] = {
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY"),
    "an AWS access key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a GitHub token": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{40,})"),
    "a GitLab token": re.compile(r"\bglpat-[A-Za-z0-9_-]{20,}"),
    "a Slack token": re.compile(r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"),
    "a Hugging Face token": re.compile(r"\bhf_[A-Za-z0-9]{30,}"),
    "an npm token": re.compile(r"\bnpm_[A-Za-z0-9]{36}\b"),
    "a PyPI token": re.compile(r"\bpypi-[A-Za-z0-9_-]{40,}"),
    "a JSON web token": re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),
    "an authorization header": re.compile(r"(?i)\bauthorization:\s*(?:basic|bearer|token)\s+(?!\$)[A-Za-z0-9+/=._-]{6,}"),
}
_URL_LOGIN = re.compile(r"(?i)\b[a-z][a-z0-9+.-]*://(?P<user>[^\s/:@'\"$<{]*):(?P<password>[^\s/@'\"]+)@(?P<host>[^\s/:'\"]*)")
#: `NAME=value`, `--name=value` and `--name value`; the value may be quoted.
_VALUE = r"(?P<value>\"(?:[^\"\\]|\\.)*\"|'[^']*'|[^\s;&|)\"']*)"
_ASSIGNMENT = re.compile(rf"(?:^|(?<=[\s;&|('\"]))(?P<name>[A-Za-z_][\w.-]*)={_VALUE}")
_OPTION = re.compile(rf"(?:^|(?<=[\s\"'\[]))--?(?P<name>[A-Za-z][\w.-]+)(?:=|\s+(?!-)){_VALUE}")


def is_secret_name(name: str) -> bool:
    """Whether a variable or an option of this name usually holds a secret (`DB_PASSWORD`, `apiToken`, `--IdentityProvider.token`)."""
    if name in _WORKING_FOLDERS:
        return False
    words = re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower())
    if not words or words[-1] in _ABOUT_WORDS or _PUBLIC_WORDS.intersection(words):
        return False
    return not _SECRET_WORDS.isdisjoint(words)


def is_plain_value(value: str) -> bool:
    """Whether a value is more than a switch, a reference to a variable or file, or asterisks."""
    bare = value.strip(" \t\r\n\"'")
    if bare.lower() in _HARMLESS_VALUES or not bare.strip("*x.<>"):
        return False
    return not bare.startswith(("$", "`", "/", "<%", "{{"))


def in_value(text: str, allow: Collection[str] = ()) -> str | None:
    """What in a text looks like a secret whatever its name: `a URL with a password (host …)`, `a private key` …; None for nothing."""
    for login in _URL_LOGIN.finditer(text):
        what = f"a URL with a password (host {login['host']})"
        if is_plain_value(login["password"]) and login["host"] not in allow and what not in allow:
            return what
    return next((what for what, form in _TOKENS.items() if what not in allow and form.search(text)), None)


def is_secret(name: str, value: str) -> bool:
    """Whether a variable holds a secret, by its name or by its value."""
    return (is_secret_name(name) and is_plain_value(value)) or in_value(value) is not None


class Finding(NamedTuple):
    """`name`: of the variable or option, or what was found; `text`: a clause for people, without the secret."""

    name: str
    text: str


def in_environment(environment: Mapping[str, str], allow: Iterable[str] = ()) -> Iterator[Finding]:
    """One finding per variable that holds a secret."""
    allowed = set(allow)
    for name, value in environment.items():
        if name in allowed:
            continue
        if is_secret_name(name) and is_plain_value(value):
            yield Finding(name, f"the variable {name} looks like a secret")
        elif what := in_value(value, allowed):
            yield Finding(name, f"the variable {name} holds {what}")


def in_history(steps: Iterable[str], allow: Iterable[str] = ()) -> Iterator[Finding]:
    """One finding per secret in an image's steps, oldest first (the engine's `CreatedBy`, build arguments of RUN included)."""
    allowed = set(allow)
    for number, step in enumerate(steps, 1):
        named = [*_ASSIGNMENT.finditer(step), *_OPTION.finditer(step)]
        for found in named:
            name = found["name"]
            if name not in allowed and is_secret_name(name) and is_plain_value(found["value"]):
                allowed.add(name)  # said once
                yield Finding(name, f"step {number} of the history gives {name} a value that looks like a secret")
        rest = step
        for found in sorted(named, key=lambda found: found.start(), reverse=True):
            if found["name"] in allowed:
                rest = rest[: found.start()] + rest[found.end() :]
        if what := in_value(rest, allowed):
            allowed.add(what)
            yield Finding(what, f"step {number} of the history holds {what}")
