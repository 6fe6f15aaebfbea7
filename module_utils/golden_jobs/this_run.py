"""Who runs ansible-playbook, for the host where a module works: used by action plugins."""

from __future__ import annotations

import getpass
import os
import socket

from .process_identity import identity


def this_run() -> dict[str, str]:
    """`{identity, by}`: the process of ansible-playbook, the parent of every worker, and `user@host`."""
    return {"identity": identity(os.getppid()), "by": operator()}


def operator() -> str:
    """`user@host` of whoever runs ansible-playbook."""
    return f"{getpass.getuser()}@{socket.gethostname()}"
