#!/usr/bin/python
"""Write files, and remove those that are no longer declared."""

from __future__ import annotations

DOCUMENTATION = r"""
module: managed_files
short_description: Write files, and remove those that are no longer declared
description:
  - Writes each of O(files) where its content or mode differs, in one step each, and remembers them in O(record).
  - What an earlier call with the same O(record) has written and this one does not declare is removed, so that an option that is taken out of the
    inventory is taken out of the machine. A folder that this module has made goes with its last file.
version_added: "0.1.0"
author: Golden Jobs developers (@golden-jobs)
attributes:
  check_mode:
    support: full
    description: Says what would be written and removed.
  diff_mode:
    support: full
    description: Shows each file before and after.
options:
  record:
    description: JSON file on the machine that remembers what was written.
    type: path
    required: true
  files:
    description: All files there shall be.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path; its folder is made where it is missing.
        type: path
        required: true
      content:
        description: The whole file.
        type: str
        required: true
      mode:
        description: Octal digits. The file belongs to the user who runs this.
        type: str
        default: "0644"
"""

EXAMPLES = r"""
- name: Trust the school's CA, and nothing that was declared here before
  managed_files:
    record: /etc/golden-jobs/files.json
    files:
      - path: /usr/local/share/ca-certificates/school.crt
        content: "{{ lookup('ansible.builtin.file', 'school.crt') }}"
"""

RETURN = r"""
written:
  description: Paths that were written.
  type: list
  elements: str
  returned: success
removed:
  description: Paths that were removed.
  type: list
  elements: str
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.golden_jobs.managed_files import SPEC
from ansible.module_utils.golden_jobs.managed_files import run as manage
from ansible.module_utils.golden_jobs.runner import run


def main() -> None:
    run(AnsibleModule(argument_spec=SPEC, supports_check_mode=True), manage)


if __name__ == "__main__":
    main()
