#!/usr/bin/python
"""Remove old images of courses from a Docker engine."""

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_prune
short_description: Remove a course's old images from an engine
description:
  - Removes immutable tags (version and twelve digits) of the given repositories that are not to be kept. Everything else in the engine stays, and so does an
    image that a container uses, running or not.
  - Also removes containers that killed tests of M(image_test) have left.
version_added: "0.1.0"
author: Golden Jobs developers (@golden-jobs)
options:
  repositories:
    description: Repositories with their registry and without a tag.
    type: list
    elements: str
    required: true
  keep:
    description: Image references that stay.
    type: list
    elements: str
    required: true
  min_age_s:
    description: An image that was made less than so many seconds ago stays; it may be on its way to the registry.
    type: int
    default: 86400
  docker_host:
    description: Address of the engine; the environment's, else the default socket, when it is left out.
    type: str
  tls:
    description: Whether to talk TLS to O(docker_host).
    type: bool
    default: false
  tls_ca:
    description: CA that has signed the engine's certificate.
    type: path
  tls_cert:
    description: Certificate that is shown to the engine.
    type: path
  tls_key:
    description: Key of that certificate.
    type: path
  tls_verify:
    description: Whether the engine's certificate is checked.
    type: bool
    default: true
  timeout_s:
    description: Longest wait for one answer of the engine, in seconds.
    type: int
    default: 120
attributes:
  check_mode:
    support: full
    description: Says what would be removed.
  diff_mode:
    support: none
    description: The result lists what is removed.
"""

EXAMPLES = r"""
- name: Remove all but one image of a course
  docker_prune:
    repositories: [harbor.example.com/shaiic/ai-edu]
    keep: ["harbor.example.com/shaiic/ai-edu:v1.0-0123456789ab"]
"""

RETURN = r"""
removed:
  description: What was removed, or with C(--check) would be.
  type: list
  elements: str
  returned: success
in_use:
  description: What stays because a container uses it.
  type: list
  elements: str
  returned: success
freed_mb:
  description: Size of what was removed in MB of 1,000,000 bytes; layers that other images share are counted although they stay.
  type: float
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.golden_jobs.engine_prune import SPEC
from ansible.module_utils.golden_jobs.engine_prune import run as prune
from ansible.module_utils.golden_jobs.runner import run


def main() -> None:
    run(AnsibleModule(argument_spec=SPEC, supports_check_mode=True), prune)


if __name__ == "__main__":
    main()
