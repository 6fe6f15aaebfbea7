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
options:
  clusters:
    description: Hosts to look at, all at once, with O(options). Without it, the one that the other options name.
    type: list
    elements: str
  options:
    description:
      - With O(clusters), the other options, each with the name of the variable that has its value; each cluster's own counts.
      - An option whose variable a cluster does not have is left out.
    type: dict
  connection:
    description: How to reach the cluster, the connection options of M(pai_job).
    type: dict
    required: true
  courses:
    description: What the project says of each course, as the filter C(status_courses) gives it.
    type: list
    elements: dict
    required: true
  settings:
    description: What the cluster lays over a course's job, as the role golden_job has it in C(golden_job_cluster).
    type: dict
    default: {}
    suboptions:
      virtual_cluster:
        description: Virtual cluster of the jobs.
        type: str
      resources:
        description: Figures that replace those in C(resourcePerInstance), for every task role or below the name of one.
        type: dict
      sku:
        description: SKU of the hived scheduler for every task role.
        type: str
      registry_mirrors:
        description: A registry's address to C(address), C(username) and C(password) of the mirror that this cluster pulls from.
        type: dict
      secrets:
        description: Added to the secrets of each job.
        type: dict
      overrides:
        description: Merged into each job. Maps are merged key by key, anything else replaces, null removes.
        type: dict
      course_overrides:
        description: A course's name to overrides that are merged last.
        type: dict
      pins:
        description: A course's name to the image tag that it stays at on this cluster.
        type: dict
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
