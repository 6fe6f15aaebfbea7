#!/usr/bin/python
"""Brings one OpenPAI job to a state."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pai_job
short_description: Submit, await, tag and stop an OpenPAI job
description:
  - Brings one job of the user to a state and returns where its tasks answer.
  - OpenPAI never frees a job's name. A job of this name with the same config is left as it is, one with another config is an error.
  - The job is checked before anything is sent (schema, references, rules that only bite inside the cluster).
  - Shows its progress while it waits.
extends_documentation_fragment: [pai]
options:
  name:
    description: Name of the job. It replaces the name in O(job) or O(job_file).
    type: str
    required: true
  state:
    description:
      - C(submitted), the cluster has the job, whatever became of it.
      - C(running), every task of it runs and has an address.
      - C(succeeded), it has ended well.
      - C(stopped), it has ended, in whatever way. A job that does not exist counts as stopped.
    type: str
    choices: [submitted, running, succeeded, stopped]
    default: running
  job:
    description:
      - The job in OpenPAI's protocol 2. Without this and O(job_file) the job has to exist.
    type: dict
  job_file:
    description: YAML file with the job.
    type: path
  secrets:
    description: Added to the job's C(secrets). Sent in the form that the server masks, never shown.
    type: dict
  tags:
    description: Tags that the job shall have.
    type: list
    elements: str
    default: []
  tags_absent:
    description: Tags that the job shall not have.
    type: list
    elements: str
    default: []
  wait_timeout_s:
    description: Longest wait for the state, in seconds.
    type: float
    default: 600
  poll_interval_s:
    description: Longest pause between two looks at the job, in seconds. The first looks come faster.
    type: float
    default: 5
requirements:
  - PyYAML
  - jsonschema
attributes:
  check_mode:
    support: full
    description: Nothing is sent; tells whether the job would be submitted, tagged or stopped.
  diff_mode:
    support: full
    description: Shows the job's config, secrets masked.
author:
  - Golden Jobs
"""

EXAMPLES = r"""
- name: Run the job
  pai_job:
    address: https://pai.example.com
    token: "{{ pai_token }}"
    name: hello-1
    job_file: yamls/hello.yaml
    tags: [demo]

- name: Stop it
  pai_job:
    address: https://pai.example.com
    token: "{{ pai_token }}"
    name: hello-1
    state: stopped
"""

RETURN = r"""
address:
  description: The cluster.
  type: str
  returned: always
name:
  description: Name of the job.
  type: str
  returned: always
user:
  description: Owner of the job.
  type: str
  returned: always
submitted:
  description: Whether this call submitted the job (in check mode, would submit it).
  type: bool
  returned: unless O(state=stopped)
state:
  description: State of the job, null when there is none.
  type: str
  returned: always
tags:
  description: Tags of the job.
  type: list
  elements: str
  returned: always
tasks:
  description:
    - One entry per task.
    - C(ports) maps a label to a list of port numbers, C(urls) a label to the URL of its first port.
  type: list
  elements: dict
  returned: always
  sample:
    - {role: jupyter, index: 0, state: RUNNING, ip: 10.0.0.11, ports: {http: [19214]}, urls: {http: "http://10.0.0.11:19214"}, exit_code: null}
job:
  description: The job as the cluster describes it (C(GET /api/v2/jobs/<user>~<job>)), null when there is none.
  type: dict
  returned: always
exit_code:
  description: Exit code of the job, null as long as it has not ended.
  type: int
  returned: always
exit_meaning:
  description: What the exit code means.
  type: str
  returned: always
exit_diagnostics:
  description: What the cluster says about the end.
  type: str
  returned: when the job ended and should not
log_tail:
  description: Last lines that the job wrote, if they can be had.
  type: list
  elements: str
  returned: when the job ended and should not
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.golden_jobs.pai_jobs import JOB_SPEC, ensure_job
from ansible.module_utils.golden_jobs.runner import run


def main() -> None:
    module = AnsibleModule(argument_spec=JOB_SPEC, mutually_exclusive=[("job", "job_file")], supports_check_mode=True)
    run(module, ensure_job)


if __name__ == "__main__":
    main()
