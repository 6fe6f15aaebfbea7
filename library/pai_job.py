#!/usr/bin/python
"""Bring one OpenPAI job to a state."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pai_job
short_description: Submit, await, tag and stop an OpenPAI job
description:
  - Brings one job of the user to a state and returns where its tasks answer.
  - The job comes from O(job), from O(job_file), or is a clone of another one (O(clone_from)); O(image), O(virtual_cluster), O(resources),
    O(deployment), O(extras) and O(secrets) replace parts of it.
  - OpenPAI never frees a job's name. A job of this name with the same config is left as it is, one with another config is an error that says
    where they differ.
  - The job is checked before anything is sent (schema, references, rules that only bite inside the cluster).
  - A submit whose answer is lost or odd is looked up before it is sent again, so that there is one job and never two.
  - Shows its progress while it waits.
version_added: "0.1.0"
author: Golden Jobs developers (@golden-jobs)
extends_documentation_fragment: [pai, progress]
options:
  name:
    description: Name of the job. It replaces the name in the job that is given.
    type: str
    required: true
  state:
    description:
      - V(submitted), the cluster has the job, whatever became of it.
      - V(running), every task of it runs and has an address.
      - V(succeeded), it has ended well.
      - V(stopped), it has ended, in whatever way. A job that does not exist counts as stopped.
    type: str
    choices: [submitted, running, succeeded, stopped]
    default: running
  job:
    description:
      - The job in OpenPAI's protocol 2. Without this, O(job_file) and O(clone_from) the job has to exist.
    type: dict
  job_file:
    description: YAML file with the job.
    type: path
  clone_from:
    description:
      - Another job on the same cluster, as V(name) of a job of the user or V(user~name), whatever its state.
      - The cluster masks secrets, so those that the job refers to have to be given in O(secrets).
    type: str
  image:
    description: Image reference for the job's image, with several images for that of the first task role.
    type: str
  virtual_cluster:
    description: Virtual cluster of the job.
    type: str
  resources:
    description:
      - Figures that replace those in C(resourcePerInstance), of V(cpu), V(memoryMB), V(gpu) and V(ports).
      - They count for every task role, or stand below the name of a task role.
    type: dict
  deployment:
    description: One of the job's deployments, which becomes C(defaults.deployment).
    type: str
  extras:
    description: Merged into the job's C(extras) key by key; null removes a key.
    type: dict
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
"""

EXAMPLES = r"""
- name: Run the job
  pai_job:
    address: https://pai.example.com
    token: "{{ pai_token }}"
    name: hello-1
    job_file: yamls/hello.yaml
    tags: [demo]

- name: Try the Golden Job with more memory, in a job of its own
  pai_job:
    address: https://pai.example.com
    token: "{{ pai_token }}"
    name: try-1
    clone_from: operator~golden-OOB3-0123abcd-1
    resources: {memoryMB: 8192}
    secrets:
      registry_password: "{{ registry_password }}"

- name: Wait for the end
  pai_job:
    address: https://pai.example.com
    token: "{{ pai_token }}"
    name: hello-1
    state: succeeded
    wait_timeout_s: 3600

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
  returned: when it did not fail
name:
  description: Name of the job.
  type: str
  returned: when it did not fail
user:
  description: Owner of the job.
  type: str
  returned: when it did not fail
submitted:
  description: Whether this call submitted the job (in check mode, would submit it).
  type: bool
  returned: unless the state is stopped
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
    - C(exit_code) and C(exit_meaning) are null and empty as long as the task has not ended. A task that failed may have a C(log_tail).
  type: list
  elements: dict
  returned: always
  sample:
    - role: jupyter
      index: 0
      state: RUNNING
      ip: 10.0.0.11
      ports: {http: [19214]}
      urls: {http: "http://10.0.0.11:19214"}
      exit_code: null
      exit_meaning: ""
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
advice:
  description: What to do about it, as at the end of the message.
  type: str
  returned: when the state was not reached
log_tail:
  description: Last lines that the task which ended the job wrote, if they can be had.
  type: list
  elements: str
  returned: when the job ended and should not
problems:
  description: Every rule that the job breaks, with its place.
  type: list
  elements: str
  returned: when the job was refused before it was sent
differences:
  description: Places at which the job differs from the one of the same name on the cluster.
  type: list
  elements: str
  returned: when the name is taken by another job
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.golden_jobs.pai_jobs import JOB_SPEC, SOURCES, ensure_job
from ansible.module_utils.golden_jobs.runner import run


def main() -> None:
    module = AnsibleModule(argument_spec=JOB_SPEC, mutually_exclusive=[SOURCES], supports_check_mode=True)
    run(module, ensure_job)


if __name__ == "__main__":
    main()
