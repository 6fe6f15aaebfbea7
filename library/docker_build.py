#!/usr/bin/python
"""Build a Docker image when its context has changed."""

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_build
short_description: Build a Docker image when its context has changed
description:
  - Computes the I(context digest) - sha256 over what the builder would be sent (paths, modes and bytes of the context, as C(.dockerignore) leaves it),
    the Dockerfile, build arguments, labels, target, platform and the base images' registry digests - and builds the image
    O(name):O(version)-first 12 digits of it only if neither the registry nor the engine has it.
  - The same content gives the same digest on every machine. Files that have not changed since the last run are not read again.
  - Owners, times and extended attributes do not count. Sockets, pipes and devices are left out, whichever builder is used.
  - Builds with BuildKit through a docker CLI that can, else with the engine's classic builder.
  - Shows each step on the terminal while it runs, and the slowest ones at the end; with C(-v) every line of the output. A dropped SSH connection does
    not end the build, Ctrl-C does.
  - What a build fetches from elsewhere (C(ADD https://...), packages) is not part of the digest. Set O(refresh) when that has moved.
version_added: "0.1.0"
author: Golden Jobs developers (@golden-jobs)
extends_documentation_fragment: [engine, progress, lock]
options:
  name:
    description: Repository, with its registry's host in front and no tag, for example V(registry.example.com/shaiic/ai-edu).
    type: str
    required: true
  version:
    description: First part of the immutable tag, for example V(v1.0).
    type: str
    required: true
  tags:
    description:
      - Further tags of O(name) that shall name the image in this engine.
      - An image that only the registry has is not pulled for them; M(docker_push) moves tags in the registry.
    type: list
    elements: str
    default: []
  context:
    description: Folder on the build server that the build gets. Honours C(.dockerignore) and C(<Dockerfile>.dockerignore).
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
    description: Labels of the image. They are part of the context digest.
    type: dict
    default: {}
  secrets:
    description:
      - Secrets for C(RUN --mount=type=secret). They are neither in the context digest nor in the image, and their content is masked in log and terminal.
      - Only BuildKit can do this.
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
    description: Platform to build for, for example V(linux/amd64).
    type: str
  network:
    description: Network mode of the RUN steps, for example V(host) or V(none).
    type: str
  extra_hosts:
    description: Host names that the RUN steps can resolve, each with its address.
    type: dict
    default: {}
  pull:
    description:
      - Whether the registry decides which version of a base image is built on. A base that moved there gives a new image.
      - With V(false) the engine's own copy decides, and only a base that the engine does not have is pulled.
    type: bool
    default: true
  cache_from:
    description: Images whose layers may be used as a cache. BuildKit can use those that were built with inline cache information.
    type: list
    elements: str
    default: []
  no_cache:
    description: Run every step again when an image has to be built.
    type: bool
    default: false
  builder:
    description:
      - Which builder to use.
      - V(auto) takes BuildKit where a docker CLI can drive it (built in up to version 22, with the buildx plugin after that), else the classic builder.
    type: str
    choices: [auto, buildkit, classic]
    default: auto
  refresh:
    description: A string that is part of the context digest. Change it to force a new image when something outside the context moved.
    type: str
  ask_registry:
    description: Whether to ask the registry for the image. V(false) is for images that never leave their engine.
    type: bool
    default: true
  min_free_mb:
    description: Refuse to begin a build where the engine's disk has less free than so many MB of 1,000,000 bytes. Only an engine on this host is asked.
    type: int
    default: 0
  build_timeout_s:
    description: Seconds after which the build is stopped and fails.
    type: int
    default: 7200
  log_path:
    description: File on the build server that gets the complete log. In C(~/.cache/golden-jobs/logs) where it is not set.
    type: path
notes:
  - Tried with engine 20.10.24 and its built-in BuildKit and classic builder, and with docker CLI 26.1.5 and buildx 0.13.1 on the same engine.
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
  diff: true

- name: Build an image for this engine alone, with a token that does not stay in it
  docker_build:
    name: tools/notebook
    version: dev
    tags: [latest]
    context: /srv/notebook
    ask_registry: false
    secrets:
      - id: git_token
        content: "{{ vault_git_token }}"

- name: Build on another engine, a stage of a Dockerfile that lies elsewhere
  docker_build:
    name: registry.example.com/shaiic/ai-edu
    version: v2.0
    context: /srv/courseware
    dockerfile: /srv/dockerfiles/ai-edu/Dockerfile
    target: runtime
    docker_host: tcp://build-1.example.com:2376
    tls_ca: /etc/docker/tls/ca.pem
    tls_cert: /etc/docker/tls/cert.pem
    tls_key: /etc/docker/tls/key.pem
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
tags:
  description: Full names of the image in this engine, the immutable one first. Empty where only the registry has it.
  returned: always
  type: list
  elements: str
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
  description: The registry's digest of the tag O(version), none if it is not there.
  returned: always
  type: str
image_id:
  description: Id of the image in the engine, none if only the registry has it.
  returned: always
  type: str
size_mb:
  description: Size of the image in millions of bytes, unpacked.
  returned: when the image is in the engine
  type: float
reason:
  description: Why it was built, or not.
  returned: always
  type: str
changes:
  description: What changed since the last image of this name and version on this build server, a line each. The diff says it as well.
  returned: when an image is built, or would be
  type: list
  elements: str
builder:
  description: Which builder was used, and why that one.
  returned: when an image is built, or would be
  type: str
steps:
  description: The steps in order, each with name, cached and duration_s.
  returned: always
  type: list
  elements: dict
duration_s:
  description: Seconds that the build took.
  returned: always
  type: float
log:
  description: Path of the complete log on the build server.
  returned: when built, or failed in the build
  type: str
failed_step:
  description: The step that failed.
  returned: when a step failed
  type: str
tail:
  description: The last 30 lines of the failed step.
  returned: when a step failed
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.golden_jobs import image_build
from ansible.module_utils.golden_jobs.runner import run


def main() -> None:
    run(AnsibleModule(argument_spec=image_build.SPEC, supports_check_mode=True), image_build.run, image_build.nothing_left)


if __name__ == "__main__":
    main()
