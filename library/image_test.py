#!/usr/bin/python
"""Start an image and check what it serves and holds."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_test
short_description: Start an image as a Golden Job would and check what it serves and holds
description:
  - Starts a container of O(image), waits until it answers, runs all O(checks), also after one has failed, and removes the container with its
    anonymous volumes, whatever happens. The terminal shows a line per check.
  - Fails with every check that did not pass and the container's last 30 lines. Its whole log is kept then.
  - The container gets what a Golden Job's container gets and no more. It has no mounts and no privileges, does not swap, and neither the image's
    C(HEALTHCHECK) nor the proxy of the host's docker configuration has a say. Ports are published on free loopback ports of the engine's
    host, so run the module on the host of the engine.
  - When the module is ended by SIGTERM or SIGINT it removes the container as well. When it is killed, the next run on this engine does; it knows
    whose container it is by labels and never touches one of a run that is under way.
version_added: "0.1.0"
author: Golden Jobs developers (@golden-jobs)
extends_documentation_fragment: [engine, progress, lock]
attributes:
  check_mode:
    description: Looks whether the options are allowed and says what would be started.
    support: full
options:
  image:
    description: Image reference; it has to be in the engine.
    type: str
    required: true
  command:
    description:
      - Script that bash runs with errexit, nounset and pipefail, as OpenPAI does, instead of the image's entrypoint and command.
      - The image's own entrypoint and command where it is not set.
    type: str
  env:
    description: Environment of the container.
    type: dict
    default: {}
  hide:
    description:
      - Secrets of the job. Messages, progress and the kept log show asterisks instead of these texts.
      - Values of O(env) whose name or form is that of a secret are hidden without being named here.
      - Texts of less than four characters are not hidden in the kept log.
    type: list
    elements: str
    default: []
  port:
    description:
      - Port in the container where the image serves.
      - V(0) for an image without a server. The checks then begin a second after the start. If C(http), C(command) or C(port) is among them, the
        container has to stay, for example with C(sleep infinity) as O(command); else it may end, with exit code 0.
    type: int
    default: 8888
  memory_mb:
    description: Memory limit of the container in MiB. A process that is killed for it is reported as out of memory.
    type: int
  shm_mb:
    description: Size of C(/dev/shm) in MiB. The default is OpenPAI's.
    type: int
    default: 512
  ready_path:
    description: Path that has to answer 200 before the checks run. Where it is empty, O(port) has to take a connection.
    type: str
    default: /api
  wait_timeout_s:
    description: Seconds until the container must have answered.
    type: int
    default: 120
  checks:
    description:
      - What to look at. Each check has a name and exactly one of V(http), V(command), V(file), V(log_without), V(port), V(user), V(not_root),
        V(label) and V(env_without_secret).
      - They run side by side, so none may rely on what another does. Only V(log_without) waits for all others, wherever it stands.
      - Regular expressions are Python's and are searched for anywhere; begin with C(^) and end with C($) for the whole text.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What the check proves.
        type: str
        required: true
      http:
        description: Path to get. Redirects are followed, unless O(checks[].status) is itself one of 300 to 399.
        type: str
      command:
        description:
          - Script that bash runs in the container, or sh where the image has no bash.
          - Of a longer output than a MiB its end is looked at.
        type: str
      file:
        description:
          - Path of a file or folder in the container; works in images without a shell. A symbolic link counts as what it leads to.
          - C(/proc), C(/sys), C(/dev) and other file systems of the kernel cannot be looked at.
        type: str
      log_without:
        description: Regular expression that no line of the container's log may match.
        type: str
      port:
        description:
          - Port in the container that has to take a connection, besides O(port) or the same, within O(checks[].timeout_s).
          - A server that ends each connection at once without a word counts as one that does not answer.
        type: int
      user:
        description: Name or uid of the user that the image has to run as.
        type: str
      not_root:
        description: V(true) when the image must not run as root.
        type: bool
      label:
        description: Labels that the image has to have, each with a regular expression for its value; an empty one for any value.
        type: dict
      env_without_secret:
        description:
          - V(true) when neither the image's environment nor its labels nor its history may hold a secret.
          - Secrets are values of variables, build arguments and options with names such as C(DB_PASSWORD), C(api-token) and C(SSH_KEY); URLs with a
            password, proxies among them; private keys; tokens in the form of well-known services.
          - O(env) is not looked at. The failure says where a secret is and never what it is.
        type: bool
      status:
        description: Status that O(checks[].http) has to answer, 200 where it is not set.
        type: int
      header:
        description: Headers that O(checks[].http) has to answer, each with a regular expression for its value.
        type: dict
      contains:
        description: Text that the answer of O(checks[].http), or the output of O(checks[].command), has to contain.
        type: str
      not_contains:
        description: Text that the answer of O(checks[].http), or the output of O(checks[].command), must not contain.
        type: str
      sha256:
        description: The sha256 that the bytes of O(checks[].http) or O(checks[].file) have to have.
        type: str
      same_as:
        description: File on the host that runs the module; O(checks[].http) or O(checks[].file) has to have exactly its bytes.
        type: path
      rc:
        description: Exit code of O(checks[].command), 0 where it is not set.
        type: int
      output:
        description: Regular expression that the output of O(checks[].command), errors included, has to match; C(^) and C($) stand for each line's ends.
        type: str
      as_user:
        description: User that runs O(checks[].command), the container's where it is not set.
        type: str
      needs_server:
        description: V(false) for a O(checks[].command) that may begin with the container, while its server still starts.
        type: bool
      exists:
        description: V(false) when there must be nothing at O(checks[].file), not even a broken link.
        type: bool
      owner:
        description: Owner of O(checks[].file), a name or uid of the image's own C(/etc/passwd), with C(:) and a group where that counts.
        type: str
      mode:
        description: Permissions of O(checks[].file) in octal digits with a leading 0, in quotes.
        type: str
      allow:
        description: What O(checks[].env_without_secret) lets pass, by the name of a variable, option or label, or by the host of a URL.
        type: list
        elements: str
      timeout_s:
        description: Seconds that the check may take.
        type: int
        default: 60
  log_path:
    description:
      - File that gets the container's log when the test fails; only its owner can read it.
      - A new file in the folder for temporary files where it is not set.
    type: path
"""

