"""docker_prune: remove a course's old images from an engine."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from . import image_leftovers, prune
from .engine import ENGINE_ERRORS, ENGINE_SPEC, Engine
from .errors import GoldenJobsError
from .progress import Progress

with contextlib.suppress(ImportError):  # engine.Engine says in one sentence what is missing
    import docker.errors

SPEC: dict[str, Any] = {
    **{name: option for name, option in ENGINE_SPEC.items() if not name.startswith("registry_")},
    "repositories": {"type": "list", "elements": "str", "required": True},
    "keep": {"type": "list", "elements": "str", "required": True},
    "min_age_s": {"type": "int", "default": 86_400},
}


def run(module: Any, progress: Progress) -> dict[str, Any]:
    """`{changed, removed, in_use, freed_mb}`. An image that a container uses stays."""
    params = module.params
    if not params["repositories"] or any(":" in one.rpartition("/")[2] for one in params["repositories"]):
        raise GoldenJobsError("The option repositories has to name repositories with their registry and without a tag.")
    engine = Engine(params, "")
    images = engine.call("The engine does not list its images", engine.api.images)
    chosen = prune.engine_tags(images, params["repositories"], params["keep"], time.time() - params["min_age_s"])
    containers = engine.call("The engine does not list its containers", engine.api.containers, all=True)
    busy = {container["ImageID"] for container in containers}
    in_use = [one["reference"] for one in chosen if one["id"] in busy]
    going = [one for one in chosen if one["id"] not in busy]
    removed: list[str] = []
    for one in going:
        if not module.check_mode:
            try:
                engine.api.remove_image(one["reference"], noprune=False)
            except docker.errors.ImageNotFound:
                continue
            except ENGINE_ERRORS as error:
                if getattr(error, "status_code", None) == 409:
                    in_use.append(one["reference"])
                    continue
                raise GoldenJobsError(
                    f"The image {one['reference']} cannot be removed: {error}.", removed=removed, changed=bool(removed)
                ) from error
        removed.append(one["reference"])
    if not module.check_mode:
        image_leftovers.remove_leftovers(engine, progress)
    sizes = {one["id"]: one["size_bytes"] for one in going if one["reference"] in removed}
    return {"changed": bool(removed), "removed": removed, "in_use": sorted(in_use), "freed_mb": round(sum(sizes.values()) / 1e6, 1)}
