"""course_try: run a course's image on its build server for the developer who looks at it, with no registry and no cluster."""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import Any

from . import image_ready
from .engine import ENGINE_ERRORS, ENGINE_SPEC, Engine, registry_host
from .errors import GoldenJobsError
from .image_container import ImageContainer, hide_secrets, not_in_engine
from .progress import Progress
from .runner import PROGRESS_SPEC

with contextlib.suppress(ImportError):  # engine.Engine says in one sentence what is missing
    import docker.errors

SPEC: dict[str, Any] = {
    **ENGINE_SPEC,
    **PROGRESS_SPEC,
    "course": {"type": "str", "required": True},
    "image": {"type": "str"},
    "command": {"type": "str"},
    "env": {"type": "dict", "default": {}},
    "hide": {"type": "list", "elements": "str", "default": [], "no_log": True},
    "ports": {"type": "list", "elements": "int", "default": [8888]},
    "memory_mb": {"type": "int"},
    "shm_mb": {"type": "int", "default": 512},
    "wait_timeout_s": {"type": "int", "default": 120},
    "state": {"type": "str", "choices": ["running", "stopped"], "default": "running"},
}
REQUIRED_IF = [["state", "running", ["image", "command"]]]
_LABEL = "golden-jobs.try"
_LOG_LINES = 10


def run(module: Any, progress: Progress) -> dict[str, Any]:
    """The module's result: the loopback address of each port. A container that runs just this already is left alone."""
    params = module.params
    hide_secrets(module, progress)
    engine = Engine(params, registry_host(params["image"] or "localhost/none"))
    container = ImageContainer(engine, params["image"] or "", params["memory_mb"], f"golden-jobs-try-{params['course']}")
    found = _inspect(container)
    if params["state"] == "stopped":
        if found and not module.check_mode:
            container.remove()
        return {"changed": bool(found), "addresses": []}
    image = engine.image(params["image"])
    if image is None and not module.check_mode:
        raise GoldenJobsError(not_in_engine(params["image"]))
    wanted = _identity(params, image["Id"] if image else "")
    if found and found["State"]["Running"] and found["Config"]["Labels"].get(_LABEL) == wanted:
        return {"changed": False, "addresses": _addresses(container, params["ports"])}
    if module.check_mode:
        return {"changed": True, "addresses": []}
    if found:
        container.remove()
    try:
        container.start(params["command"], params["env"], params["ports"], params["shm_mb"], {_LABEL: wanted})
        image_ready.wait(container, params["ports"][0], "/api", params["wait_timeout_s"], progress, may_end=False)
        return {"changed": True, "addresses": _addresses(container, params["ports"])}
    except GoldenJobsError as error:
        lines = _last_lines(container, progress)
        container.remove()
        raise GoldenJobsError(f"{str(error).rstrip('.')}.{lines and ' Its last lines:'}\n{lines}".rstrip()) from error
    except BaseException:  # Ctrl-C: what does not answer yet is nobody's
        container.remove()
        raise


def _inspect(container: ImageContainer) -> dict[str, Any] | None:
    try:
        return dict(container.engine.api.inspect_container(container.name))
    except docker.errors.NotFound:
        return None


def _last_lines(container: ImageContainer, progress: Progress) -> str:
    with contextlib.suppress(*ENGINE_ERRORS):
        return progress.masked(container.log(_LOG_LINES))
    return ""


def _identity(params: dict[str, Any], image_id: str) -> str:
    """What the container was started with; a digest, so that no secret of the job is in a label."""
    known = [image_id, *(params[name] for name in ("command", "env", "ports", "memory_mb", "shm_mb"))]
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def _addresses(container: ImageContainer, ports: list[int]) -> list[str]:
    return [f"http://127.0.0.1:{container.host_port(port)}" for port in ports]