EXAMPLES = r"""
- name: Prove the image of OOB3 before it is pushed
  image_test:
    image: registry.example.com/shaiic/ai-edu:v1.0-0123456789ab
    command: exec jupyter notebook --allow-root --no-browser --ip=0.0.0.0 --port=8888
    memory_mb: 2048
    checks:
      - name: the logo is ours
        http: /static/logo/logo.png
        same_as: /var/lib/golden-jobs/OOB3/context/branding/logo.png
      - name: the requirements can be imported
        command: python -c 'import numpy, sklearn'
        timeout_s: 120
      - name: the courseware is there
        file: /root/courses
        owner: root
      - name: the log has no error
        log_without: '^\[[EC] |^Traceback'
      - name: no secret is in the image
        env_without_secret: true

- name: Test a web server that is no course
  image_test:
    image: web:7
    port: 80
    ready_path: /
    checks:
      - name: the old page leads to the new one
        http: /old
        status: 301
        header:
          Location: /new$
      - name: pages are text
        http: /new
        contains: Welcome
        not_contains: Lorem ipsum
        header:
          Content-Type: ^text/html
      - name: the metrics are served
        port: 9100
      - name: it does not run as root
        not_root: true

- name: Test a tool without a server
  image_test:
    image: tool:2
    command: sleep infinity
    port: 0
    checks:
      - name: the version is right
        command: tool --version
        output: ^tool 2\.
      - name: bad input is refused
        command: tool /nothing
        rc: 2
      - name: the settings are the tool's own
        file: /etc/tool.conf
        owner: tool:tool
        mode: '0640'
      - name: the build's cache is not in the image
        file: /root/.cache
        exists: false
      - name: it says where it comes from
        label:
          org.opencontainers.image.source: ^https://
"""

RETURN = r"""
checks:
  description: One row per check with name, kind, passed, detail and duration_s. Empty when the container did not get that far.
  returned: always, also on failure
  type: list
  elements: dict
  sample:
    - name: the logo is ours
      kind: http
      passed: true
      detail: as expected
      duration_s: 0.02
checks_passed:
  description: Number of checks that passed.
  returned: always, also on failure
  type: int
checks_failed:
  description: Number of checks that did not pass.
  returned: always, also on failure
  type: int
duration_s:
  description: Seconds from the start of the container to the last check.
  returned: always, also on failure
  type: float
image_id:
  description: Id of the image that was tested.
  returned: when the container was started
  type: str
log:
  description: Path of the container's log.
  returned: on failure
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.golden_jobs import image_test
from ansible.module_utils.golden_jobs.runner import run


def main() -> None:
    run(AnsibleModule(argument_spec=image_test.SPEC, supports_check_mode=True), image_test.run)


if __name__ == "__main__":
    main()
