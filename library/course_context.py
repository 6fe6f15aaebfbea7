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
extends_documentation_fragment: [progress, lock]
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
    description: Further folders and files on the control node, by the path that they get in O(dest).
    type: dict
    default: {}
  texts:
    description: Further files, by path in O(dest), with their text.
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
        description: Folder in O(dest) that gets the files, without C(.git). Beside it C(PATH.sha256) lists them for C(sha256sum --check).
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
      deploy_key:
        description: Private key for an ssh address. Only git sees it, in a file in memory that is gone afterwards.
        type: str
      known_hosts:
        description: Lines of a known_hosts file. The first key that a host shows is taken and remembered where it is not set.
        type: str
      username:
        description: User that goes with O(sources[].token).
        type: str
        default: git
      token:
        description: Token or password for an https address. Only git sees it.
        type: str
      written:
        description: Set by the action plugin, not for playbooks. Where the entry was written.
        type: str
  downloads:
    description: Files that the build server fetches. They are kept in O(cache) and resumed where a transfer broke off.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: File in O(dest), outside of all O(sources[].path).
        type: str
        required: true
      url:
        description: Address, V(http), V(https) or V(file) of the build server.
        type: str
        required: true
      sha256:
        description: The file's checksum.
        type: str
        required: true
      headers:
        description: Headers of the request, for example a login.
        type: dict
        default: {}
      written:
        description: Set by the action plugin, not for playbooks. Where the entry was written.
        type: str
  site:
    description: How the build server reaches the outside, for O(sources) and O(downloads).
    type: dict
    default: {}
    suboptions:
      ca_file:
        description: CA bundle on the build server.
        type: path
      http_proxy:
        description: Proxy for http.
        type: str
      https_proxy:
        description: Proxy for https.
        type: str
      no_proxy:
        description: Hosts that need no proxy.
        type: str
  commit_labels:
    description: Labels of the image that shall be the commit of a source, each with that source's path.
    type: dict
    default: {}
  build:
    description:
      - The options of M(docker_build) that decide which image it is. The result then says as RV(build) what that module would do with this context;
        where the registry has the image already, nothing else is to be done.
    type: dict
    suboptions:
      name:
        description: Repository with its registry's host in front.
        type: str
        required: true
      version:
        description: First part of the immutable tag.
        type: str
        required: true
      labels:
        description: Labels of the image.
        type: dict
        default: {}
      build_args:
        description: Build arguments.
        type: dict
        default: {}
      target:
        description: Stage to build.
        type: str
      platform:
        description: Platform to build for.
        type: str
      refresh:
        description: A string that is part of the context digest.
        type: str
      ask_registry:
        description: Whether to ask the registry for the image.
        type: bool
        default: true
      registry_username:
        description: User of the registry.
        type: str
      registry_password:
        description: The user's password.
        type: str
  timeout_s:
    description: Seconds that one git command, or one download with its retries, may take.
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
labels:
  description: The labels of O(build) and O(commit_labels) with their commits.
  returned: success
  type: dict
build:
  description: What M(docker_build) returns in check mode for this context, but for the difference.
  returned: when O(build) is given
  type: dict
requirements:
  description: What the requirements files that the Dockerfile names ask for, each with name and conditional.
  returned: success
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.golden_jobs import course_context
from ansible.module_utils.golden_jobs.runner import run


def main() -> None:
    run(AnsibleModule(argument_spec=course_context.SPEC, supports_check_mode=True), course_context.run, course_context.nothing_left)


if __name__ == "__main__":
    main()
