"""Work that outlives the connection that started it.

The module's process forks: the child, in a session of its own, does the work and writes the module's answer to
`<path>.result`; the parent waits for it and passes the answer on. When the connection drops, the parent may die; the
child goes on. The action plugin then starts the module again with the same path: it finds the work under way and
waits for the same child.

Files beside `path` (the progress file, whose first line names the child): `.out` and `.err` while the work runs,
`.result` when it has ended. The action plugin removes them.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from .process_identity import identity, is_alive

_POLL_S = 0.1
_CREATE = os.O_CREAT | os.O_EXCL | os.O_WRONLY


def run(path: str, work: Callable[[], None], fail: Callable[..., NoReturn]) -> NoReturn:
    """Start the work, or find it under way; end this process with the work's own output and exit code."""
    try:
        progress = os.open(path, _CREATE, 0o600)
    except FileExistsError:
        child, ours = _named_in(path), False
    else:
        child, ours = {"pid": os.fork()}, True
        if child["pid"] == 0:
            os.write(progress, (json.dumps({"pid": os.getpid(), "identity": identity()}) + "\n").encode())
            os.close(progress)
            _work_and_end(path, work)
        os.close(progress)
    _pass_signals_to(child["pid"])
    status = _status_of(child, ours)
    if not os.path.exists(f"{path}.result"):
        how = f"was ended by signal {-status}" if status is not None and status < 0 else "ended"
        fail(msg=f"The module's process {how} before it had a result.")
    _relay(path)
    with open(f"{path}.code", encoding="ascii") as handle:
        raise SystemExit(int(handle.read()))


def _work_and_end(path: str, work: Callable[[], None]) -> NoReturn:
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        # Nothing of the connection may stay open here: the server would wait for it.
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(os.open(f"{path}.out", _CREATE, 0o600), 1)
        os.dup2(os.open(f"{path}.err", _CREATE, 0o600), 2)
        try:
            work()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        with open(os.open(f"{path}.code", _CREATE, 0o600), "w", encoding="ascii") as handle:
            handle.write(str(code))
        os.rename(f"{path}.out", f"{path}.result")
    finally:
        os._exit(code)


def _named_in(path: str) -> dict[str, Any]:
    """The child that another process of this module has started; its first line may be a moment away."""
    for _attempt in range(100):
        with open(path, encoding="utf-8") as handle:
            line = handle.readline()
        if line.endswith("\n"):
            first: dict[str, Any] = json.loads(line)
            return first
        time.sleep(_POLL_S)
    return {"pid": 0}


def _pass_signals_to(pid: int) -> None:
    hung_up = False

    def hang_up(number: int, frame: object) -> None:
        nonlocal hung_up
        hung_up = True

    def pass_on(number: int, frame: object) -> None:
        if hung_up:
            os._exit(1)  # the connection's end (sshd, sudo) takes this process along, but not the work
        if pid:
            os.kill(pid, signal.SIGTERM)

    signal.signal(signal.SIGHUP, hang_up)
    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGINT, pass_on)


def _status_of(child: dict[str, Any], ours: bool) -> int | None:
    """Wait for the end; the exit code (negative: the signal) of a child of ours, None of another's."""
    if ours:
        return os.waitstatus_to_exitcode(os.waitpid(child["pid"], 0)[1])
    while is_alive(child.get("identity", "")):
        time.sleep(_POLL_S)
    return None


def _relay(path: str) -> None:
    for name, stream in (("result", sys.stdout), ("err", sys.stderr)):
        with open(f"{path}.{name}", encoding="utf-8", errors="surrogateescape") as handle:
            stream.write(handle.read())
        stream.flush()
