#!/usr/bin/python
"""Make the build context of a course on the build server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: course_context
short_description: Make the build context of a course on the build server
description:
  - Renders the course's Dockerfile on the control node, sends it with the course's files in one archive, and fetches the sources on the
    build server. Afterwards O(dest) holds exactly that.
  - An action plugin of the same name does the part on the control node; it makes O(archive) of O(dockerfile), O(folder) and O(files).
  - Never reports a change and runs in check mode, too, because the folder is scratch space from which the context digest is computed.
version_added: "0.1.0"
author: Golden Jobs developers (@golden-jobs)
options:
  dest:
    description: The context folder. Everything in it that does not belong there is removed.
    type: path
    required: true
  cache:
    description: Folder that keeps the bare repositories of the sources between runs.
    type: path
    required: true
  dockerfile:
    description: Template (C(.j2)) or plain Dockerfile on the control node. It becomes C(Dockerfile) in O(dest).
    type: path
    required: true
  folder:
    description: Folder on the control node whose files, without C(*.j2), go to the root of O(dest).
    type: path
  files:
    description: Further folders on the control node, by the name of the folder that they become in O(dest).
    type: dict
    default: {}
  search_path:
    description: Folders on the control node in which templates find each other. The folder of O(dockerfile) where it is not set.
    type: list
    elements: path
  archive:
    description: Set by the action plugin, not for playbooks. A tar archive on the build server with the files from the control node.
    type: path
  sources:
    description: Git repositories that the build server fetches.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Folder in O(dest) that gets the files, without C(.git).
        type: str
        required: true
      repository:
        description: Address, as git clone takes it.
        type: str
        required: true
      version:
        description: A full commit id, or a branch or tag that is looked up at each run.
        type: str
        required: true
  timeout_s:
    description: Seconds that one git command may take.
    type: int
    default: 600
"""

EXAMPLES = r"""
- name: Make the context of OOB3
  course_context:
    dest: /var/lib/golden-jobs/OOB3/context
    cache: /var/lib/golden-jobs/git
    dockerfile: dockerfiles/OOB3/Dockerfile.aiedu.j2
    folder: dockerfiles/OOB3
    files:
      branding: branding
    search_path: [dockerfiles/OOB3, dockerfiles]
    sources:
      - path: courseware
        repository: https://git.example.com/courses/ai-edu.git
        version: 0123456789abcdef0123456789abcdef01234567
"""

RETURN = r"""
dest:
  description: The context folder.
  returned: success
  type: str
commits:
  description: The commit of each source by its path.
  returned: success
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.golden_jobs import course_context
from ansible.module_utils.golden_jobs.runner import run


def main() -> None:
    run(AnsibleModule(argument_spec=course_context.SPEC, supports_check_mode=True), course_context.run)


if __name__ == "__main__":
    main()
