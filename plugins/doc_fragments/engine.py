"""Options of every module that talks to a Docker engine."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  docker_host:
    description:
      - Address of the engine, for example C(unix:///var/run/docker.sock) or C(tcp://host:2375).
      - The environment (E(DOCKER_HOST)) decides where this is not set.
    type: str
  registry_username:
    description: User of the registry in O(name). Given to the engine per call, never written to a docker configuration.
    type: str
  registry_password:
    description: Password or token of O(registry_username).
    type: str
  timeout_s:
    description: Seconds that one call to the engine may be silent.
    type: int
    default: 120
requirements:
  - A Docker engine, 20.10 or later.
  - The Python package C(docker) on the host that runs the module.
"""
