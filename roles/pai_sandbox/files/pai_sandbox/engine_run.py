"""Which run of the engine is this? Told by boot, process id and start time of the ``dockerd`` behind the socket.

An engine that is started anew has ended all containers of its earlier run, and a program that ends well on SIGTERM then
looks as if it had been done. The container's own times do not tell the two apart; that it is another engine does.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from pathlib import Path

from docker.utils import parse_host

_PROC = Path("/proc")
_UNIX = "http+unix://"
_INIT = 1
_CONNECT_TIMEOUT_S = 5


def was_restarted(known: str | None, found: str | None) -> bool:
    """Whether the engine is another run than the known one; no when either cannot be told."""
    return known is not None and found is not None and known != found


def _run_of(pid: int) -> str | None:
    """The run of a process, or None when it is no ``dockerd``: the pid of a proxy or another engine says nothing here."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        stat = (_PROC / str(pid) / "stat").read_bytes().decode(errors="replace")
    except OSError:
        return None
    # The name stands in parentheses and may hold spaces and parentheses; the start time is field 22 of proc(5).
    name, _, fields = stat.partition("(")[2].rpartition(")")
    return f"{boot} {pid} {fields.split()[19]}" if name == "dockerd" else None


def _is_of_a_container(pid: int) -> bool:
    """Whether a process has a pid namespace of its own, as the ``dockerd`` of docker-in-docker."""
    try:
        lines = (_PROC / str(pid) / "status").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return True
    return any(line.startswith("NSpid:") and len(line.split()) > 2 for line in lines)


def _only_dockerd() -> str | None:
    """The run of this host's one ``dockerd``; None when there are several: any could be the one."""
    pids = [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]
    found = [run for pid in pids if (run := _run_of(pid)) and not _is_of_a_container(pid)]
    return found[0] if len(found) == 1 else None


def find_run(known: str | None) -> str | None:
    """The run of the engine that answers now, or None when it cannot be told.

    ``known`` is the run found last; it spares a look at all processes. Always connects anew and raises ``OSError`` when
    nobody listens: an engine that is shutting down ends its containers while it still answers on open connections.
    """
    host = str(parse_host(os.environ.get("DOCKER_HOST")))
    if sys.platform != "linux" or not host.startswith(_UNIX):
        return None
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_CONNECT_TIMEOUT_S)
        connection.connect(host.removeprefix(_UNIX))
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid: int = struct.unpack("3i", credentials)[0]
    if pid != _INIT:
        return _run_of(pid)
    # systemd opened the socket and handed it to the engine.
    if known and _run_of(int(known.split()[1])) == known:
        return known
    return _only_dockerd()
