"""Asks one cluster how courses stand on it, inside the worker. `library/golden_job_status.py` is its documentation."""

from __future__ import annotations

from pathlib import Path

import ansible.module_utils
from ansible.plugins.action import ActionBase

_OURS = str(Path(__file__).resolve().parents[2] / "module_utils")
if _OURS not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_OURS)

from ansible.module_utils.golden_jobs import cluster_status, plain, protocol

SPEC = {
    "connection": {"type": "dict", "required": True},
    "courses": {"type": "list", "elements": "dict", "required": True},
    "settings": {"type": "dict", "default": {}},
    "root": {"type": "path", "required": True},
}

#: Job files by path: a worker asks for each only once.
_loaded: dict[str, dict] = {}


class ActionModule(ActionBase):
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        _spec, args = self.validate_argument_spec(argument_spec=SPEC)
        args = plain.plain(args)

        def load(template):
            if template not in _loaded:
                _loaded[template] = protocol.load_file(str(Path(args["root"]) / template), template)[0]
            return _loaded[template]

        connection = {key: value for key, value in args["connection"].items() if value not in (None, "")}
        found = cluster_status.cluster_rows((task_vars or {})["inventory_hostname"], connection, args["courses"], args["settings"], load)
        return {"changed": False, **found}
