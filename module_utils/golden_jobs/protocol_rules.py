"""Checks a job before it is sent: the server's schema and references, and what only bites inside the cluster."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from .errors import GoldenJobsError
from .protocol_merge import split_registry
from .protocol_render import TEMPLATE_TAG, look_up, template_names
from .protocol_schema import JOB_SCHEMA
from .protocol_text import BODY_LIMIT_BYTES, MASK, Path, Source, dump_yaml

#: A place, and what is wrong there.
Problem = tuple[Path, str]

#: The web portal's rule; the container runtime loses a task role whose name it has to convert.
TASK_ROLE_NAME = re.compile(r"[a-z0-9]{1,63}")

_PLUGINS = "com.microsoft.pai.runtimeplugin"
_SECRET_TAG = re.compile(r"<%\s*\$secrets\.([A-Za-z0-9_-]+)[^%]*%>")
#: Mustache's other tags: the server drops them without a word, or answers with a 500.
_OTHER_TAG = re.compile(r"<%\s*[#^/>&!={]")


def validate(protocol: Any, source: Source | str = "job") -> None:
    """Raise GoldenJobsError for the first problem; `details["problems"]` lists all of them as sentences."""
    where = source if isinstance(source, Source) else Source(source)
    found = problems(protocol, where)
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise GoldenJobsError(f"{found[0]}{more}.", problems=found)


def problems(protocol: Any, source: Source) -> list[str]:
    """Every rule that the document breaks, as `<where>: <what is wrong>; <what is allowed>`.

    Schema errors come alone: the other checks need a document of the right shape.
    """
    found = _schema_problems(protocol) or [
        *_prerequisite_problems(protocol),
        *_task_role_problems(protocol),
        *_deployment_problems(protocol),
        *_extras_problems(protocol),
        *_hived_problems(protocol),
        *_whole_problems(protocol),
    ]
    return [f"{source.at(path)}: {text}" for path, text in found]


def _schema_problems(protocol: Any) -> list[Problem]:
    try:
        # Here and not above: it costs 0.1 s, and most calls of the modules validate nothing.
        from jsonschema import Draft7Validator  # noqa: PLC0415
    except ImportError:
        raise GoldenJobsError("The Python package jsonschema is missing where this module runs: pip install jsonschema.") from None
    if not isinstance(protocol, dict):
        return [((), "a job is one map with protocolVersion, name, type and taskRoles")]
    errors = sorted(Draft7Validator(JOB_SCHEMA).iter_errors(protocol), key=lambda error: [str(part) for part in error.absolute_path])
    return [_explain(error) for error in errors]


def _explain(error: Any) -> Problem:
    """One schema error as path and sentence."""
    path = tuple(error.absolute_path)
    rule, allowed, value = error.validator, error.validator_value, error.instance
    if rule == "oneOf":
        kind = value.get("type") if isinstance(value, dict) else None
        branch = {"dockerimage": 0, "data": 1, "script": 2, "output": 2}.get(str(kind))
        inner = [sub for sub in error.context if sub.schema_path and sub.schema_path[0] == branch]
        return _explain(max(inner, key=lambda sub: len(sub.absolute_path))) if inner else (path, _KINDS)
    if rule == "additionalProperties":
        return _explain_extra(path, error)
    if path == ("secrets",) and value == MASK:
        text = "these secrets are masked, as read back from a cluster; give the real values or leave `secrets` out"
    elif rule == "required":
        missing = [key for key in allowed if key not in value]
        text = f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing; required here: {', '.join(allowed)}"
    elif rule == "pattern":
        text = f"{value!r} does not match {allowed}"
    elif rule in ("enum", "const"):
        choices = allowed if isinstance(allowed, list) else [allowed]
        text = f"{_shorten(value)} is not allowed; allowed: {', '.join(str(choice) for choice in choices)}"
    elif rule == "type":
        kinds = allowed if isinstance(allowed, list) else [allowed]
        text = f"{_shorten(value)} is of the wrong type; allowed: {' or '.join(kinds)}"
    elif rule in ("minItems", "minProperties"):
        text = "this must not be empty; at least one entry is needed"
    elif rule == "minimum":
        text = f"{value} is too small; at least {allowed}"
    elif rule == "maxLength":
        text = f"this text has {len(value)} characters; at most {allowed}"
    else:
        text = str(error.message)
    return path, text


_KINDS = "a prerequisite has the type dockerimage, data, script or output"


def _explain_extra(path: Path, error: Any) -> Problem:
    """Keys that the schema does not know, with those that it knows."""
    known = sorted(error.schema.get("properties", {}))
    patterns = list(error.schema.get("patternProperties", {}))
    extra = [str(key) for key in error.instance if key not in known and not any(re.search(pattern, str(key)) for pattern in patterns)]
    rules = ", ".join(known) if known else f"names that match {patterns[0]}"
    return (*path, *extra[:1]), f"{', '.join(map(repr, extra))} is not allowed here; allowed: {rules}"


def _shorten(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def _unknown(name: str, kind: str, known: Iterable[str]) -> str:
    return f"there is no {kind} {name!r}; known: {', '.join(sorted(known)) or 'none'}"


def _names(protocol: dict[str, Any], kind: str | None = None) -> set[str]:
    """Names of the prerequisites of one type, or of all."""
    return {item["name"] for item in protocol.get("prerequisites") or [] if kind in (None, item["type"])}


def _prerequisite_problems(protocol: dict[str, Any]) -> Iterator[Problem]:
    items = protocol.get("prerequisites") or []
    for index, item in enumerate(items):
        here: Path = ("prerequisites", index)
        same = [other for other in items[:index] if other["name"] == item["name"]]
        if any(other["type"] == item["type"] for other in same):
            yield (*here, "name"), f"another {item['type']} is named {item['name']!r}; names are unique per type"
        elif same and "dockerimage" in (item["type"], *(other["type"] for other in same)):
            # The server allows it; openpai-runtime's image check wants exactly one prerequisite of the image's name.
            yield (
                (*here, "name"),
                f"an image and another prerequisite are both named {item['name']!r}; the cluster's image check refuses that",
            )
        if item["type"] == "dockerimage":
            yield from _image_problems(protocol, here, item)


def _image_problems(protocol: dict[str, Any], here: Path, item: dict[str, Any]) -> Iterator[Problem]:
    """What openpai-runtime's image check fails a task for (exit code 254), before the server would say a word."""
    uri, auth = item["uri"], item.get("auth") or {}
    host, rest = split_registry(uri)
    if not rest or re.search(r"\s|^[a-z]+://", uri):
        yield (*here, "uri"), f"{uri!r} is no image reference; write host/repository:tag, without a scheme"
    elif (host or auth) and "@" in rest:
        yield (*here, "uri"), f"{uri!r} names a digest, which the cluster's image check refuses; name a tag that never moves"
    elif (host or auth) and rest != rest.lower():
        yield (*here, "uri"), f"{uri!r} has upper case in repository or tag, which the cluster's image check refuses; use lower case"
    if auth:
        yield from _auth_problems(protocol, here, uri, host, auth)


