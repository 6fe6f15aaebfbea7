"""registry_tags: the tags and digests of several repositories. A registry that does not answer is a result, not a failure."""

from __future__ import annotations

from typing import Any

from . import registry_api
from .errors import GoldenJobsError
from .threads import at_once

#: Repositories at the same time.
AT_ONCE = 4

SPEC: dict[str, Any] = {
    "repositories": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "registry": {"type": "dict", "required": True, "options": registry_api.REGISTRY_SPEC},
        },
    },
    "describe": {"type": "bool", "default": False},
}


def run(args: dict[str, Any], _host: str, _check: bool) -> dict[str, Any]:
    """`{repositories: {address/name: {tags, images, problem}}}`; `tags` is None where there is a problem."""

    def ask(repository: dict[str, Any]) -> dict[str, Any]:
        try:
            with registry_api.RegistryApi(**repository["registry"]) as api:
                return {"images": {}, **registry_api.images_of(api, repository["name"], args["describe"]), "problem": ""}
        except GoldenJobsError as error:
            return {"tags": None, "images": {}, "problem": str(error)}

    once = {f"{one['registry']['address']}/{one['name']}": one for one in args["repositories"]}
    return {"repositories": dict(zip(once, at_once(ask, once.values(), AT_ONCE), strict=True))}
