"""Wait until a container is ready for its checks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from . import image_check_http, image_check_port
from .errors import GoldenJobsError
from .image_container import ImageContainer
from .progress import Progress
from .pulse import Pulse

_POLL_S = 0.2
_ANSWER_S = 10.0
#: So long a container without a server has to stay, to be taken for one that runs.
_SETTLE_S = 1.0


def wait(container: ImageContainer, port: int, ready_path: str, wait_timeout_s: int, progress: Progress, *, may_end: bool) -> None:
    """Return once it answers: HTTP 200 where there is a path, a TCP connection where there is but a port, else after a second.

    `may_end`: a container without a port may have ended with exit code 0. GoldenJobsError when it ends otherwise or is not
    ready in time; the message has no full stop, for the log's path to follow.
    """
    started = time.monotonic()
    what = f"{ready_path} with 200" if ready_path else f"on port {port}"
    waiting_for = f"waiting for {ready_path or f'port {port}'}"
    last = "no answer"
    with Pulse(progress, "container", waiting_for) as pulse:
        while True:
            state = container.state()
            waited = time.monotonic() - started
            if not state["Running"]:
                if may_end and not port and state["ExitCode"] == 0:
                    return
                raise GoldenJobsError(f"The container of {container.image} {container.ended(state)}{_before(port, state)}")
            if not port:
                if waited >= _SETTLE_S:
                    return
            elif host_port := container.host_port(port):
                problem = _problem(host_port, ready_path, min(_ANSWER_S, max(1.0, wait_timeout_s - waited)))
                if problem is None:
                    return
                last = problem
                pulse.note(f"{waiting_for} ({last})")
            if port and time.monotonic() - started > wait_timeout_s:
                raise GoldenJobsError(
                    f"The container of {container.image} did not answer {what} within {wait_timeout_s} s (last: {last}){_elsewhere(container)}"
                )
            time.sleep(_POLL_S)


def _problem(host_port: int, ready_path: str, timeout_s: float) -> str | None:
    if not ready_path:
        return None if image_check_port.answers(host_port, timeout_s) else "no answer"
    try:
        status = image_check_http.get(f"http://127.0.0.1:{host_port}{ready_path}", timeout_s).status
    except image_check_http.NoAnswer as error:
        return str(error)
    return None if status == 200 else f"HTTP {status}"


def _before(port: int, state: Mapping[str, Any]) -> str:
    if state["ExitCode"] != 0:
        return " before it answered" if port else " before the checks"
    stay = "what it starts has to stay in the foreground"
    return f" before it answered: {stay}" if port else f" before the checks: {stay}, for example `sleep infinity` as command"


def _elsewhere(container: ImageContainer) -> str:
    """Ports are on the loopback of the engine's host: another host than that cannot reach them."""
    address = container.engine.address or ""
    near = any(host in address for host in ("//127.", "//localhost", "@127.", "@localhost"))
    if near or not address.startswith(("tcp://", "ssh://", "http://", "https://")):
        return ""
    return f"; where the engine at {address} is on another host, run image_test there"
