"""OpenPAI job files (protocol version 2): read, check, merge, write.

Everything here is pure: no network, and no file but the one that `load_file` is told to read. The rules
come from rest-server v1.8.1, from its container runtime (openpai-runtime v0.1.12) and from the web portal;
a rule that only bites inside the cluster is checked here, before anything is sent.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from .errors import GoldenJobsError
from .protocol_schema import JOB_SCHEMA

try:
    import yaml
except ImportError:  # reported as one sentence by `_need_yaml`
    yaml = None  # type: ignore[assignment]

#: Keys and indexes that lead to a place in the document.
Path = tuple[Any, ...]
#: A place, and what is wrong there.
Problem = tuple[Path, str]

#: What `GET .../config` shows instead of the map of secrets.
MASK = "******"
#: express refuses larger bodies (413).
BODY_LIMIT_BYTES = 102_400
#: Secret that holds the registry's password in a job made by `effective_protocol`.
REGISTRY_SECRET = "registry_password"  # noqa: S105
#: The web portal's rule; the container runtime loses a task role whose name it has to convert.
TASK_ROLE_NAME = re.compile(r"[a-z0-9]{1,63}")

_TEMPLATE_TAG = re.compile(r"<%\s*(\$[^%]*?)\s*%>")
_SECRET_TAG = re.compile(r"<%\s*\$secrets\.([A-Za-z0-9_-]+)[^%]*%>")


# --------------------------------------------------------------------------------------------- reading


class Source:
    """Where a document was written: a name for people and the line of every path in it."""

    def __init__(self, name: str, lines: dict[Path, int] | None = None) -> None:
        self.name = name
        self.lines = lines or {}

    def at(self, path: Iterable[Any]) -> str:
        """`yamls/OOB3-aiedu.yaml, line 12, taskRoles.jupyter`; without a line when a merge made the value."""
        path = tuple(path)
        line = next((self.lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.lines), None)
        return ", ".join([self.name, *([f"line {line}"] if line else []), *([show_path(path)] if path else [])])


def show_path(path: Iterable[Any]) -> str:
    """`('taskRoles', 'jupyter', 'commands', 0)` as `taskRoles.jupyter.commands[0]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def load_text(text: str, name: str = "job") -> tuple[dict[str, Any], Source]:
    """Parse a job file the way the server does (YAML 1.2 words, no duplicate keys).

    Raises GoldenJobsError with the line for YAML that cannot be read; does not validate.
    """
    _need_yaml()
    try:
        loader = _loader(text)
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise GoldenJobsError(f"{name}: a job file is one YAML map with protocolVersion, name, type and taskRoles.")
        lines: dict[Path, int] = {}
        _note_lines(node, (), lines, name)
        return loader.construct_document(node), Source(name, lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}, line {mark.line + 1}" if mark else name
        reason = "; ".join(part for part in (error.context, error.problem) if part)
        raise GoldenJobsError(f"{where}: not readable as YAML ({reason}).") from None
    except yaml.YAMLError as error:
        raise GoldenJobsError(f"{name}: not readable as YAML ({' '.join(str(error).split())}).") from None


def load_file(path: str, name: str | None = None) -> tuple[dict[str, Any], Source]:
    """`load_text` of a file; a missing or unreadable file is one sentence, too."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise GoldenJobsError(f"{name or path}: the job file cannot be read ({getattr(error, 'strerror', None) or error}).") from None
    return load_text(text, name or path)


def _need_yaml() -> None:
    if yaml is None:
        raise GoldenJobsError("The Python package PyYAML is missing where this module runs: pip install PyYAML.")


def _loader(text: str) -> Any:
    """A safe loader that reads plain `yes`, `on`, `1:30` and dates as text and `1e3` as a number, as the server does."""

    class Loader(yaml.SafeLoader):
        yaml_implicit_resolvers = {  # noqa: RUF012
            first: [(tag, pattern) for tag, pattern in resolvers if tag not in _OWN_TAGS]
            for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
    Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^(?:[-+]?[0-9]+|[-+]?0x[0-9a-fA-F]+)$"), list("-+0123456789"))
    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(
            r"^(?:[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
        ),
        list("-+0123456789."),
    )
    return Loader(text)


_OWN_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("bool", "int", "float", "timestamp")}


def _note_lines(node: Any, path: Path, lines: dict[Path, int], name: str) -> None:
    """Fill `lines`, and refuse what PyYAML lets through and the server answers with a 500."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*path, key.value)
            line = key.start_mark.line + 1
            if here in lines and key.value != "<<":
                raise GoldenJobsError(
                    f"{name}, line {line}, {show_path(here)}: this key is written twice (first in line {lines[here]}); keep one."
                )
            lines[here] = line
            _note_lines(value, here, lines, name)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            here = (*path, index)
            lines[here] = value.start_mark.line + 1
            _note_lines(value, here, lines, name)


# -------------------------------------------------------------------------------------------- checking


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
        *_hived_problems(protocol),
    ]
    return [f"{source.at(path)}: {text}" for path, text in found]


def _schema_problems(protocol: Any) -> list[Problem]:
    try:
        # Here and not above: it costs 0.1 s, and most calls of the modules validate nothing.
        from jsonschema import Draft7Validator  # noqa: PLC0415
    except ImportError:
        raise GoldenJobsError("The Python package jsonschema is missing where this module runs: pip install jsonschema.") from None
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
    if (host or auth) and "@" in rest:
        yield (*here, "uri"), f"{uri!r} names a digest, which the cluster's image check refuses; name a tag that never moves"
    elif (host or auth) and rest != rest.lower():
        yield (*here, "uri"), f"{uri!r} has upper case in repository or tag, which the cluster's image check refuses; use lower case"
    if auth.get("username") and not auth.get("registryuri"):
        yield (*here, "auth"), f"registryuri is missing, which crashes the cluster's image check; write registryuri: {host or 'docker.io'}"
    elif auth and not host and "docker.io" not in auth.get("registryuri", "docker.io"):
        yield (*here, "uri"), f"{uri!r} has no registry host and is looked for on Docker Hub; write {auth['registryuri']}/{uri}"
    if "password" in auth:
        secret = _SECRET_TAG.search(auth["password"])
        secrets = protocol.get("secrets") or {}
        if not secret:
            yield (
                (*here, "auth", "password"),
                "a password written here is shown to every user; write <% $secrets.name %> and put it under secrets",
            )
        elif secret.group(1) not in secrets:
            yield (*here, "auth", "password"), _unknown(secret.group(1), "secret", secrets)


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


def _resource_problems(here: Path, resource: dict[str, Any]) -> Iterator[Problem]:
    """Figures that the server hands on and Kubernetes then refuses."""
    for key, least in (("cpu", 1), ("memoryMB", 1), ("gpu", 0)):
        if resource[key] < least:
            yield (*here, key), f"{resource[key]} cannot be given to a container; at least {least}"
    for label, count in (resource.get("ports") or {}).items():
        if count < 1:
            yield (*here, "ports", label), f"{count} is no number of ports to reserve; at least 1"


def _command_problems(protocol: dict[str, Any], spec: dict[str, Any], here: Path, command: str) -> Iterator[Problem]:
    """Tags that the server answers with a 500, or leaves in the command as they are."""
    if command.count("<%") > command.count("%>"):
        yield here, "a template tag is not closed; write <% $parameters.name %>"
    names = _template_names(protocol, spec)
    for tag in _TEMPLATE_TAG.findall(command):
        if not tag.startswith("$secrets.") and _look_up(tag, names) is None:
            head = tag.split(".")[0]
            yield here, f"<% {tag} %> names nothing in this job; known under {head}: {', '.join(names.get(head, {})) or 'nothing'}"


def _deployment_problems(protocol: dict[str, Any]) -> Iterator[Problem]:
    names: set[str] = set()
    for index, deployment in enumerate(protocol.get("deployments") or []):
        if deployment["name"] in names:
            yield ("deployments", index, "name"), f"another deployment is named {deployment['name']!r}; names are unique"
        names.add(deployment["name"])
        for role in deployment["taskRoles"]:
            if role not in protocol["taskRoles"]:
                yield ("deployments", index, "taskRoles", role), _unknown(role, "task role", protocol["taskRoles"])
    chosen = (protocol.get("defaults") or {}).get("deployment")
    if chosen is not None and chosen not in names:
        yield ("defaults", "deployment"), _unknown(chosen, "deployment", names)


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


def split_registry(reference: str) -> tuple[str, str]:
    """`("host:5000", "a/b:tag")`; the host is empty for Docker Hub's short form."""
    first, slash, rest = reference.partition("/")
    return (first, rest) if slash and (first == "localhost" or "." in first or ":" in first) else ("", reference)


def image_tag(reference: str) -> str:
    """The tag of an image reference, empty when it has none."""
    last = reference.partition("@")[0].rsplit("/", 1)[-1]
    return last.partition(":")[2]


# --------------------------------------------------------------------------------------------- merging


def effective_protocol(
    template: dict[str, Any],
    *,
    image: str | None = None,
    name: str | None = None,
    virtual_cluster: str | None = None,
    registry: dict[str, str] | None = None,
    secrets: dict[str, Any] | None = None,
    overrides: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The job that is submitted, merged in this order, later wins:

    1. the template, as written;
    2. `name`, then `image` as the `uri` of the template's dockerimage (with several: the one of the first task role);
    3. `virtual_cluster` as `defaults.virtualCluster`;
    4. `registry` (`address`, `username`, `password`) as that image's `auth`, its password as a secret;
       nothing happens without a username;
    5. `secrets`, added to those of the template;
    6. `overrides`: maps are merged key by key, anything else replaces, null removes.

    The arguments are left as they are. Raises GoldenJobsError when the template has no dockerimage to fill.
    """
    job = copy.deepcopy(template)
    if name:
        job["name"] = name
    if image or (registry and registry.get("username")):
        entry = _golden_image(job)
        if image:
            entry["uri"] = image
        if registry and registry.get("username"):
            entry["auth"] = {
                "username": str(registry["username"]),
                "password": f"<% $secrets.{REGISTRY_SECRET} %>",
                "registryuri": registry["address"],
            }
            _secrets_of(job)[REGISTRY_SECRET] = registry.get("password", "")
    if virtual_cluster:
        job.setdefault("defaults", {})["virtualCluster"] = virtual_cluster
    if secrets:
        _secrets_of(job).update(copy.deepcopy(secrets))
    if overrides:
        if "name" in overrides:
            raise GoldenJobsError("The overrides of a job must not set its name: it is made from course, revision and number.")
        job = merge(job, overrides)
    return job


def merge(base: Any, changes: Any) -> Any:
    """Maps key by key, anything else replaces, null removes the key."""
    if not isinstance(base, dict) or not isinstance(changes, dict):
        return copy.deepcopy(changes)
    merged = dict(base)
    for key, value in changes.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(base.get(key), value)
    return merged


def _secrets_of(job: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(job.get("secrets"), dict):
        job["secrets"] = {}
    return job["secrets"]


def _golden_image(job: dict[str, Any]) -> dict[str, Any]:
    images = [item for item in job.get("prerequisites") or [] if isinstance(item, dict) and item.get("type") == "dockerimage"]
    if len(images) > 1:
        first: dict[str, Any] = next(iter(job.get("taskRoles", {}).values()), {})
        images = [item for item in images if item.get("name") == first.get("dockerImage")]
    if not images:
        raise GoldenJobsError(
            "The job template has no prerequisite of type dockerimage for its first task role; the image is filled in there."
        )
    return images[0]


# --------------------------------------------------------------------------- writing, comparing, naming


def masked(protocol: dict[str, Any]) -> dict[str, Any]:
    """The job as `GET .../config` shows it: `secrets` is `"******"`. For diffs and comparisons."""
    rest = {key: value for key, value in protocol.items() if key != "secrets"}
    return {**rest, "secrets": MASK} if protocol.get("secrets") else rest


def same_job(protocol: dict[str, Any], config: dict[str, Any]) -> bool:
    """Does a cluster's config (secrets masked there) hold this job? Key order and 1 versus 1.0 do not count."""
    return masked(protocol) == masked(config)


def dump_yaml(protocol: dict[str, Any]) -> str:
    """Block YAML with plain keys and `secrets` last: the one form in which the server masks them (it uses a text pattern).

    Raises GoldenJobsError above the server's body limit.
    """
    _need_yaml()
    ordered = {key: value for key, value in protocol.items() if key != "secrets"}
    if protocol.get("secrets"):
        ordered["secrets"] = protocol["secrets"]
    text = yaml.dump(ordered, Dumper=_dumper(), default_flow_style=False, sort_keys=False, allow_unicode=True, width=1_000_000)
    size = len(text.encode())
    if size > BODY_LIMIT_BYTES:
        raise GoldenJobsError(
            f"The job {protocol.get('name')!r} has {size} bytes as YAML; OpenPAI takes at most {BODY_LIMIT_BYTES}. "
            "Put long scripts into the image or fetch them in a command."
        )
    return text


def _dumper() -> Any:
    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    def text(dumper: Any, value: str) -> Any:
        # A text that looks like a number to some YAML reader (a password like 1e5) stays a text when it is quoted.
        style = "|" if "\n" in value else "'" if value[:1] in tuple("0123456789+-.") else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    return Dumper


def revision(image_reference: str, protocol: dict[str, Any]) -> str:
    """What a Golden Job runs, as 8 hex digits: the image reference and the effective job without its name.

    Values of secrets are left out (their names count), so a new registry password is no new revision.
    """
    job = {key: value for key, value in protocol.items() if key != "name"}
    if isinstance(job.get("secrets"), dict):
        job["secrets"] = sorted(job["secrets"])
    text = json.dumps({"image": image_reference, "job": job}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


# ------------------------------------------------------------------------------------------- rendering


def task_commands(protocol: dict[str, Any], role: str | None = None) -> str:
    """The bash script that a task of this role (default: the first) runs, as the server and the runtime make it.

    `$parameters`, `$script`, `$data` and `$output` are rendered, and `$secrets` where the values are there
    (in the cluster that happens inside the container). Commands of the default deployment stand around them.
    """
    roles = protocol["taskRoles"]
    role = role or next(iter(roles))
    if role not in roles:
        raise GoldenJobsError(f"The job {protocol.get('name')!r} has no task role {role!r}; known: {', '.join(roles)}.")
    spec = roles[role]
    chosen = (protocol.get("defaults") or {}).get("deployment")
    around: dict[str, list[str]] = next(
        (d["taskRoles"].get(role, {}) for d in protocol.get("deployments") or [] if d["name"] == chosen), {}
    )
    commands = [*around.get("preCommands", []), *spec["commands"], *around.get("postCommands", [])]
    names = _template_names(protocol, spec)
    secrets = protocol.get("secrets")
    if isinstance(secrets, dict):
        names["$secrets"] = secrets

    def render(match: re.Match[str]) -> str:
        value = _look_up(match.group(1), names)
        return match.group(0) if value is None else _as_text(value)

    body = "\n".join(_TEMPLATE_TAG.sub(render, command).strip() for command in commands).strip()
    return f"set -o errexit -o nounset -o pipefail\n{body}\n"


def task_environment(
    protocol: dict[str, Any], role: str | None = None, ports: dict[str, int] | None = None, user: str = "smoke"
) -> dict[str, str]:
    """The `PAI_*` variables that the first task of a role sees, for starting the image the way the cluster does.

    `ports`: label → port number; `http` and `ssh` are always there in a cluster.
    """
    roles = protocol["taskRoles"]
    role = role or next(iter(roles))
    short = re.sub(r"[^a-z0-9]", "", role.lower())
    name = f"{user}~{protocol['name']}"
    resource = roles[role]["resourcePerInstance"]
    environment = {
        "PAI_JOB_NAME": name,
        "PAI_FRAMEWORK_NAME": name,
        "PAI_USER_NAME": user,
        "PAI_USERNAME": user,
        "PAI_VIRTUAL_CLUSTER": str((protocol.get("defaults") or {}).get("virtualCluster") or "default"),
        "PAI_TASK_ROLE_LIST": ",".join(roles),
        "PAI_TASK_ROLE_COUNT": str(len(roles)),
        "PAI_CURRENT_TASK_ROLE_NAME": role,
        "PAI_CURRENT_TASK_ROLE_CURRENT_TASK_INDEX": "0",
        "PAI_TASK_INDEX": "0",
        f"PAI_RESOURCE_{role}": f"{resource['gpu']},{resource['cpu']},{resource['memoryMB']},512",
        "PAI_CURRENT_CONTAINER_IP": "127.0.0.1",
        "PAI_CONTAINER_HOST_IP": "127.0.0.1",
        f"PAI_HOST_IP_{short}_0": "127.0.0.1",
        "PAI_WORK_DIR": "/usr/local/pai",
    }
    for label, port in (ports or {}).items():
        environment[f"PAI_PORT_LIST_{short}_0_{label}"] = str(port)
        environment[f"PAI_{short}_0_{label}_PORT"] = str(port)
        environment[f"PAI_CONTAINER_HOST_{label}_PORT_LIST"] = str(port)
    if ports and "http" in ports:
        environment["PAI_CURRENT_CONTAINER_PORT"] = environment["PAI_CONTAINER_HOST_PORT"] = str(ports["http"])
    if ports and "ssh" in ports:
        environment["PAI_CONTAINER_SSH_PORT"] = str(ports["ssh"])
    return environment


def _template_names(protocol: dict[str, Any], spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What a command of this task role may refer to."""
    names: dict[str, dict[str, Any]] = {"$parameters": protocol.get("parameters") or {}}
    for field in ("script", "data", "output"):
        names[f"${field}"] = next(
            (item for item in protocol.get("prerequisites") or [] if item["type"] == field and item["name"] == spec.get(field)), {}
        )
    return names


def _look_up(tag: str, names: dict[str, dict[str, Any]]) -> Any:
    """The value of `$parameters.a.b[0]`; None when there is none."""
    head, *rest = [part for part in re.split(r"[.\[\]]+", tag) if part]
    value: Any = names.get(head)
    for part in rest:
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def _as_text(value: Any) -> str:
    """As JavaScript writes a value into a text: 1.0 is 1, true is true, a list is comma-joined."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list):
        return ",".join(_as_text(item) for item in value)
    if isinstance(value, dict):
        return "[object Object]"
    return str(value)