def _auth_problems(protocol: dict[str, Any], here: Path, uri: str, host: str, auth: dict[str, str]) -> Iterator[Problem]:
    registry = re.sub(r"^https?://|/.*$", "", auth.get("registryuri", ""))
    if auth.get("username") and not registry:
        yield (*here, "auth"), f"registryuri is missing, which crashes the cluster's image check; write registryuri: {host or 'docker.io'}"
    elif registry and not host and "docker.io" not in registry:
        yield (*here, "uri"), f"{uri!r} has no registry host and is looked for on Docker Hub; write {registry}/{uri}"
    elif registry and host and host != registry and "<%" not in registry and not ("docker.io" in host and "docker.io" in registry):
        yield (*here, "auth", "registryuri"), f"{auth['registryuri']!r} is another registry than the image's; write registryuri: {host}"
    if ("username" in auth) != ("password" in auth):
        missing = "password" if "username" in auth else "username"
        yield (*here, "auth"), f"{missing} is missing, so the image is pulled without a login; give username, password and registryuri"
    if "password" in auth and not _SECRET_TAG.search(auth["password"]):
        yield (
            (*here, "auth", "password"),
            "a password written here is shown to every user; write <% $secrets.name %> and put it under secrets",
        )
    for field, value in auth.items():
        yield from _secret_problems(protocol, (*here, "auth", field), value)


