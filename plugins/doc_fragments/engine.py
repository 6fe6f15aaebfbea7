"""Options of every module that talks to a Docker engine."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  docker_host:
    description:
      - Address of the engine, for example V(unix:///var/run/docker.sock) or V(tcp://build-1.example.com:2376).
      - The environment (E(DOCKER_HOST), E(DOCKER_TLS_VERIFY), E(DOCKER_CERT_PATH)) decides where this is not set.
    type: str
  tls:
    description: Talk TLS to O(docker_host). Setting O(tls_ca), O(tls_cert) or O(tls_key) does so as well.
    type: bool
    default: false
  tls_ca:
    description: File with the CA certificate that signed the engine's certificate, on the host that runs the module.
    type: path
  tls_cert:
    description: File with the client certificate that the engine asks for. Needs O(tls_key).
    type: path
  tls_key:
    description: File with the private key of O(tls_cert).
    type: path
  tls_verify:
    description: Whether the engine's certificate has to be valid.
    type: bool
    default: true
  registry_username:
    description: User of the image's registry. Given to the engine per call, never written to a docker configuration.
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
