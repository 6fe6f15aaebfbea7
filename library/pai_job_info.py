#!/usr/bin/python
"""Describes an OpenPAI cluster and its jobs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pai_job_info
short_description: Look up jobs on an OpenPAI cluster
description:
  - Lists jobs by name or by filters, with the addresses of their tasks on request.
  - Describes the cluster and the user as well, so that one call proves address, login and virtual cluster.
extends_documentation_fragment: [pai]
options:
  name:
    description: Names of jobs. Those that do not exist are left out. The other filters then do not apply.
    type: list
    elements: str
  user:
    description: Owner of the jobs, C(*) for everybody. The user of the token when it is left out.
    type: str
  states:
    description: Only jobs in one of these states, as C(RUNNING).
    type: list
    elements: str
  virtual_cluster:
    description: Only jobs in this virtual cluster.
    type: str
  tags:
    description: Only jobs that have one of these tags.
    type: list
    elements: str
  keyword:
    description: Only jobs with this text in the name of the job, of its owner or of its virtual cluster.
    type: str
  config:
    description: Whether to fetch each job's config, one request per job.
    type: bool
    default: false
  detail:
    description: Whether to fetch each running job's tasks, one request per job.
    type: bool
    default: false
  require_virtual_cluster:
    description: Fail unless this virtual cluster is granted to the user.
    type: str
attributes:
  check_mode:
    support: full
    description: Changes nothing.
  diff_mode:
    support: none
    description: Changes nothing.
author:
  - Golden Jobs
"""

EXAMPLES = r"""
- name: Find what runs for the course
  pai_job_info:
    address: https://pai.example.com
    token: "{{ pai_token }}"
    tags: [golden-current]
    detail: true

- name: Prove that the cluster can be used
  pai_job_info:
    address: https://pai.example.com
    username: ops
    password: "{{ pai_password }}"
    keyword: golden-
    require_virtual_cluster: default
"""

RETURN = r"""
cluster:
  description: C(address), C(version), C(authn) (basic or OIDC), C(user), C(admin) and C(virtual_clusters) granted to the user.
  type: dict
  returned: always
jobs:
  description:
    - Newest first, each as the cluster lists it (C(name), C(username), C(state), C(executionType), C(tags), C(submissionTime) in ms, and more).
    - With O(config) also C(config), secrets masked. With O(detail) running jobs have C(tasks), as returned by M(pai_job).
  type: list
  elements: dict
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.golden_jobs.pai_jobs import INFO_SPEC, look_up
from ansible.module_utils.golden_jobs.runner import run


def main() -> None:
    run(AnsibleModule(argument_spec=INFO_SPEC, supports_check_mode=True), look_up)


if __name__ == "__main__":
    main()
