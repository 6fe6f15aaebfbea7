#!/usr/bin/python
"""Describe an OpenPAI cluster and its jobs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pai_job_info
short_description: Look up jobs on an OpenPAI cluster
description:
  - Lists jobs by name or by filters, newest first, with the addresses of their tasks on request.
  - With O(course), finds the running Golden Job of a course and where it answers.
  - Proves address, login and, with O(require_virtual_cluster), the right to use a virtual cluster.
version_added: "0.1.0"
author: Golden Jobs developers (@golden-jobs)
extends_documentation_fragment: [pai]
options:
  name:
    description: Names of jobs, each as V(name) or V(user~name). Those that do not exist are left out. The filters then do not apply.
    type: list
    elements: str
  course:
    description: A course. Its running Golden Job, the one tagged as current, is returned as RV(golden_job). The filters then do not apply.
    type: str
  user:
    description: Owner of the jobs, V(*) for everybody. The user of the token when it is left out.
    type: str
  states:
    description: Only jobs in one of these states, as V(RUNNING).
    type: list
    elements: str
  virtual_cluster:
    description: Only jobs in this virtual cluster.
    type: str
  tags:
    description: Only jobs that have one of these tags.
    type: list
    elements: str
  tags_absent:
    description: Only jobs that have none of these tags.
    type: list
    elements: str
  keyword:
    description: Only jobs with this text in the name of the job, of its owner or of its virtual cluster.
    type: str
  limit:
    description: At most so many jobs. All of them, page by page, when it is left out.
    type: int
  offset:
    description: Leave out so many of the newest jobs.
    type: int
    default: 0
  config:
    description: Whether to fetch each job's config, one request per job. Secrets are masked.
    type: bool
    default: false
  detail:
    description: Whether to fetch each running job's tasks, one request per job.
    type: bool
    default: false
  describe_cluster:
    description: Whether to ask for the cluster's version and the user's rights.
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
"""

EXAMPLES = r"""
- name: Find where the course's Golden Job answers
  pai_job_info:
    address: https://pai.example.com
    token: "{{ pai_token }}"
    course: OOB3
  register: found

- name: List the ten newest jobs of everybody that run or wait
  pai_job_info:
    address: https://pai.example.com
    token: "{{ pai_token }}"
    user: "*"
    states: [RUNNING, WAITING]
    limit: 10

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
  description:
    - C(address) and C(user).
    - With O(describe_cluster) also C(version), C(authn) (basic or OIDC), C(admin) and the C(virtual_clusters) granted to the user.
  type: dict
  returned: always
jobs:
  description:
    - Newest first, each as the cluster lists it (C(name), C(username), C(state), C(executionType), C(tags), C(submissionTime) in ms, and more).
    - With O(config) also C(config). With O(detail) running jobs, and those asked for by name or course, have C(tasks), as returned by M(pai_job).
  type: list
  elements: dict
  returned: always
total_count:
  description: How many jobs match, whatever O(limit) and O(offset).
  type: int
  returned: always
golden_job:
  description: The course's running Golden Job, null when none is current. C(port) and C(url) are those of the label C(http).
  type: dict
  returned: when a course is given
  sample:
    name: golden-OOB3-0123abcd-1
    user: operator
    revision: 0123abcd
    ip: 10.0.0.11
    port: 19214
    ports: {http: [19214], ssh: [20011]}
    url: http://10.0.0.11:19214
    urls: {http: "http://10.0.0.11:19214", ssh: "http://10.0.0.11:20011"}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.golden_jobs.pai_lookup import INFO_SPEC, look_up
from ansible.module_utils.golden_jobs.runner import run


def main() -> None:
    run(AnsibleModule(argument_spec=INFO_SPEC, mutually_exclusive=[("name", "course")], supports_check_mode=True), look_up)


if __name__ == "__main__":
    main()
