"""Documentation of the action plugin `golden_job_images`."""

from __future__ import annotations

DOCUMENTATION = r"""
module: golden_job_images
short_description: Images that an OpenPAI cluster runs or may need again
description:
  - Lists the images of all jobs of anybody that have not ended, and of the Golden Jobs that a rollback may go back to; and what interrupted runs have left.
  - It is an action plugin alone. It fails when anything cannot be asked, as what is not known must not be deleted. Changes nothing.
version_added: "0.1.0"
author: Golden Jobs developers (@golden-jobs)
options:
  connection:
    description: How to reach the cluster, the connection options of M(pai_job).
    type: dict
    required: true
  courses:
    description: Names of the courses.
    type: list
    elements: str
    required: true
  rollback_depth:
    description: How many promoted revisions of each course, beside the live one, a rollback may need.
    type: int
    default: 3
  idle_s:
    description: An active Golden Job that has not taken over after so many seconds is a leftover.
    type: int
    default: 86400
"""

EXAMPLES = r"""
- name: Ask which images run here or may be needed again
  golden_job_images:
    connection:
      address: https://pai.example.com
      token: "{{ pai_token }}"
    courses: [OOB3]
  register: used
"""

RETURN = r"""
images:
  description: Image references as the jobs name them.
  type: list
  elements: str
  returned: success
leftovers:
  description: Golden Jobs that interrupted runs have left, each with C(name), C(why), C(stop) and C(untag).
  type: list
  elements: dict
  returned: success
"""
