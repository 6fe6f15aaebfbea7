"""course_try: run a course's image on its build server for the developer who looks at it, with no registry and no cluster."""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import Any

from .engine import ENGINE_SPEC, Engine, registry_host
from .errors import GoldenJobsError
from .image_container import not_in_engine
from .progress import Progress

with contextlib.suppress(ImportError):  # engine.Engine says in one sentence what is missing
    import docker.errors

SPEC: dict[str, Any] = {
    **ENGINE_SPEC,
    "course": {"type": "str", "required": True},
    "image": {"type": "str"},
    "command": {"type": "str"},
    "env": {"type": "dict", "default": {}, "no_log": True},
    "ports": {"type": "list", "elements": "int", "default": [8888]},
    "memory_mb": {"type": "int"},
    "shm_mb": {"type": "int", "default": 512},
    "state": {"type": "str", "choices": ["running", "stopped"], "default": "running"},
}
REQUIRED_IF = [["state", "running", ["image", "command"]]]
_LABEL = "golden-jobs.try"


def run(module: Any, progress: Progress) -> dict[str, Any]:
    """The module's result: the loopback address of each port. A container that runs just this already is left alone."""
    params = module.params
    engine = Engine(params, registry_host(params["image"] or "localhost/none"))
    name = f"golden-jobs-try-{params['course']}"
    found = _inspect(engine, name)
    if params["state"] == "stopped":
        if found and not module.check_mode:
            engine.api.remove_container(name, force=True, v=True)
        return {"changed": bool(found), "addresses": []}
    image = engine.image(params["image"])
    if image is None and not module.check_mode:
        raise GoldenJobsError(not_in_engine(params["image"]))
    wanted = _identity(params, image["Id"] if image else "")
    if found and found["State"]["Running"] and found["Config"]["Labels"].get(_LABEL) == wanted:
        return {"changed": False, "addresses": _addresses(found, params["ports"])}
    if module.check_mode:
        return {"changed": True, "addresses": []}
    if found:
        engine.api.remove_container(name, force=True, v=True)
    memory = f"{params['memory_mb']}m" if params["memory_mb"] else None
    engine.call(
        f"{params['image']} cannot be started",
        engine.api.create_container,
        params["image"],
        name=name,
        command=[],
        entrypoint=["bash", "-o", "errexit", "-o", "nounset", "-o", "pipefail", "-c", params["command"]],
        environment={key: str(value) for key, value in params["env"].items()},
        ports=params["ports"],
        labels={_LABEL: wanted},
        use_config_proxy=False,
        host_config=engine.api.create_host_config(
            port_bindings=dict.fromkeys(params["ports"], ("127.0.0.1", None)), mem_limit=memory, shm_size=f"{params['shm_mb']}m"
        ),
    )
    engine.call(f"{params['image']} does not start", engine.api.start, name)
    return {"changed": True, "addresses": _addresses(_inspect(engine, name) or {}, params["ports"])}


def _inspect(engine: Engine, name: str) -> dict[str, Any] | None:
    try:
        return dict(engine.api.inspect_container(name))
    except docker.errors.NotFound:
        return None


def _identity(params: dict[str, Any], image_id: str) -> str:
    """What the container was started with; a digest, so that no secret of the job is in a label."""
    known = [image_id, *(params[name] for name in ("command", "env", "ports", "memory_mb", "shm_mb"))]
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def _addresses(container: dict[str, Any], ports: list[int]) -> list[str]:
    published = (container.get("NetworkSettings") or {}).get("Ports") or {}
    return [f"http://127.0.0.1:{published[f'{port}/tcp'][0]['HostPort']}" for port in ports if published.get(f"{port}/tcp")]
