"""image_test: start an image as a Golden Job would, and look whether it does what students need."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Mapping
from typing import Any

from .context import file_sha256
from .engine import ENGINE_SPEC, Engine, registry_host
from .errors import GoldenJobsError
from .progress import Progress, seconds
from .runner import PROGRESS_SPEC

with contextlib.suppress(ImportError):  # engine.Engine says in one sentence what is missing
    import docker.errors
    import requests

CHECK_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "http": {"type": "str"},
    "status": {"type": "int", "default": 200},
    "contains": {"type": "str"},
    "same_as": {"type": "path"},
    "command": {"type": "str"},
    "log_without": {"type": "str"},
}
SPEC: dict[str, Any] = {
    **ENGINE_SPEC,
    **PROGRESS_SPEC,
    "image": {"type": "str", "required": True},
    "command": {"type": "str"},
    "env": {"type": "dict", "default": {}},
    "port": {"type": "int", "default": 8888},
    "memory_mb": {"type": "int"},
    "ready_path": {"type": "str", "default": "/api"},
    "wait_timeout_s": {"type": "int", "default": 120},
    "checks": {"type": "list", "elements": "dict", "default": [], "options": CHECK_SPEC},
    "log_path": {"type": "path"},
}

LABEL = "golden-jobs.image-test"
_POLL_S = 0.2
_HEARTBEAT_S = 10.0
_LOG_LINES = 30
_REQUEST_TIMEOUT_S = 10


def run(module: Any, progress: Progress) -> dict[str, Any]:
    """The module's result: one row per check. Raises with every failed check in the message."""
    params = module.params
    for check in params["checks"]:
        _kind(check)
    result: dict[str, Any] = {"changed": False, "checks": [], "duration_s": 0.0}
    if module.check_mode:
        return {**result, "msg": f"would start {params['image']} and run {len(params['checks'])} checks"}
    engine = Engine(params, registry_host(params["image"]))
    started = time.monotonic()
    container = _start(engine, params)
    try:
        address = _wait_until_ready(engine, container, params, progress)
        rows = [_run_check(engine, container, address, check) for check in params["checks"]]
    except GoldenJobsError as error:
        raise _with_log(engine, container, params, str(error)) from error
    else:
        failed = [row for row in rows if not row["passed"]]
        for row in failed:
            progress.say(f"{row['name']}: {row['detail']}")
        if failed:
            table = "; ".join(f"{row['name']}: {row['detail']}" for row in failed)
            raise _with_log(
                engine, container, params, f"{len(failed)} of {len(rows)} checks of {params['image']} failed: {table}", checks=rows
            )
    finally:
        _remove(engine, container)
    result["duration_s"] = round(time.monotonic() - started, 2)
    progress.say(f"{len(rows)} checks passed in {seconds(result['duration_s'])}")
    return {**result, "checks": rows}


def _kind(check: Mapping[str, Any]) -> str:
    kinds = [kind for kind in ("http", "command", "log_without") if check[kind] is not None]
    if len(kinds) != 1:
        raise GoldenJobsError(f"The check {check['name']!r} needs exactly one of http, command and log_without.")
    return kinds[0]


def _start(engine: Engine, params: Mapping[str, Any]) -> str:
    host_config = engine.api.create_host_config(
        port_bindings={params["port"]: ("127.0.0.1", None)},
        mem_limit=f"{params['memory_mb']}m" if params["memory_mb"] else None,
        shm_size="512m",  # OpenPAI's default
    )
    command = ["bash", "-o", "errexit", "-o", "nounset", "-o", "pipefail", "-c", params["command"]] if params["command"] else None
    try:
        container: str = engine.call(
            f"{params['image']} cannot be started",
            engine.api.create_container,
            params["image"],
            command=[] if command else None,
            entrypoint=command,
            environment={name: str(value) for name, value in params["env"].items()},
            ports=[params["port"]],
            labels={LABEL: params["image"]},
            host_config=host_config,
        )["Id"]
    except docker.errors.NotFound as error:
        raise GoldenJobsError(f"The image {params['image']} is not in this engine: build or pull it first.") from error
    try:
        engine.call(f"{params['image']} does not start", engine.api.start, container)
    except GoldenJobsError:
        _remove(engine, container)
        raise
    return container


