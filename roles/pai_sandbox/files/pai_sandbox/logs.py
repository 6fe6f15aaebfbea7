"""What tasks wrote: kept in files after their containers are gone, handed out by the links of the log manager."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from . import jwt
from .settings import HOST
from .store import Row, internal_name

TAIL_BYTES = 16 * 1024
LINK_S = 120
LOG_MANAGER_PORT = 9103
#: Shown name, and whether standard output and standard error are in it.
KINDS = {"all": (True, True), "stdout": (True, False), "stderr": (False, True)}

Output = Callable[[bool, bool], bytes]


class TaskLogs:
    """The logs of one sandbox in its folder, by job, role and pod."""

    def __init__(self, folder: Path, key: str) -> None:
        self._folder = folder
        self._key = key

    def _file(self, frame: str, role: str, pod_uid: str, kind: str) -> Path:
        return self._folder / internal_name(frame) / role / pod_uid / f"user-{kind}"

    def keep(self, task: Row, output: Output) -> None:
        """Write the output of a task that ends; ``output`` gives it, for standard output and standard error."""
        for kind, (stdout, stderr) in KINDS.items():
            path = self._file(task["frame"], task["role"], task["pod_uid"], kind)
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(output(stdout, stderr))

    def kept(self, frame: str, role: str, pod_uid: str, kind: str) -> bytes | None:
        """What was kept of a pod, or None."""
        try:
            return self._file(frame, role, pod_uid, kind).read_bytes()
        except OSError:
            return None

    def locations(self, frame: str, role: str, pod_uid: str, tail: bool) -> list[dict[str, str]]:
        """Names and links of a pod's logs; a link carries a token of its own that lives for 120 s."""
        token = jwt.encode({"sub": "log-manager", "exp": int(time.time()) + LINK_S}, self._key)
        query = {"username": frame.partition("~")[0], "framework-name": internal_name(frame), "pod-uid": pod_uid, "taskrole": role}
        query |= {"token": token, **({"tail-mode": "true"} if tail else {})}
        prefix = f"/log-manager/{HOST}:{LOG_MANAGER_PORT}/api/v1/logs"
        return [{"name": kind, "uri": f"{prefix}/user-{kind}?{urlencode(query)}"} for kind in KINDS]

    def is_link_token(self, token: Any) -> bool:
        """Whether a token of a link is good."""
        payload = jwt.decode(str(token), self._key, time.time())
        return payload is not None and payload.get("sub") == "log-manager"
