"""Prints the given lines as they are: `show: {lines: [...]}`. Never changes anything, needs no module."""

from __future__ import annotations

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

display = Display()


class ActionModule(ActionBase):
    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec={"lines": {"type": "list", "elements": "str", "required": True}})
        for line in args["lines"]:
            display.display(line)
        return {"changed": False}
