"""Runs the module of the task's name and shows its progress while it runs.

`docker_build.py`, `docker_push.py`, `image_test.py` and `pai_job.py` beside this file are links to it: one
plugin for every module that writes progress events (`module_utils/golden_jobs/progress.py`).
A thread of the worker reads the events over the task's own connection, so it works over SSH as well.
"""

from __future__ import annotations

import json
import shlex
import threading
import uuid

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

POLL_INTERVAL_S = 0.4

display = Display()


class ActionModule(ActionBase):
    _supports_async = False
    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        module = self._task.action
        args = dict(self._task.args)
        if self._task.check_mode:
            return self._execute_module(module_name=module, module_args=args, task_vars=task_vars)
        label = task_vars.get("live_label") or task_vars.get("inventory_hostname", "")
        path = f"/tmp/.golden-jobs-progress-{uuid.uuid4().hex}"
        ended = threading.Event()
        shown = threading.Thread(target=self._show, args=(path, f"{label}: " if label else "", ended), daemon=True)
        shown.start()
        try:
            return self._execute_module(module_name=module, module_args=dict(args, _progress_file=path), task_vars=task_vars)
        finally:
            ended.set()
            shown.join(10)
            self._low_level_execute_command(f"rm -f {shlex.quote(path)}")

    def _show(self, path, prefix, ended):
        """Print each event once; read a last time after the module has ended."""
        offset, last = 0, False
        while not last:
            last = ended.wait(POLL_INTERVAL_S)
            try:
                answer = self._low_level_execute_command(f"tail -c +{offset + 1} {shlex.quote(path)} 2>/dev/null || :")
            except AnsibleConnectionFailure:
                continue  # the next turn asks again from the same offset
            body = answer["stdout"].replace("\r\n", "\n")
            whole = body[: body.rfind("\n") + 1]
            offset += len(whole.encode())
            for line in whole.splitlines():
                display.display(f"  {prefix}{json.loads(line)['text']}", color="cyan")
