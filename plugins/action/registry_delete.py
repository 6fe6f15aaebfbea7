"""Deletes images from a registry, inside the worker. `library/registry_delete.py` is its documentation."""

from __future__ import annotations

from pathlib import Path

import ansible.module_utils
from ansible.plugins.action import ActionBase

_OURS = str(Path(__file__).resolve().parents[2] / "module_utils")
if _OURS not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_OURS)

from ansible.module_utils.golden_jobs import plain, registry_api
from ansible.module_utils.golden_jobs.errors import GoldenJobsError

SPEC = {
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


class ActionModule(ActionBase):
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        _spec, args = self.validate_argument_spec(argument_spec=SPEC)
        args = plain.plain(args)
        deleted = []
        try:
            with registry_api.RegistryApi(**args["registry"]) as api:
                for image in args["images"]:
                    others = {tag: api.digest(image["repository"], tag) for tag in api.tags(image["repository"])}
                    # Looked at again: whatever has come to name it since it was chosen keeps it.
                    if {tag for tag, digest in others.items() if digest == image["digest"]} != {image["tag"]}:
                        continue
                    if self._task.check_mode or api.delete(image["repository"], image["digest"]):
                        deleted.append(f"{image['repository']}:{image['tag']}")
        except GoldenJobsError as error:
            return {"failed": True, "changed": bool(deleted), "msg": str(error), "deleted": deleted}
        return {"changed": bool(deleted), "deleted": deleted}
