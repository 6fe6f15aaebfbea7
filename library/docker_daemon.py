#!/usr/bin/python
"""Configure a Docker engine and have it run."""

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_daemon
short_description: Configure a Docker engine by a dictionary and have it run
description:
  - C(daemon.json) is O(config) and nothing else, so what is taken out of it is taken out of the engine.
  - The engine's own program validates it first. What that refuses is not written, and the engine is not touched.
  - An engine that runs is told to reload where that is enough, and restarted where a changed key needs that; both wait until nothing is
    built on the machine by M(docker_build).
  - When the engine does not answer afterwards, the former configuration is put back and the engine started with it.
  - When C(data-root) changes, the engine's data is copied there. The old folder stays, with C(.moved) at the end of its name unless a disk is
    mounted there.
version_added: "0.1.0"
author: Golden Jobs developers (@golden-jobs)
extends_documentation_fragment: [progress]
attributes:
  check_mode:
    support: full
    description: Validates, and says whether the engine would be started, restarted or told to reload.
  diff_mode:
    support: full
    description: Shows the configuration before and after.
options:
  config:
    description: The whole content of C(daemon.json). It has no key C(hosts), as the engine listens where its unit says.
    type: dict
    required: true
  path:
    description: Where the configuration is written.
    type: path
    default: /etc/docker/daemon.json
  dockerd:
    description: The engine's program.
    type: str
    default: dockerd
  pid_file:
    description: The engine's pid file.
    type: path
    default: /var/run/docker.pid
  docker_host:
    description: Where the engine answers.
    type: str
    default: unix:///var/run/docker.sock
  start_command:
    description: Starts the engine.
    type: list
    elements: str
    default: [systemctl, start, docker]
  stop_command:
    description: Stops the engine and returns when it has ended.
    type: list
    elements: str
    default: [systemctl, stop, docker.socket, docker]
  log_command:
    description: Prints the end of the engine's log, for a message.
    type: list
    elements: str
    default: [journalctl, -u, docker, -n, "20", -o, cat, --no-pager]
  restart:
    description: Restart an engine that runs also where its configuration has not changed, for example as its unit has.
    type: bool
    default: false
  build_wait_s:
    description: Longest wait for builds on this machine to end, in seconds.
    type: int
    default: 900
  ready_timeout_s:
    description: Longest wait for the engine to answer after its start, in seconds.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Use the school's mirror and keep containers alive while the engine restarts
  docker_daemon:
    config:
      registry-mirrors: [https://mirror.example.com]
      live-restore: true
      log-driver: local
"""

RETURN = r"""
action:
  description: V(none), V(start), V(reload) or V(restart).
  type: str
  returned: success
keys:
  description: Keys of the configuration that differ from what was there.
  type: list
  elements: str
  returned: success
data_root:
  description: Where the engine keeps its images.
  type: str
  returned: success
old_data_root:
  description: Where the data was before, when it was moved. Delete it when you are content.
  type: str
  returned: when the data was moved
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.golden_jobs.engine_daemon import SPEC
from ansible.module_utils.golden_jobs.engine_daemon import run as configure
from ansible.module_utils.golden_jobs.runner import PROGRESS_SPEC, run


def main() -> None:
    run(AnsibleModule(argument_spec={**SPEC, **PROGRESS_SPEC}, supports_check_mode=True), configure)


if __name__ == "__main__":
    main()
