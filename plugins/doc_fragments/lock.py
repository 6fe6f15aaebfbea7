"""The options of modules that work on a course's folder on a build server."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  lock:
    description:
      - File on the host, the same for all modules that work on one thing. A run of C(ansible-playbook) keeps it from its first such module to its
        last; another run waits.
      - The lock of a run that is dead frees itself, at once or after two minutes; one that still builds is waited for.
    type: path
  lock_wait_s:
    description: Longest wait for another run, in seconds; V(0) refuses at once.
    type: int
    default: 7200
  _run:
    description: Set by the action plugin of the same name, which says whose run this is. Not for playbooks.
    type: dict
    suboptions:
      identity:
        description: The process of C(ansible-playbook).
        type: str
      by:
        description: Who has started it.
        type: str
"""
