"""Asks registries for the tags of repositories, inside the worker. `library/registry_tags.py` is its documentation."""

from __future__ import annotations

from pathlib import Path

import ansible.module_utils
from ansible.plugins.action import ActionBase

_OURS = str(Path(__file__).resolve().parents[2] / "module_utils")
if _OURS not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_OURS)

from ansible.module_utils.golden_jobs import cluster_status, plain, registry_api
from ansible.module_utils.golden_jobs.errors import GoldenJobsError

SPEC = {
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


class ActionModule(ActionBase):
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        _spec, args = self.validate_argument_spec(argument_spec=SPEC)
        args = plain.plain(args)

        def ask(repository):
            name, registry = repository["name"], repository["registry"]
            try:
                with registry_api.RegistryApi(**registry) as api:
                    found = registry_api.images_of(api, name, args["describe"])
            except GoldenJobsError as error:
                return {"tags": None, "images": {}, "problem": str(error)}
            return {"images": {}, **found, "problem": ""}

        once = {f"{one['registry']['address']}/{one['name']}": one for one in args["repositories"]}
        answers = cluster_status.at_once(ask, once.values(), 8)
        return {"changed": False, "repositories": dict(zip(once, answers, strict=True))}
