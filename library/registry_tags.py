"""Documentation of the action plugin `registry_tags`."""

from __future__ import annotations

DOCUMENTATION = r"""
module: registry_tags
short_description: Tags and digests of repositories in a registry
description:
  - Asks each registry's own API from the control node, several repositories at once. Changes nothing.
  - It is an action plugin alone. A registry that does not answer is a result, not a failure.
version_added: "0.1.0"
author: Golden Jobs developers (@golden-jobs)
options:
  repositories:
    description: What is asked for.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Repository without the registry's address.
        type: str
        required: true
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
  describe:
    description: Whether to read when each immutable tag's image was made, its labels and its size; two requests more per image.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Ask which images of a course there are
  registry_tags:
    repositories:
      - name: shaiic/ai-edu
        registry:
          address: harbor.example.com
          username: builder
          password: "{{ registry_password }}"
  register: found
"""

RETURN = r"""
repositories:
  description:
    - By registry and repository (C(harbor.example.com/shaiic/ai-edu)), C(tags) (tag to digest, null when the registry could not be asked),
      C(images) (digest to C(created), C(labels) and C(size_bytes)) and C(problem).
  type: dict
  returned: always
"""
