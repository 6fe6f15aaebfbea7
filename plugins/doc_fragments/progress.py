"""The option of every module that shows its progress while it runs."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  _progress_file:
    description: Set by the action plugin of the same name, which shows each line that the module writes to it. Not for playbooks.
    type: path
"""
