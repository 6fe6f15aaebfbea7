#!/usr/bin/python
"""Push an image and verify it by the registry's digest."""

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_push
short_description: Push an image under its tags and verify the registry's digest
description:
  - Pushes O(name):O(tag) if the registry does not have that tag yet, and lets each of O(moving_tags) name the same image.
  - Asks the registry before and after; is changed only if a tag of the registry moved.
  - Tries again with growing pauses after a lost connection, 429 or 5xx; a refused login fails at once.
version_added: "0.1.0"
author: Golden Jobs developers (@golden-jobs)
extends_documentation_fragment: engine
options:
  name:
    description: Repository, with its registry's host in front and no tag.
    type: str
    required: true
  tag:
    description: The immutable tag. It is written once; when the registry has it, the registry's image is kept.
    type: str
    required: true
  moving_tags:
    description: Tags that shall name the same image afterwards.
    type: list
    elements: str
    default: []
  attempts:
    description: How often a tag is tried before the push fails.
    type: int
    default: 5
"""

EXAMPLES = r"""
- name: Push the tested image of OOB3
  docker_push:
    name: registry.example.com/shaiic/ai-edu
    tag: "{{ image.tag }}"
    moving_tags: [v1.0]
    registry_username: builder
    registry_password: "{{ vault_registry_password }}"
"""

RETURN = r"""
reference:
  description: Image name with the immutable tag.
  returned: always
  type: str
digest:
  description: The registry's digest of the immutable tag, none in check mode if it is not there yet.
  returned: always
  type: str
digests:
  description: The registry's digest of each tag.
  returned: always
  type: dict
pushed_tags:
  description: The tags that moved, or would move in check mode.
  returned: always
  type: list
  elements: str
source:
  description: Where the image was found, V(registry), V(engine) or V(absent). The last one in check mode alone, when it is still to be built.
  returned: always
  type: str
bytes_sent:
  description: Bytes of the layers that the registry did not have.
  returned: always
  type: int
attempts:
  description: Attempts over all tags.
  returned: always
  type: int
duration_s:
  description: Seconds that the push took.
  returned: always
  type: float
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.golden_jobs import image_push
from ansible.module_utils.golden_jobs.runner import run


def main() -> None:
    run(AnsibleModule(argument_spec=image_push.SPEC, supports_check_mode=True), image_push.run)


if __name__ == "__main__":
    main()
