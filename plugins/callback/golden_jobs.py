"""What the terminal shows of a run: what changed, what failed and why in one sentence; everything with -v."""

from __future__ import annotations

DOCUMENTATION = r"""
name: golden_jobs
type: stdout
short_description: Changes and failures, one line each
description:
  - Shows each play, each change and each failure with its message; tasks that find all as it should be are silent.
  - With C(-v) it shows what the callback P(ansible.builtin.default#callback) shows.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
"""

import contextlib
import io
import re
import sys
import time
from pathlib import Path

import ansible.module_utils
from ansible import constants as C
from ansible.plugins.callback.default import CallbackModule as Default

_OURS = str(Path(__file__).resolve().parents[2] / "module_utils")
if _OURS not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_OURS)

from ansible.module_utils.golden_jobs import written

RETRY_LINE_EVERY_S = 10.0


def _host(result):
    """`OOB3 -> vm01`: names of the inventory; the address that Ansible adds says nothing to an operator."""
    host, other = result.host.get_name(), result.task.delegate_to
    return f"{host} -> {other}" if other and other != host else host


class CallbackModule(Default):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "golden_jobs"

    def __init__(self):
        super().__init__()
        # Ansible leaves flushing to Python, which waits for 8 kB when the output goes to a file or a pipe: a build that is
        # watched through `tee` or a CI log would be silent until it ends.
        with contextlib.suppress(AttributeError, io.UnsupportedOperation):
            sys.stdout.reconfigure(line_buffering=True)
        self._retry_shown = {}
        self._plays_shown = set()
        self._ended = False

    @property
    def _brief(self):
        return self._display.verbosity == 0

    def v2_playbook_on_play_start(self, play):
        if not self._brief:
            super().v2_playbook_on_play_start(play)
            return
        self._play = play
        name = play.get_name().strip()
        # A play that several imported playbooks begin with is said once; a play that comes in waves each time.
        if name not in self._plays_shown or play.serial:
            self._display.display(f"\n{name}", color=C.COLOR_HIGHLIGHT)
        self._plays_shown.add(name)

    def v2_playbook_on_no_hosts_matched(self):
        self._display.display("  no hosts here", color=C.COLOR_SKIP)

    def v2_playbook_on_no_hosts_remaining(self):
        if not self._brief:
            super().v2_playbook_on_no_hosts_remaining()
        elif not self._ended:  # Ansible says it for each play that it leaves
            self._display.display("\nThe run ends here: no further wave and no further play begins.", color=C.COLOR_ERROR)
            self._ended = True

    def v2_playbook_on_include(self, included_file):
        if not self._brief:
            super().v2_playbook_on_include(included_file)

    def v2_runner_on_ok(self, result):
        if not self._brief:
            super().v2_runner_on_ok(result)
            return
        self._handle_warnings_and_exception(result)
        if result.result.get("changed") and "results" not in result.result:
            self._line("changed", result, C.COLOR_CHANGED)

    def v2_runner_item_on_ok(self, result):
        if not self._brief:
            super().v2_runner_item_on_ok(result)
        elif result.result.get("changed"):
            self._line("changed", result, C.COLOR_CHANGED, self._get_item_label(result.result))

    def v2_runner_on_skipped(self, result):
        if not self._brief:
            super().v2_runner_on_skipped(result)

    def v2_runner_item_on_skipped(self, result):
        if not self._brief:
            super().v2_runner_item_on_skipped(result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        if not self._brief:
            super().v2_runner_on_failed(result, ignore_errors)
        elif not ignore_errors and "results" not in result.result:
            self._failure("failed", result)

    def v2_runner_item_on_failed(self, result):
        if not self._brief:
            super().v2_runner_item_on_failed(result)
        else:
            self._failure("failed", result)

    def v2_runner_on_unreachable(self, result):
        if not self._brief:
            super().v2_runner_on_unreachable(result)
        elif not result.task.ignore_unreachable:
            self._failure("unreachable", result)

    def v2_runner_retry(self, result):
        if not self._brief:
            super().v2_runner_retry(result)
            return
        key, now = (result.task._uuid, result.host.get_name()), time.monotonic()
        first = self._retry_shown.setdefault(key, [now, now])
        if now - first[1] >= RETRY_LINE_EVERY_S:
            first[1] = now
            self._line("waiting", result, C.COLOR_DEBUG, f"{now - first[0]:.0f} s")

    def v2_on_file_diff(self, result):
        self._last_task_banner = result.task._uuid if self._brief else self._last_task_banner
        super().v2_on_file_diff(result)

    def _line(self, word, result, color, note=None):
        task = result.task.get_name().strip().rpartition(" : ")[2]  # without the role: the name says it
        if word == "changed" and result.task.check_mode:
            word = "would"
        text = f"  {word:8} {_host(result)}: {task}"
        self._display.display(text + (f" ({note})" if note else ""), color=color)

    def _failure(self, word, result):
        """The task and its message, with nothing around it."""
        answer = result.result
        message = answer.get("msg") or answer.get("stderr") or answer.get("stdout") or self._dump_results(answer)
        if str(message).startswith(("non-zero return code", "Non-zero return code")) and answer.get("stderr"):
            message = answer["stderr"]
        if answer.get("argument_errors"):
            message = self._argument_errors(result)
        self._line(word, result, C.COLOR_ERROR)
        for line in str(message).strip().splitlines():
            self._display.display(f"           {line}", color=C.COLOR_ERROR)

    def _argument_errors(self, result):
        """What is wrong with a role's variables in one sentence, with the file and line where they are written."""
        errors, known = result.result["argument_errors"], result.result.get("argument_spec_data") or {}
        named = {one: [name for name in known if re.search(rf"\b{name}\b", one)] for one in errors}
        variables = self._play.get_variable_manager().get_vars(play=self._play, host=result.host)
        places = [written.place(variables.get(name)) for names in named.values() for name in names]
        where = ", ".join(dict.fromkeys(place for place in places if place))
        # An error that names no variable only says again why the next one is one.
        said = dict.fromkeys(one.rstrip(".") for one in errors if named[one] or not any(named.values()))
        return f"{'; '.join(said)}{f' ({where})' if where else ''}."
