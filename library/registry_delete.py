"""Documentation of the action plugin `registry_delete`."""

from __future__ import annotations

DOCUMENTATION = r"""
module: registry_delete
short_description: Delete images from a registry
description:
  - Deletes manifests through the registry's own API, from the control node. Right before that it looks again; an image that another tag names, or whose tag
    names something else by now, stays.
  - The registry frees the space at its next garbage collection. Deletion has to be enabled there.
  - It is an action plugin alone.
version_added: "0.1.0"
author: Golden Jobs developers (@golden-jobs)
options:
  registry:
    description: The registry and the login.
    type: dict
    required: true
    suboptions:
      address:
        description: Host and port, as in image references.
        type: str
        required: true
      username:
        description: User; nobody when it is left out.
        type: str
      password:
        description: The user's password.
        type: str
      ca_file:
        description: CA that has signed the registry's certificate, on the control node.
        type: path
      plain_http:
        description: Whether the registry has no TLS. One on a loopback address may be without it anyway.
        type: bool
        default: false
  images:
    description: What is deleted.
    type: list
    elements: dict
    required: true
    suboptions:
      repository:
        description: Repository without the registry's address.
        type: str
        required: true
      tag:
        description: The only tag that names the image.
        type: str
        required: true
      digest:
        description: What the tag named when the image was chosen.
        type: str
        required: true
"""

EXAMPLES = r"""
- name: Delete an image
  registry_delete:
    registry:
      address: harbor.example.com
      username: builder
      password: "{{ registry_password }}"
    images:
      - repository: shaiic/ai-edu
        tag: v1.0-0123456789ab
        digest: sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
"""

RETURN = r"""
deleted:
  description: What was deleted, or with C(--check) would be, as repository and tag.
  type: list
  elements: str
  returned: always
"""
