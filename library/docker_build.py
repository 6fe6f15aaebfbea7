#!/usr/bin/python
"""Build a Docker image when its context has changed."""

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_build
short_description: Build a Docker image when its context has changed
description:
  - Computes the I(context digest) - sha256 over the content of the context, the Dockerfile, the build arguments, target,
    platform and the base images' registry digests - and builds the image O(name):O(version)-first 12 digits of it only if neither
    the registry nor the engine has it.
  - Builds with BuildKit through the docker CLI, so cache mounts and secrets work.
  - Shows each step on the terminal while it runs.
version_added: "0.1.0"
author: Golden Jobs developers (@golden-jobs)
extends_documentation_fragment: engine
options:
  name:
    description: Repository, with its registry's host in front and no tag, for example C(registry.example.com/shaiic/ai-edu).
    type: str
    required: true
  version:
    description: First part of the immutable tag and whole of the moving tag, for example C(v1.0).
    type: str
    required: true
  context:
    description: Folder on the build server that the build gets. Honours C(.dockerignore).
    type: path
    required: true
  dockerfile:
    description: Dockerfile, inside or outside the context. C(Dockerfile) in the context where it is not set.
    type: path
  build_args:
    description: Build arguments. They are part of the context digest and stay readable in the image's history.
    type: dict
    default: {}
  labels:
    description: Labels of the image. They are not part of the context digest.
    type: dict
    default: {}
  secrets:
    description: BuildKit secrets for C(RUN --mount=type=secret). They are neither in the context digest nor in the image.
    type: list
    elements: dict
    default: []
    suboptions:
      id:
        description: Name under which the Dockerfile mounts it.
        type: str
        required: true
      file:
        description: File on the build server. Give this or O(secrets[].content).
        type: path
      content:
        description: The secret itself. Give this or O(secrets[].file).
        type: str
  target:
    description: Stage to build.
    type: str
  platform:
    description: Platform to build for, for example C(linux/amd64).
    type: str
  network:
    description: Network mode of the RUN steps.
    type: str
  no_cache:
    description: Run every step again.
    type: bool
    default: false
  refresh:
    description: A string that is part of the context digest. Change it to force a new image when something outside the context moved.
    type: str
  build_timeout_s:
    description: Seconds after which the build is stopped and fails.
    type: int
    default: 7200
  log_path:
    description: File on the build server that gets the complete log.
    type: path
"""

EXAMPLES = r"""
- name: Build the image of OOB3 if something changed
  docker_build:
    name: registry.example.com/shaiic/ai-edu
    version: v1.0
    context: /var/lib/golden-jobs/OOB3/context
    registry_username: builder
    registry_password: "{{ vault_registry_password }}"
  register: image

- name: Show what a run would build
  docker_build:
    name: registry.example.com/shaiic/ai-edu
    version: v1.0
    context: /var/lib/golden-jobs/OOB3/context
  check_mode: true
"""

RETURN = r"""
reference:
  description: Image name with the immutable tag.
  returned: always
  type: str
  sample: registry.example.com/shaiic/ai-edu:v1.0-0123456789ab
tag:
  description: The immutable tag alone.
  returned: always
  type: str
context_digest:
  description: 64 hexadecimal digits.
  returned: always
  type: str
base_images:
  description: The base images by reference, each with what identifies it (registry digest, or image id of an image that only this engine has).
  returned: always
  type: dict
registry_digest:
  description: The registry's digest of the immutable tag, none if it is not there.
  returned: always
  type: str
moving_registry_digest:
  description: The registry's digest of the moving tag, none if it is not there.
  returned: always
  type: str
image_id:
  description: Id of the image in the engine, none if only the registry has it.
  returned: always
  type: str
reason:
  description: Why it was built, or not.
  returned: always
  type: str
builder:
  description: Which CLI built, and why that one.
  returned: when built
  type: str
steps:
  description: The steps in order, each with name, cached and duration_s.
  returned: always
  type: list
  elements: dict
size_mb:
  description: Size of the image in millions of bytes, unpacked.
  returned: when built
  type: float
duration_s:
  description: Seconds that the build took.
  returned: always
  type: float
log:
  description: Path of the complete log on the build server.
  returned: when built or failed in the build
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.golden_jobs import image_build
from ansible.module_utils.golden_jobs.runner import run


def main() -> None:
    run(AnsibleModule(argument_spec=image_build.SPEC, supports_check_mode=True), image_build.run)


if __name__ == "__main__":
    main()