def _secret_problems(protocol: dict[str, Any], here: Path, text: str) -> Iterator[Problem]:
    """Secrets that a text refers to and the job does not have: the tag would stay in the text as it is."""
    secrets = protocol.get("secrets") or {}
    for name in dict.fromkeys(_SECRET_TAG.findall(text)):
        if name not in secrets:
            yield here, _unknown(name, "secret", secrets)


def _task_role_problems(protocol: dict[str, Any]) -> Iterator[Problem]:
    for role, spec in protocol["taskRoles"].items():
        here: Path = ("taskRoles", role)
        if not TASK_ROLE_NAME.fullmatch(role):
            yield here, f"the task role name {role!r} breaks inside the cluster; allowed: 1 to 63 of a-z and 0-9"
        if "instances" not in spec:
            yield here, "instances is missing, which the server answers with an internal error; write instances: 1"
        for field, kind in (("dockerImage", "dockerimage"), ("data", "data"), ("script", "script"), ("output", "output")):
            if field in spec and spec[field] not in _names(protocol, kind):
                yield (*here, field), _unknown(spec[field], f"prerequisite of type {kind}", _names(protocol, kind))
        for index, name in enumerate(spec.get("prerequisites") or []):
            if name not in _names(protocol):
                yield (*here, "prerequisites", index), _unknown(name, "prerequisite", _names(protocol))
        yield from _resource_problems((*here, "resourcePerInstance"), spec["resourcePerInstance"])
        for index, command in enumerate(spec["commands"]):
            yield from _command_problems(protocol, spec, (*here, "commands", index), command)
        yield from _completion_problems((*here, "completion"), spec)


def _completion_problems(here: Path, spec: dict[str, Any]) -> Iterator[Problem]:
    """Numbers of tasks that can never be reached: the job would not end by itself."""
    instances = spec.get("instances", 1)
    for key, value in (spec.get("completion") or {}).items():
        if value is not None and not -1 <= value <= instances:
            yield (*here, key), f"{value} tasks can never end like that; allowed: 1 to {instances} (instances), or -1 for never"


def _resource_problems(here: Path, resource: dict[str, Any]) -> Iterator[Problem]:
    """Figures that the server hands on and Kubernetes then refuses."""
    for key, least in (("cpu", 1), ("memoryMB", 1), ("gpu", 0)):
        if resource[key] < least:
            yield (*here, key), f"{resource[key]} cannot be given to a container; at least {least}"
    for label, count in (resource.get("ports") or {}).items():
        if count < 1:
            yield (*here, "ports", label), f"{count} is no number of ports to reserve; at least 1"


def _command_problems(protocol: dict[str, Any], spec: dict[str, Any], here: Path, command: str) -> Iterator[Problem]:
    """Tags that the server answers with a 500, drops, or leaves in the command as they are."""
    if command.count("<%") > command.count("%>"):
        yield here, "a template tag is not closed; write <% $parameters.name %>"
    other = _OTHER_TAG.search(command)
    if other:
        yield here, f"the server drops or refuses a template tag that begins with {other.group(0)}; only <% $name %> is allowed"
    names = template_names(protocol, spec)
    for tag in TEMPLATE_TAG.findall(command):
        if not tag.startswith("$secrets.") and look_up(tag, names) is None:
            head = tag.split(".")[0]
            yield here, f"<% {tag} %> names nothing in this job; known under {head}: {', '.join(names.get(head, {})) or 'nothing'}"
    yield from _secret_problems(protocol, here, command)


