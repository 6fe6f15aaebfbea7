"""Prints the given lines as they are: `show: {lines: [...]}`. Never changes anything; `library/show.py` is its documentation."""

from __future__ import annotations

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

SPEC = {"lines": {"type": "list", "elements": "str", "required": True}}

display = Display()


class ActionModule(ActionBase):
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        _spec, args = self.validate_argument_spec(argument_spec=SPEC)
        for line in args["lines"]:
            display.display(line)
        return {"changed": False}