def _wait_until_ready(engine: Engine, container: str, params: Mapping[str, Any], progress: Progress) -> str:
    """The container's address once it answers `ready_path` with 200."""
    started = shown = time.monotonic()
    last = "no answer"
    while True:
        state = engine.api.inspect_container(container)
        if not state["State"]["Running"]:
            raise GoldenJobsError(
                f"The container of {params['image']} ended with exit code {state['State']['ExitCode']} before it answered"
            )
        bindings = state["NetworkSettings"]["Ports"].get(f"{params['port']}/tcp") or []
        if bindings:
            address = f"http://127.0.0.1:{bindings[0]['HostPort']}"
            try:
                answer = _get(address + params["ready_path"])
                if answer.status_code == 200:
                    return address
                last = f"HTTP {answer.status_code}"
            except requests.RequestException as error:
                last = type(error).__name__
        now = time.monotonic()
        if now - started > params["wait_timeout_s"]:
            raise GoldenJobsError(
                f"The container of {params['image']} did not answer {params['ready_path']} with 200 within {params['wait_timeout_s']} s (last: {last})"
            )
        if now - shown > _HEARTBEAT_S:
            shown = now
            progress.say(f"waiting for {params['ready_path']}, {seconds(now - started)} ({last})")
        time.sleep(_POLL_S)


def _get(url: str) -> Any:
    with requests.Session() as session:
        session.trust_env = False  # a proxy of the host has no business on loopback
        return session.get(url, timeout=_REQUEST_TIMEOUT_S, allow_redirects=True)


def _run_check(engine: Engine, container: str, address: str, check: Mapping[str, Any]) -> dict[str, Any]:
    started = time.monotonic()
    kind = _kind(check)
    problem = {"http": _check_http, "command": _check_command, "log_without": _check_log}[kind](engine, container, address, check)
    return {
        "name": check["name"],
        "kind": kind,
        "passed": problem is None,
        "detail": problem or "as expected",
        "duration_s": round(time.monotonic() - started, 2),
    }


def _check_http(engine: Engine, container: str, address: str, check: Mapping[str, Any]) -> str | None:
    try:
        answer = _get(address + check["http"])
    except requests.RequestException as error:
        return f"{check['http']} gives no answer ({type(error).__name__})"
    if answer.status_code != check["status"]:
        return f"{check['http']} answers {answer.status_code} instead of {check['status']}"
    if check["contains"] is not None and check["contains"] not in answer.text:
        return f"{check['http']} does not contain {check['contains']!r}"
    if check["same_as"] is not None:
        if not os.path.isfile(check["same_as"]):
            return f"the file {check['same_as']} to compare with does not exist"
        served, ours = hashlib.sha256(answer.content).hexdigest(), file_sha256(check["same_as"])
        if served != ours:
            return f"{check['http']} serves other bytes (sha256 {served[:12]}) than {os.path.basename(check['same_as'])} ({ours[:12]})"
    return None


def _check_command(engine: Engine, container: str, address: str, check: Mapping[str, Any]) -> str | None:
    call = engine.api.exec_create(container, ["bash", "-c", check["command"]])
    output = engine.api.exec_start(call["Id"]).decode(errors="replace").strip()
    code = engine.api.exec_inspect(call["Id"])["ExitCode"]
    if code != 0:
        last = output.splitlines()[-1] if output else "no output"
        return f"`{check['command']}` ended with {code}: {last}"
    if check["contains"] is not None and check["contains"] not in output:
        return f"`{check['command']}` does not print {check['contains']!r}"
    return None


def _check_log(engine: Engine, container: str, address: str, check: Mapping[str, Any]) -> str | None:
    pattern = re.compile(check["log_without"])
    for line in _log(engine, container).splitlines():
        if pattern.search(line):
            return f"the log has {line.strip()[:200]!r}"
    return None


def _log(engine: Engine, container: str) -> str:
    text: bytes = engine.api.logs(container, stdout=True, stderr=True)
    return text.decode(errors="replace")


def _with_log(engine: Engine, container: str, params: Mapping[str, Any], sentence: str, **details: Any) -> GoldenJobsError:
    """The sentence, the container's last lines, and the whole log in a file where one is wanted."""
    with contextlib.suppress(docker.errors.DockerException):
        log = _log(engine, container)
        tail = "\n".join(log.splitlines()[-_LOG_LINES:])
        if params["log_path"]:
            with open(params["log_path"], "w", encoding="utf-8") as handle:
                handle.write(log)
            sentence += f"; its log is {params['log_path']}"
            details["log"] = params["log_path"]
        return GoldenJobsError(f"{sentence}." + (f"\n{tail}" if tail else ""), **details)
    return GoldenJobsError(f"{sentence}.", **details)


def _remove(engine: Engine, container: str) -> None:
    with contextlib.suppress(docker.errors.NotFound):
        engine.api.remove_container(container, v=True, force=True)
