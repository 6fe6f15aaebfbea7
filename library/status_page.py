"""Documentation of the action plugin `status_page`."""

from __future__ import annotations

DOCUMENTATION = r"""
module: status_page
short_description: Write how all courses stand on all clusters as one HTML page and JSON
description:
  - Writes both files on the control node, each at once. The page needs no network and no script.
  - It is an action plugin alone. The files are a view, so it never reports a change; with C(--check) it writes nothing.
version_added: "0.1.0"
author: Golden Jobs developers (@golden-jobs)
options:
  clusters:
    description: What M(golden_job_status) returned for each cluster.
    type: list
    elements: dict
    required: true
  titles:
    description: Title of each course by its name, in the order of the page.
    type: dict
    required: true
  html:
    description: Path of the page.
    type: path
    required: true
  json:
    description: Path of the same for programs.
    type: path
    required: true
  by:
    description: Who looks. The user and host that Ansible runs on when it is left out.
    type: str
"""

EXAMPLES = r"""
- name: Write the page
  status_page:
    clusters: "{{ found }}"
    titles:
      OOB3: AI education
    html: reports/status.html
    json: reports/status.json
"""

RETURN = r"""
counts:
  description: How many rows are in each state.
  type: dict
  returned: success
lines:
  description: The same as a table for a terminal.
  type: list
  elements: str
  returned: success
"""