def _deployment_problems(protocol: dict[str, Any]) -> Iterator[Problem]:
    names: set[str] = set()
    for index, deployment in enumerate(protocol.get("deployments") or []):
        if deployment["name"] in names:
            yield ("deployments", index, "name"), f"another deployment is named {deployment['name']!r}; names are unique"
        names.add(deployment["name"])
        for role, around in deployment["taskRoles"].items():
            here: Path = ("deployments", index, "taskRoles", role)
            if role not in protocol["taskRoles"]:
                yield here, _unknown(role, "task role", protocol["taskRoles"])
                continue
            for kind, commands in around.items():
                for number, command in enumerate(commands):
                    yield from _command_problems(protocol, protocol["taskRoles"][role], (*here, kind, number), command)
    chosen = (protocol.get("defaults") or {}).get("deployment")
    if chosen is not None and chosen not in names:
        yield ("defaults", "deployment"), _unknown(chosen, "deployment", names)


def _extras_problems(protocol: dict[str, Any]) -> Iterator[Problem]:
    """Shapes that the server trips over (500), and task roles that do not exist."""
    extras = protocol.get("extras") or {}
    storages = extras.get("storages") or []
    for index, item in enumerate(storages if isinstance(storages, list) else [None]):
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            place: Path = ("extras", "storages", index) if isinstance(storages, list) else ("extras", "storages")
            yield place, "storages are a list of name and, if need be, mountPath"
    plugins = extras.get(_PLUGINS) or []
    for index, item in enumerate(plugins if isinstance(plugins, list) else [None]):
        here: Path = ("extras", _PLUGINS, index) if isinstance(plugins, list) else ("extras", _PLUGINS)
        if not isinstance(item, dict) or not isinstance(item.get("plugin"), str):
            yield here, "runtime plugins are a list of plugin and parameters"
            continue
        for role in item.get("taskroles") or []:
            if role not in protocol["taskRoles"]:
                yield (*here, "taskroles"), _unknown(role, "task role", protocol["taskRoles"])


def _hived_problems(protocol: dict[str, Any]) -> Iterator[Problem]:
    hived = (protocol.get("extras") or {}).get("hivedScheduler")
    if not isinstance(hived, dict):
        return
    here: Path = ("extras", "hivedScheduler")
    priority = hived.get("jobPriorityClass", "test")
    if priority not in ("prod", "test", "oppo"):  # the protocol's text also knows crit
        yield (*here, "jobPriorityClass"), f"{priority!r} is refused by the server; allowed: prod, test, oppo"
    for role in hived.get("taskRoles") or {}:
        if role not in protocol["taskRoles"]:
            yield (*here, "taskRoles", role), _unknown(role, "task role", protocol["taskRoles"])
    for role, wish in (hived.get("taskRoles") or {}).items():
        if isinstance(wish, dict) and wish.get("skuType") and wish.get("pinnedCellId"):
            yield (*here, "taskRoles", role), "skuType and pinnedCellId exclude each other; give one of them"


def _whole_problems(protocol: dict[str, Any]) -> Iterator[Problem]:
    if protocol["name"] != protocol["name"].strip():
        yield ("name",), f"{protocol['name']!r} ends with a line break; write it on one line"
    size = len(dump_yaml(protocol, checked=False).encode())
    if size > BODY_LIMIT_BYTES:
        yield (
            (),
            f"the job has {size} bytes as YAML; at most {BODY_LIMIT_BYTES}: put long scripts into the image or fetch them in a command",
        )
