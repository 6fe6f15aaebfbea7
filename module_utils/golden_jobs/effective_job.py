"""The job of one course for one cluster: the template and everything that is laid over it, in one order. Pure."""

from __future__ import annotations

from typing import Any

from . import protocol
from .errors import GoldenJobsError

#: The layers, in the order in which they are merged; a later one wins. README.md documents them in this order.
LAYERS = (
    "template",
    "image",
    "virtual cluster",
    "registry login",
    "course overrides",
    "cluster resources",
    "cluster SKU",
    "cluster secrets",
    "cluster overrides",
    "cluster overrides for this course",
)

#: What a cluster lays over a job: `cluster` of `effective_job`.
SETTINGS_SPEC: dict[str, Any] = {
    "virtual_cluster": {"type": "str"},
    "resources": {"type": "dict"},
    "sku": {"type": "str"},
    "registry_mirrors": {"type": "dict", "no_log": True},
    "secrets": {"type": "dict", "no_log": True},
    "overrides": {"type": "dict"},
    "course_overrides": {"type": "dict"},
    "pins": {"type": "dict"},
}


def effective_job(template: dict[str, Any], course: dict[str, Any], cluster: dict[str, Any]) -> dict[str, Any]:
    """`{job, revision, image}`: what `course` runs on `cluster`, secrets included.

    `course`: `{name, image, overrides, registry: {address, username, password}}`, `image` with its immutable tag.
    `cluster`: `{virtual_cluster, resources, sku, registry_mirrors, secrets, overrides, course_overrides, pins}`, all optional:
    `registry_mirrors` maps a registry's address to `{address, username, password}` of the one this cluster pulls from,
    `course_overrides` maps a course to overrides, `pins` a course to the image tag that it stays at here.

    Raises GoldenJobsError for what cannot be merged; does not validate the result (`protocol.validate`).
    """
    image, registry = image_of(course, cluster)
    job = protocol.effective_protocol(
        template, image=image or None, virtual_cluster=cluster.get("virtual_cluster") or None, registry=registry or None
    )
    job = protocol.effective_protocol(job, overrides=course.get("overrides") or None)
    job = protocol.effective_protocol(job, resources=cluster.get("resources") or None, extras=_sku(job, cluster.get("sku")))
    job = protocol.effective_protocol(job, secrets=cluster.get("secrets") or None, overrides=cluster.get("overrides") or None)
    job = protocol.effective_protocol(job, overrides=(cluster.get("course_overrides") or {}).get(course["name"]) or None)
    return {"job": job, "revision": protocol.revision(image, job), "image": image}


def image_of(course: dict[str, Any], cluster: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The image reference that this cluster pulls, and the registry with its login: pins and mirrors applied."""
    image, registry = course.get("image") or "", course.get("registry") or {}
    pin = (cluster.get("pins") or {}).get(course["name"])
    if pin and image:
        name = image.rpartition(":")[0] if protocol.image_tag(image) else image
        image = f"{name}:{pin}"
    mirror = (cluster.get("registry_mirrors") or {}).get(registry.get("address"))
    if mirror:
        if not isinstance(mirror, dict) or not mirror.get("address"):
            raise GoldenJobsError(
                f"The mirror of the registry {registry.get('address')} has no address; write it as {{address: mirror.example.com}}, "
                "with username and password where it wants a login."
            )
        if image.startswith(f"{registry['address']}/"):
            image = mirror["address"] + image[len(registry["address"]) :]
        registry = mirror
    return image, registry


def _sku(job: dict[str, Any], sku: str | None) -> dict[str, Any] | None:
    """The extras that ask the hived scheduler for this SKU in every task role."""
    if not sku:
        return None
    return {"hivedScheduler": {"taskRoles": {role: {"skuType": sku} for role in job.get("taskRoles") or {}}}}
