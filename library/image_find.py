#!/usr/bin/python
"""Find the files of a name in an image, and the addresses that serve them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_find
short_description: Find the files of a name in an image, and the addresses that serve them
description:
  - Lists the files in a container of O(image) that only sleeps and is removed afterwards. Never reports a change.
version_added: "0.1.0"
author: Golden Jobs developers (@golden-jobs)
extends_documentation_fragment: [engine, progress]
options:
  image:
    description: Image reference; it has to be in the engine.
    type: str
    required: true
  name:
    description: Name of the files, without folders. V(*) and V(?) may stand in it.
    type: str
    required: true
  ours:
    description: Folder on the build server, the course's context. A file with the bytes of one in it is ours.
    type: path
  timeout_s:
    description: Seconds that the search may take.
    type: int
    default: 300
"""

EXAMPLES = r"""
- name: Find the logos of OOB1
  image_find:
    image: registry.example.com/shaiic/python-bartu:v1.0-0123456789ab
    name: logo.png
    ours: /var/lib/golden-jobs/OOB1/context
"""

RETURN = r"""
files:
  description: The files by path, each with path, size_bytes, sha256, origin (ours or stock), software and url; the last two may be empty.
  returned: success
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.golden_jobs import image_find
from ansible.module_utils.golden_jobs.runner import run


def main() -> None:
    run(AnsibleModule(argument_spec=image_find.SPEC, supports_check_mode=True), image_find.run)


if __name__ == "__main__":
    main()
