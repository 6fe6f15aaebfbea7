"""From the text of a job file to a job that can run: parse, check, cross-check, render."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import asdict, dataclass
from typing import Any

from . import js_yaml
from .errors import PaiError, invalid_protocol
from .protocol_schema import JOB_PROTOCOL
from .schema import check
from .templates import js_text, render

# More than that is no test of a job but of the patience of whoever runs the sandbox.
_MOST_TASKS = 2000
DOCKER_HUB = "https://index.docker.io/v1/"


@dataclass
class Role:
    """A task role with its defaults filled in; ``name`` is the converted name that the answers show."""

    spelling: str
    name: str
    instances: int
    image: str
    auth: dict[str, str] | None
    script: str
    cpu: int
    memory_mb: int
    gpu: int
    shm_mb: int
    ports: dict[str, int]
    min_failed: int
    min_succeeded: int
    task_retries: int = 0


@dataclass
class JobSpec:
    """A checked and rendered job. ``secrets`` and ``auth`` are not for showing."""

    name: str
    virtual_cluster: str
    max_retries: int
    roles: list[Role]
    secrets: dict[str, Any] | None
    storages: list[str]
    instances_given: bool = True
    total_gpus: int = 0
    total_tasks: int = 0
    gang: bool = True

    @property
    def framework_problem(self) -> str | None:
        """Why Kubernetes would refuse the job for good, or None."""
        names = [role.name for role in self.roles]
        double = next((name for name in names if names.count(name) > 1), None)
        if double is not None:
            return f"Framework is invalid: several task roles are named {double!r} in Kubernetes"
        return f"etcdserver: request is too large ({self.total_tasks} tasks)" if self.total_tasks > _MOST_TASKS else None

    def to_json(self) -> str:
        """Text for the store."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> JobSpec:
        """The job that ``to_json`` wrote, also that of an older or newer server, which may know other fields."""
        known = {field.name for field in dataclasses.fields(cls)}
        fields = {name: value for name, value in json.loads(text).items() if name in known}
        fields["roles"] = [Role(**role) for role in fields["roles"]]
        return cls(**fields)


def role_name(spelling: str) -> str:
    """The name of a task role in every answer: lower case, letters and digits only."""
    return re.sub(r"[^a-z0-9]", "", spelling.lower())


