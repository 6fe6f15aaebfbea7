#!/usr/bin/python
"""Run a course's image on its build server and say where it answers."""

from __future__ import annotations

DOCUMENTATION = r"""
module: course_try
short_description: Run a course's image on its build server and say where it answers
description:
  - Starts one container per course, as its Golden Job would start it, with its ports on free loopback ports of the build server, and waits
    until it answers. One that does not is removed, and the failure shows its last lines.
  - A container that runs the same image with the same options is left alone; another one is replaced.
version_added: "0.1.0"
author: Golden Jobs developers (@golden-jobs)
extends_documentation_fragment: [engine, progress]
options:
  course:
    description: Name of the course; the container is called C(golden-jobs-try-NAME).
    type: str
    required: true
  image:
    description: Image reference; it has to be in the engine. Needed unless O(state=stopped).
    type: str
  command:
    description: Script that bash runs with errexit, nounset and pipefail, as OpenPAI does. Needed unless O(state=stopped).
    type: str
  env:
    description: Environment of the container.
    type: dict
    default: {}
  hide:
    description: Secrets of the job; messages show asterisks instead. Values of O(env) that look like a secret are hidden without it.
    type: list
    elements: str
    default: []
  ports:
    description: Ports in the container to publish. The first one is Jupyter's, whose C(/api) has to answer.
    type: list
    elements: int
    default: [8888]
  memory_mb:
    description: Memory limit in MiB.
    type: int
  shm_mb:
    description: Size of C(/dev/shm) in MiB.
    type: int
    default: 512
  wait_timeout_s:
    description: Seconds until the container must have answered.
    type: int
    default: 120
  state:
    description: V(stopped) removes the container.
    type: str
    choices: [running, stopped]
    default: running
"""

EXAMPLES = r"""
- name: Run the image of OOB3 here
  course_try:
    course: OOB3
    image: registry.example.com/shaiic/ai-edu:v1.0-0123456789ab
    command: exec jupyter notebook --allow-root --no-browser --ip=0.0.0.0 --port=8888
"""

RETURN = r"""
addresses:
  description: Address of each of O(ports), in that order; empty when nothing runs.
  returned: success
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.golden_jobs import course_try
from ansible.module_utils.golden_jobs.runner import run


def main() -> None:
    run(
        AnsibleModule(argument_spec=course_try.SPEC, required_if=course_try.REQUIRED_IF, supports_check_mode=True),
        course_try.run,
    )


if __name__ == "__main__":
    main()
