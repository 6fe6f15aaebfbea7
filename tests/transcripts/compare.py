"""Does an answer of the sandbox match a recorded answer of the real server?

Status, ``code``, content type and JSON shape must be the same: keys and types everywhere, and the values too where they are
not a time, an id, an address or an explanation for people.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

_IDS = {"taskUid", "containerId", "appId", "token", "uid", "podUid", "key", "pubKey"}
_ADDRESSES = {"containerIp", "containerNodeName"}
# "message" is not among them: clients read it, and the sandbox says what the server says.
_TEXTS = {
    "description",
    "reason",
    "launcher",
    "appExitDiagnostics",
    "containerExitDiagnostics",
    "appExitTriggerMessage",
}
_TEXT_LISTS = {"repro", "solution", "tokens"}
_TIMES = {"iat", "exp"}
_RATE_LIMIT = "x-ratelimit-limit"


def _kind(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return "null" if value is None else "boolean"
    return "number" if isinstance(value, int | float) else type(value).__name__


def _is_free(key: str) -> bool:
    return key in _IDS | _ADDRESSES | _TEXTS | _TIMES or key.endswith(("Time", "Timestamp"))


def _lists(recorded: list[Any], found: list[Any], path: str, key: str) -> Iterator[str]:
    if key in _TEXT_LISTS:
        if not found and recorded:
            yield f"{path}: is empty"
        for index, (one, other) in enumerate(itertools.product(recorded[:1], found)):
            if _kind(one) != _kind(other):
                yield f"{path}[{index}]: {_kind(other)} instead of {_kind(one)}"
        return
    if len(recorded) != len(found):
        yield f"{path}: {len(found)} instead of {len(recorded)} elements"
        return
    if recorded and isinstance(recorded[0], dict) and "submissionTime" in recorded[0]:
        found = _in_recorded_order(recorded, found)
    for index, (one, other) in enumerate(zip(recorded, found, strict=True)):
        yield from _differences(one, other, f"{path}[{index}]", "")


def _in_recorded_order(recorded: list[Any], found: list[Any]) -> list[Any]:
    """Jobs of the same second come out of the real database in any order: among those the order does not count."""
    ordered: list[Any] = []
    for _time, group in itertools.groupby(recorded, key=lambda job: job["submissionTime"]):
        names = [(job["username"], job["name"]) for job in group]
        here = {(job.get("username"), job.get("name")): job for job in found[len(ordered) : len(ordered) + len(names)]}
        ordered += [here.get(name) for name in names]
    return ordered


def _differences(recorded: Any, found: Any, path: str, key: str) -> Iterator[str]:
    if _kind(recorded) != _kind(found):
        yield f"{path}: {_kind(found)} instead of {_kind(recorded)}"
    elif isinstance(recorded, dict):
        if set(recorded) != set(found):
            yield f"{path}: keys missing {sorted(set(recorded) - set(found))}, too many {sorted(set(found) - set(recorded))}"
        for name in recorded.keys() & found.keys():
            if key == "containerPorts":
                if recorded[name].count(",") != found[name].count(","):
                    yield f"{path}.{name}: {found[name]} instead of {recorded[name]}"
            else:
                yield from _differences(recorded[name], found[name], f"{path}.{name}", name)
    elif isinstance(recorded, list):
        yield from _lists(recorded, found, path, key)
    elif recorded != found and not _is_free(key):
        yield f"{path}: {found!r} instead of {recorded!r}"


def _content(body: Any) -> Any:
    """A body as data: configurations are JSON under another content type."""
    if isinstance(body, str) and body[:1] in ("{", "["):
        return json.loads(body)
    return body


def differences(recorded: dict[str, Any], status: int, headers: dict[str, str], body: str) -> list[str]:
    """What differs between a recorded response and an answer; empty when they match."""
    found: list[str] = []
    if status != recorded["status"]:
        found.append(f"status: {status} instead of {recorded['status']}")
    for name in ("content-type", _RATE_LIMIT, "retry-after"):
        if headers.get(name) != recorded["headers"].get(name):
            found.append(f"{name}: {headers.get(name)} instead of {recorded['headers'].get(name)}")
    is_json = "json" in headers.get("content-type", "")
    content = json.loads(body) if is_json else _content(body)
    return found + list(_differences(_content(recorded["body"]), content, "body", ""))
