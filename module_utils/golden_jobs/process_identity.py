"""Which process made something, so that a later run can tell whether that process is still there.

A pid alone is not enough: pids come again, after a restart of the machine and within a day. Boot id, PID namespace
and the process's start time (proc(5): /proc/<pid>/stat, field 22) make it unique.
"""

from __future__ import annotations

import os


def identity(pid: int | None = None) -> str:
    """`<boot id> <pid namespace> <pid> <start time>` of a process of this namespace, of this one without a pid; empty where there is no /proc."""
    pid = pid or os.getpid()
    try:
        return f"{_boot_id()} {_pid_namespace()} {pid} {_start_time(pid)}"
    except OSError:
        return ""


def is_alive(owner: str) -> bool | None:
    """Does the process of an `identity` still run? None where that cannot be known from here: another machine, or another boot."""
    try:
        boot, namespace, pid_text, start = owner.split()
        pid = int(pid_text)
        if (boot, namespace) != (_boot_id(), _pid_namespace()):
            return None
        os.kill(pid, 0)
    except (ValueError, OverflowError):
        return None
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's; it exists
    except OSError:
        return None
    try:
        return _start_time(pid) == start
    except OSError:
        return True  # /proc may hide the processes of other users


def _boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as handle:
        return handle.read().strip()


def _pid_namespace() -> str:
    return os.readlink("/proc/self/ns/pid").replace(" ", "")


def _start_time(pid: int) -> str:
    """In clock ticks since the boot; `ended` for a process that only waits for its parent to notice."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as handle:
        fields = handle.read().rpartition(")")[2].split()  # the name before it may hold spaces
    return "ended" if fields[0] in "ZX" else fields[19]
