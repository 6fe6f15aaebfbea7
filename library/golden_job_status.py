"""Documentation of the action plugin `golden_job_status`."""

from __future__ import annotations

DOCUMENTATION = r"""
module: golden_job_status
short_description: How courses stand on OpenPAI clusters
description:
  - Asks the cluster with two listings and two requests per live Golden Job, and says of each course whether it is current, held, outdated, drifted,
    failed, missing or unreachable, why, and what the cluster remembers of it.
  - It is an action plugin alone. It runs on the control node and changes nothing. A cluster that does not answer is a result, not a failure.
version_added: "0.1.0"
author: Golden Jobs developers (@golden-jobs)
extends_documentation_fragment: [each_cluster]
options:
  connection:
    description: How to reach the cluster, the connection options of M(pai_job).
    type: dict
    required: true
  courses:
    description: What the project says of each course, as the filter C(status_courses) gives it.
    type: list
    elements: dict
    required: true
  hold:
    description: Why this cluster is left alone; empty for one that is not.
    type: str
    default: ""
  root:
    description: Folder that the courses' job files are relative to.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Look how the courses stand here
  golden_job_status:
    connection:
      address: https://pai.example.com
      token: "{{ pai_token }}"
    courses: "{{ status_courses }}"
    root: "{{ project_root }}"
  register: found

- name: Look at all clusters at once
  golden_job_status:
    clusters: "{{ groups['pai_clusters'] }}"
    options:
      connection: golden_job_connection
      courses: status_courses
      settings: golden_job_cluster
      root: project_root
  run_once: true
  register: found
"""

RETURN = r"""
clusters:
  description: The result of each cluster by its name; one whose options are wrong has C(failed) and C(msg).
  type: dict
  returned: with O(clusters)
name:
  description: The cluster's inventory name.
  type: str
  returned: always
problem:
  description: Why the cluster could not be asked, else empty.
  type: str
  returned: always
rows:
  description:
    - One per course with C(course), C(cluster), C(state), C(reason), C(name), C(revision), C(image), C(tag), C(since_ms), C(url), C(by),
      C(wanted) and C(history).
  type: list
  elements: dict
  returned: always
"""
