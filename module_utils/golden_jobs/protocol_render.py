"""A job's commands and environment as a task gets them, for checking the tags and for starting an image the way the cluster does."""

from __future__ import annotations

import re
from typing import Any

from .errors import GoldenJobsError

TEMPLATE_TAG = re.compile(r"<%\s*(\$[^%]*?)\s*%>")


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
    names = template_names(protocol, spec)
    secrets = protocol.get("secrets")
    if isinstance(secrets, dict):
        names["$secrets"] = secrets

    def render(match: re.Match[str]) -> str:
        value = look_up(match.group(1), names)
        return match.group(0) if value is None else _as_text(value)

    body = "\n".join(TEMPLATE_TAG.sub(render, command).strip() for command in commands).strip()
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


def template_names(protocol: dict[str, Any], spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What a command of this task role may refer to."""
    names: dict[str, dict[str, Any]] = {"$parameters": protocol.get("parameters") or {}}
    for field in ("script", "data", "output"):
        names[f"${field}"] = next(
            (item for item in protocol.get("prerequisites") or [] if item["type"] == field and item["name"] == spec.get(field)), {}
        )
    return names


def look_up(tag: str, names: dict[str, dict[str, Any]]) -> Any:
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
