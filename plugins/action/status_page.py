"""Writes the status page and its JSON on the control node. `library/status_page.py` is its documentation."""

from __future__ import annotations

import getpass
import json
import os
import socket
import time
from pathlib import Path

import ansible.module_utils
from ansible.plugins.action import ActionBase

_OURS = str(Path(__file__).resolve().parents[2] / "module_utils")
if _OURS not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_OURS)

from ansible.module_utils.golden_jobs import plain, status, status_page

SPEC = {
    "clusters": {"type": "list", "elements": "dict", "required": True},
    "titles": {"type": "dict", "required": True},
    "html": {"type": "path", "required": True},
    "json": {"type": "path", "required": True},
    "by": {"type": "str"},
}


class ActionModule(ActionBase):
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        _spec, args = self.validate_argument_spec(argument_spec=SPEC)
        args = plain.plain(args)
        now_s = time.time()
        by = args["by"] or f"{getpass.getuser()}@{socket.gethostname()}"
        found = status_page.document(args["clusters"], args["titles"], by, now_s)
        if not self._task.check_mode:
            try:
                _replace(Path(args["html"]), status_page.html(found))
                _replace(Path(args["json"]), json.dumps(found, indent=1, ensure_ascii=False) + "\n")
            except OSError as error:
                return {"failed": True, "msg": f"The status page {error.filename or args['html']} cannot be written: {error.strerror}."}
        return {"changed": False, "counts": found["counts"], "lines": status.table(found["rows"], now_s)}


def _replace(path, content):
    """At once, so that a web server never hands out half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.write_text(content, encoding="utf-8")
    new.replace(path)
