#!/usr/bin/python
"""Start an image and check what it serves."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_test
short_description: Start an image as a Golden Job would and check what it serves
description:
  - Starts a container of O(image), waits until it answers, runs all O(checks) and removes the container with its volumes, whatever happens.
  - Fails with every check that did not pass and the container's last lines.
version_added: "0.1.0"
author: Golden Jobs developers (@golden-jobs)
extends_documentation_fragment: engine
options:
  image:
    description: Image reference; it has to be in the engine.
    type: str
    required: true
  command:
    description: Script that bash runs with errexit, nounset and pipefail, as OpenPAI does. The image's own command where it is not set.
    type: str
  env:
    description: Environment of the container.
    type: dict
    default: {}
  port:
    description: Port in the container that is published on a free loopback port of the host.
    type: int
    default: 8888
  memory_mb:
    description: Memory limit of the container in MiB.
    type: int
  ready_path:
    description: Path that has to answer 200 before the checks run.
    type: str
    default: /api
  wait_timeout_s:
    description: Seconds until O(ready_path) must have answered.
    type: int
    default: 120
  checks:
    description: What to look at. Each check has exactly one of V(http), V(command) and V(log_without).
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What the check proves.
        type: str
        required: true
      http:
        description: Path to get; redirects are followed.
        type: str
      status:
        description: Status that O(checks[].http) has to answer.
        type: int
        default: 200
      contains:
        description: Text that the answer of O(checks[].http), or the output of O(checks[].command), has to contain.
        type: str
      same_as:
        description: File on the host that runs the module; O(checks[].http) has to answer exactly its bytes.
        type: path
      command:
        description: Script that bash runs in the container; it has to end with 0.
        type: str
      log_without:
        description: Regular expression that no line of the container's log may match.
        type: str
  log_path:
    description: File that gets the container's log when a check fails.
    type: path
"""

EXAMPLES = r"""
- name: Prove the image of OOB3 before it is pushed
  image_test:
    image: registry.example.com/shaiic/ai-edu:v1.0-0123456789ab
    checks:
      - name: the logo is ours
        http: /static/logo/logo.png
        same_as: /var/lib/golden-jobs/OOB3/context/branding/logo.png
      - name: the requirements can be imported
        command: python -c 'import numpy, sklearn'
"""

RETURN = r"""
checks:
  description: One row per check with name, kind, passed, detail and duration_s.
  returned: always, also on failure of a check
  type: list
  elements: dict
duration_s:
  description: Seconds from start to removal of the container.
  returned: always
  type: float
log:
  description: Path of the container's log.
  returned: on failure, if O(log_path) is set
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.golden_jobs import image_test
from ansible.module_utils.golden_jobs.runner import run


def main() -> None:
    run(AnsibleModule(argument_spec=image_test.SPEC, supports_check_mode=True), image_test.run)


if __name__ == "__main__":
    main()
