"""Documentation of the action plugin `show`."""

from __future__ import annotations

DOCUMENTATION = r"""
module: show
short_description: Print lines as they are
description:
  - Prints each line on the terminal, without quotes, task names or colours around it.
  - It is an action plugin alone. It runs on the control node, needs no connection and never reports a change.
version_added: "0.1.0"
author: Golden Jobs developers (@golden-jobs)
options:
  lines:
    description: What to print.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Say where the course answers
  show:
    lines:
      - OOB3 answers at
      - "{{ course_url }}"
"""

RETURN = r"""
"""