def _deployments(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for item in document.get("deployments", []):
        if item["name"] in found:
            raise invalid_protocol(f"Duplicate deployments {item['name']}.")
        found[item["name"]] = item
    return found


def _prerequisites(document: dict[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    kinds: dict[str, dict[str, dict[str, Any]]] = {"script": {}, "output": {}, "data": {}, "dockerimage": {}}
    for item in document.get("prerequisites", []):
        if item["name"] in kinds[item["type"]]:
            raise invalid_protocol(f"Duplicate {item['type']} prerequisites {item['name']}.")
        kinds[item["type"]][item["name"]] = item
    return kinds


def _check_references(document: dict[str, Any], kinds: dict[str, dict[str, dict[str, Any]]], deployments: dict[str, Any]) -> None:
    names = {name for items in kinds.values() for name in items}
    for role in document["taskRoles"].values():
        for name in role.get("prerequisites", []):
            if name not in names:
                raise invalid_protocol(f"Prerequisite {name} does not exist.")
    for role in document["taskRoles"].values():
        for key in ("script", "output", "data", "dockerImage"):
            if key in role and role[key] not in kinds[key.lower()]:
                raise invalid_protocol(f"Prerequisite {role[key]} does not exist.")
    deployment = document.get("defaults", {}).get("deployment")
    if deployment is not None and deployment not in deployments:
        raise invalid_protocol(f"Default deployment {deployment} does not exist.")


def _script(spelling: str, document: dict[str, Any], kinds: dict[str, dict[str, dict[str, Any]]], deployments: dict[str, Any]) -> str:
    role = document["taskRoles"][spelling]
    chosen = deployments.get(document.get("defaults", {}).get("deployment"), {}).get("taskRoles", {}).get(spelling, {})
    commands = [*chosen.get("preCommands", []), *role["commands"], *chosen.get("postCommands", [])]
    context = {
        "$parameters": document.get("parameters"),
        "$script": kinds["script"].get(role.get("script")),
        "$output": kinds["output"].get(role.get("output")),
        "$data": kinds["data"].get(role.get("data")),
    }
    return render("\n".join(command.strip() for command in commands), context)


def _auth(image: dict[str, Any], secrets: dict[str, Any] | None) -> dict[str, str] | None:
    if "auth" not in image:
        return None
    auth: dict[str, str] = {}
    for key, value in image["auth"].items():
        if not isinstance(value, str):
            raise PaiError(500, None, "template.indexOf is not a function")
        auth[key] = render(value, {"$secrets": secrets})
    return auth


def _role(spelling: str, document: dict[str, Any], auths: dict[str, dict[str, str] | None], image: dict[str, Any], script: str) -> Role:
    role = document["taskRoles"][spelling]
    resources = role["resourcePerInstance"]
    instances = int(role.get("instances") or 1)
    completion = role.get("completion", {})
    ports = {label: int(count) for label, count in resources.get("ports", {}).items()}
    for label in ("ssh", "http"):
        ports.setdefault(label, 1)
    return Role(
        spelling=spelling,
        name=role_name(spelling),
        instances=instances,
        image=image["uri"],
        auth=auths[image["name"]],
        script=script,
        cpu=int(resources["cpu"]),
        memory_mb=int(resources["memoryMB"]),
        gpu=int(resources["gpu"]),
        shm_mb=int(role.get("extraContainerOptions", {}).get("shmMB") or 512),
        ports=ports,
        min_failed=int(completion.get("minFailedInstances") or 1),
        min_succeeded=int(completion.get("minSucceededInstances") or instances),
        task_retries=int(role.get("taskRetryCount") or 0),
    )


def _storages(extras: dict[str, Any]) -> list[str]:
    """Names of the storages that a job asks for, in either spelling."""
    if extras.get("storages"):
        entries = extras["storages"] if isinstance(extras["storages"], list) else []
        return [js_text(item["name"]) for item in entries if isinstance(item, dict) and item.get("name")]
    plugins = extras.get("com.microsoft.pai.runtimeplugin")
    for plugin in plugins if isinstance(plugins, list) else []:
        if isinstance(plugin, dict) and plugin.get("plugin") == "teamwise_storage":
            parameters = plugin.get("parameters")
            names = parameters.get("storageConfigNames") if isinstance(parameters, dict) else None
            return [js_text(name) for name in names if name] if isinstance(names, list) else []
    return []


def read_job(body: Any) -> JobSpec:
    """The job of a submitted body.

    A body that is not text is what JavaScript makes of it: the text ``[object Object]``, a YAML list. Raises
    ``PaiError``: 500 for YAML and template faults, 400 for schema and reference faults.
    """
    document = js_yaml.safe_load(body if isinstance(body, str) else "[object Object]")
    faults = check(JOB_PROTOCOL, document)
    if faults:
        raise invalid_protocol(json.dumps(faults, separators=(",", ":"), default=str, ensure_ascii=False))
    kinds = _prerequisites(document)
    deployments = _deployments(document)
    _check_references(document, kinds, deployments)
    secrets = document.get("secrets")
    auths = {name: _auth(image, secrets) for name, image in kinds["dockerimage"].items()}
    roles = [
        _role(
            spelling,
            document,
            auths,
            kinds["dockerimage"][document["taskRoles"][spelling]["dockerImage"]],
            _script(spelling, document, kinds, deployments),
        )
        for spelling in document["taskRoles"]
    ]
    return JobSpec(
        name=document["name"],
        virtual_cluster=document.get("defaults", {}).get("virtualCluster") or "default",
        max_retries=int(document.get("jobRetryCount", 0)),
        roles=roles,
        secrets=secrets,
        storages=_storages(document.get("extras", {})),
        instances_given=all("instances" in role for role in document["taskRoles"].values()),
        total_gpus=sum(role.gpu * role.instances for role in roles),
        total_tasks=sum(role.instances for role in roles),
        gang=document.get("extras", {}).get("gangAllocation") is not False,
    )
