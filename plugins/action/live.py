"""Runs the module of the task's name and shows its progress while it runs.

The links beside this file lead to it: one plugin for every module that writes progress events (`module_utils/golden_jobs/progress.py`).
A thread of the worker reads the events over the task's own connection, so it works over SSH as well. The module's work
outlives a dropped connection (`module_utils/golden_jobs/detached.py`): the plugin connects again and finds it. Ctrl-C
ends it on its host before the worker goes.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import signal
import threading
import time
import uuid

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

POLL_INTERVAL_S = 0.4
RECONNECT_EVERY_S = 3.0
RECONNECT_FOR_S = 900.0
STOP_WITHIN_S = 30

display = Display()


class ActionModule(ActionBase):
    _supports_async = False
    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        self._path = f"/tmp/.golden-jobs-progress-{uuid.uuid4().hex}"
        self._label = task_vars.get("live_label") or task_vars.get("inventory_hostname", "")
        self._seen = False
        ended = threading.Event()
        shown = threading.Thread(target=self._show, args=(ended,), daemon=True)
        with self._ended_by_signal():
            shown.start()
            try:
                return self._execute(task_vars)
            finally:
                ended.set()
                shown.join(10)
                with contextlib.suppress(AnsibleConnectionFailure):
                    self._low_level_execute_command(f"rm -f {shlex.quote(self._path)}*")

    def _execute(self, task_vars):
        """The module's result; after a dropped connection from the same process, found again by its progress file."""
        args = dict(self._task.args, _progress_file=self._path)
        lost = None
        while True:
            try:
                return self._execute_module(module_name=self._task.action, module_args=args, task_vars=task_vars)
            except AnsibleConnectionFailure as failure:
                if not self._seen:
                    raise  # never got there
                if lost is None:
                    lost = time.monotonic()
                    self._say("the connection is lost; the work goes on there, connecting again")
                if time.monotonic() - lost > RECONNECT_FOR_S:
                    raise AnsibleConnectionFailure(
                        f"The connection was lost and could not be made again within {RECONNECT_FOR_S:.0f} s; the work on the host goes on "
                        f"without us: run the same command again later ({failure})"
                    ) from failure
                time.sleep(RECONNECT_EVERY_S)

    @contextlib.contextmanager
    def _ended_by_signal(self):
        """On SIGINT (Ctrl-C) and SIGTERM end the module's work first, then do what the worker would have done."""
        former = {}

        def end(number, frame):
            for each in former:
                signal.signal(each, signal.SIG_IGN)
            with contextlib.suppress(Exception):
                self._end_work()
            if callable(former[number]):
                former[number](number, frame)
            raise KeyboardInterrupt

        for number in (signal.SIGINT, signal.SIGTERM):
            former[number] = signal.signal(number, end)
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    def _end_work(self):
        """Tell the module's process to end and wait until it has. One that is still on its way there will find a progress
        file that names no process, and start nothing."""
        path = shlex.quote(self._path)
        self._low_level_execute_command(
            f"""(set -C; echo '{{"pid": 0}}' > {path}) 2>/dev/null && sleep 1; """
            f"pid=$(sed -n '1s/^{{\"pid\": \\([1-9][0-9]*\\).*/\\1/p' {path} 2>/dev/null); "
            f'if [ -n "$pid" ] && kill -TERM "$pid" 2>/dev/null; then '
            f'n=0; while kill -0 "$pid" 2>/dev/null && [ $n -lt {STOP_WITHIN_S * 10} ]; do sleep 0.1; n=$((n+1)); done; fi; rm -f {path}*'
        )

    def _show(self, ended):
        """Print each event once; read a last time after the module has ended."""
        # Left to this thread, a signal would not wake the main thread, which alone can act on it.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        offset, last = 0, False
        while not last:
            last = ended.wait(POLL_INTERVAL_S)
            try:
                answer = self._low_level_execute_command(f"tail -c +{offset + 1} {shlex.quote(self._path)} 2>/dev/null || :")
            except AnsibleConnectionFailure:
                continue  # the next turn asks again from the same offset
            body = answer["stdout"].replace("\r\n", "\n")
            whole = body[: body.rfind("\n") + 1]
            offset += len(whole.encode())
            for line in whole.splitlines():
                self._seen = True
                event = json.loads(line)
                if "text" in event:
                    self._say(event["text"])

    def _say(self, text):
        display.display(f"  {self._label} {text}" if self._label else f"  {text}", color="cyan")
