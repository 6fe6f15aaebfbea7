"""Options of every module that talks to an OpenPAI cluster."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  address:
    description:
      - URL of the cluster, either of its web portal (V(https://pai.example.com)) or of its rest-server (V(http://master:9186)).
      - C(/rest-server) at the end may be given or left out; what is right is found.
    type: str
    required: true
  token:
    description:
      - Token of the user. An application token, made on the profile page of the web portal, never expires.
      - The only way in on a cluster that uses OIDC. It goes before O(username) and O(password).
    type: str
  username:
    description: User name, for a cluster with basic authentication. Case-sensitive.
    type: str
  password:
    description: Password of O(username). The module logs in once, renews a token that expires in the middle of its work, and logs out.
    type: str
  ca_file:
    description: File with the CA certificate that signed the cluster's certificate. Without it the system's certificates count.
    type: path
  validate_certs:
    description: Whether the cluster's certificate has to be valid.
    type: bool
    default: true
  timeout_s:
    description: Longest wait for one answer of the cluster, in seconds.
    type: float
    default: 30
requirements:
  - requests
notes:
  - Connection errors, HTTP 429 (as long as the server asks for) and 5xx are tried again. Other errors never are.
"""
