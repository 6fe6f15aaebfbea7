"""Does a published port answer? A connection alone proves nothing: Docker's proxy accepts it before it asks the container."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

#: A proxy whose container refuses closes at once; a server that waits for the client's first word is silent for longer.
_SILENCE_S = 1.0
_POLL_S = 0.2


def answers(host_port: int, timeout_s: float) -> bool:
    """Whether the server behind a loopback port takes a connection and keeps it, or says something."""
    try:
        with socket.create_connection(("127.0.0.1", host_port), timeout=max(0.1, timeout_s)) as connection:
            connection.settimeout(_SILENCE_S)
            try:
                return bool(connection.recv(1))
            except socket.timeout:
                return True
    except OSError:
        return False


def problem(host_port: Callable[[int], int | None], check: Mapping[str, Any]) -> str | None:
    """None as soon as the check's port answers; what is wrong when it has not within the check's time.

    `host_port` gives the published port of a container's port, None while the container does not run.
    """
    deadline = time.monotonic() + check["timeout_s"]
    while True:
        published = host_port(check["port"])
        if published is None:
            return f"port {check['port']} does not answer: the container does not run"
        if answers(published, deadline - time.monotonic()):
            return None
        if time.monotonic() > deadline:
            return f"port {check['port']} did not answer within {check['timeout_s']} s"
        time.sleep(_POLL_S)
