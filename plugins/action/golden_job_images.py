"""Asks one cluster which images it runs or may need again, inside the worker. `library/golden_job_images.py` is its documentation."""

from __future__ import annotations

from pathlib import Path

import ansible.module_utils
from ansible.plugins.action import ActionBase

_OURS = str(Path(__file__).resolve().parents[2] / "module_utils")
if _OURS not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_OURS)

from ansible.module_utils.golden_jobs import cluster_images, plain
from ansible.module_utils.golden_jobs.errors import GoldenJobsError

SPEC = {
    "connection": {"type": "dict", "required": True},
    "courses": {"type": "list", "elements": "str", "required": True},
    "rollback_depth": {"type": "int", "default": 3},
    "idle_s": {"type": "int", "default": 86400},
}


class ActionModule(ActionBase):
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        _spec, args = self.validate_argument_spec(argument_spec=SPEC)
        args = plain.plain(args)
        connection = {key: value for key, value in args["connection"].items() if value not in (None, "")}
        try:
            found = cluster_images.used_images(connection, args["courses"], args["rollback_depth"], args["idle_s"])
        except GoldenJobsError as error:
            return {"failed": True, "msg": f"{error} Nothing is deleted anywhere while it is not known what this cluster runs."}
        return {"changed": False, **found}
