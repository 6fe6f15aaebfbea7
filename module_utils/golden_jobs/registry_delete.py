"""registry_delete: delete images from a registry that nothing else names."""

from __future__ import annotations

from typing import Any

from . import registry_api
from .errors import GoldenJobsError

SPEC: dict[str, Any] = {
    "registry": {"type": "dict", "required": True, "options": registry_api.REGISTRY_SPEC},
    "images": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "repository": {"type": "str", "required": True},
            "tag": {"type": "str", "required": True},
            "digest": {"type": "str", "required": True},
        },
    },
}


def run(args: dict[str, Any], _host: str, check: bool) -> dict[str, Any]:
    """`{changed, deleted}`."""
    deleted: list[str] = []
    try:
        with registry_api.RegistryApi(**args["registry"]) as api:
            # Looked at again: whatever has come to name an image since it was chosen keeps it.
            now = {repository: api.digests(repository) for repository in {image["repository"] for image in args["images"]}}
            for image in args["images"]:
                repository, tag, digest = image["repository"], image["tag"], image["digest"]
                if [each for each, named in now[repository].items() if named == digest] != [tag]:
                    continue
                if check or api.delete(repository, digest):
                    deleted.append(f"{repository}:{tag}")
    except GoldenJobsError as error:
        raise GoldenJobsError(str(error), changed=bool(deleted), deleted=deleted) from None
    return {"changed": bool(deleted), "deleted": deleted}
