"""What goes into a job before it is submitted: image, registry login, virtual cluster, resources, secrets and the like."""

from __future__ import annotations

import copy
from typing import Any

from .errors import GoldenJobsError
from .protocol_text import MASK

#: Secret that holds the registry's password in a job made by `effective_protocol`.
REGISTRY_SECRET = "registry_password"  # noqa: S105
#: Keys of `resourcePerInstance`.
_FIGURES = ("cpu", "memoryMB", "gpu", "ports")


def effective_protocol(
    template: dict[str, Any],
    *,
    image: str | None = None,
    name: str | None = None,
    virtual_cluster: str | None = None,
    resources: dict[str, Any] | None = None,
    deployment: str | None = None,
    extras: dict[str, Any] | None = None,
    registry: dict[str, str] | None = None,
    secrets: dict[str, Any] | None = None,
    overrides: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The job that is submitted, merged in this order, later wins:

    1. the template, as written;
    2. `name`, then `image` as the `uri` of the template's dockerimage (with several: the one of the first task role);
    3. `virtual_cluster` as `defaults.virtualCluster`, `deployment` as `defaults.deployment`;
    4. `resources`: figures for `resourcePerInstance` of every task role, or of the task roles that it names;
    5. `extras`, merged as overrides are;
    6. `registry` (`address`, `username`, `password`) as that image's `auth`, its password as a secret;
       nothing happens without a username;
    7. `secrets`, added to those of the template;
    8. `overrides`: maps are merged key by key, anything else replaces, null removes.

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
    for key, value in (("virtualCluster", virtual_cluster), ("deployment", deployment)):
        if value:
            job["defaults"] = {**(job.get("defaults") or {}), key: value}
    if resources:
        job = _with_resources(job, resources)
    if extras:
        job["extras"] = merge(job.get("extras") or {}, extras)
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


def _with_resources(job: dict[str, Any], resources: dict[str, Any]) -> dict[str, Any]:
    roles = job.get("taskRoles")
    if not isinstance(roles, dict):
        return job  # the rules say so
    named = all(isinstance(value, dict) and key in roles for key, value in resources.items())
    if not named and not set(resources) <= set(_FIGURES):
        raise GoldenJobsError(
            f"The resources name {', '.join(sorted(set(map(str, resources)) - set(_FIGURES) - set(roles)))}; allowed are "
            f"{', '.join(_FIGURES)}, or these below the name of a task role: {', '.join(roles)}."
        )
    changes = resources if named else dict.fromkeys(roles, resources)
    return {
        **job,
        "taskRoles": {
            name: merge(role, {"resourcePerInstance": changes[name]}) if name in changes and isinstance(role, dict) else role
            for name, role in roles.items()
        },
    }


def clone(config: dict[str, Any], source: str) -> dict[str, Any]:
    """A cluster's config of another job as a template: without the secrets, which the server masks, and the portal's own mark.

    Raises GoldenJobsError for a job of OpenPAI's first protocol; `source` says which job it is.
    """
    if "protocol_version" in config or "protocolVersion" not in config:
        raise GoldenJobsError(f"The {source} is of OpenPAI's first protocol and cannot be cloned; write a job file of protocol 2.")
    job = copy.deepcopy(config)
    if job.get("secrets") == MASK:
        del job["secrets"]
    if isinstance(job.get("extras"), dict):
        job["extras"].pop("submitFrom", None)  # the portal would open the plugin that made the original
    return job


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


def split_registry(reference: str) -> tuple[str, str]:
    """`("host:5000", "a/b:tag")`; the host is empty for Docker Hub's short form."""
    first, slash, rest = reference.partition("/")
    return (first, rest) if slash and (first == "localhost" or "." in first or ":" in first) else ("", reference)


def image_tag(reference: str) -> str:
    """The tag of an image reference, empty when it has none."""
    last = reference.partition("@")[0].rsplit("/", 1)[-1]
    return last.partition(":")[2]
