"""image_test: start an image as a Golden Job would, and look whether it does what students need."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import Any

from . import image_checks, image_container, image_leftovers, image_ready, run_lock
from .engine import ENGINE_ERRORS, ENGINE_SPEC, Engine, registry_host
from .errors import GoldenJobsError
from .image_check_order import CheckOrder
from .image_checks import CHECK_SPEC, Checks
from .image_container import ImageContainer, not_in_engine
from .progress import Progress, seconds
from .runner import PROGRESS_SPEC

SPEC: dict[str, Any] = {
    **ENGINE_SPEC,
    **PROGRESS_SPEC,
    **run_lock.SPEC,
    "image": {"type": "str", "required": True},
    "command": {"type": "str"},
    "env": {"type": "dict", "default": {}},
    "hide": {"type": "list", "elements": "str", "default": [], "no_log": True},
    "port": {"type": "int", "default": 8888},
    "memory_mb": {"type": "int"},
    "shm_mb": {"type": "int", "default": 512},
    "ready_path": {"type": "str", "default": "/api"},
    "wait_timeout_s": {"type": "int", "default": 120},
    "checks": {"type": "list", "elements": "dict", "default": [], "options": CHECK_SPEC},
    "log_path": {"type": "path"},
}

_LOG_LINES = 30
#: The least that engines take as a limit.
_LEAST_MEMORY_MB = 6


def run(module: Any, progress: Progress) -> dict[str, Any]:
    """The module's result: one row per check. Raises with every failed check in the message."""
    params = module.params
    _validate(params)
    checks = params["checks"]
    result: dict[str, Any] = {"changed": False, "checks": [], "checks_passed": 0, "checks_failed": 0, "duration_s": 0.0}
    if module.check_mode:
        return {**result, "msg": f"would start {params['image']} and run {len(checks)} checks"}
    image_checks.find_files(checks)
    image_container.hide_secrets(module, progress)
    engine = Engine(params, registry_host(params["image"]))
    image = engine.image(params["image"])
    if image is None:
        raise GoldenJobsError(not_in_engine(params["image"]))
    result["image_id"] = image["Id"]
    image_leftovers.remove_leftovers(engine, progress)
    started = time.monotonic()
    container = ImageContainer(engine, params["image"], params["memory_mb"])
    rows: list[dict[str, Any]] = []
    try:
        _test(container, image, params, rows, progress)
        failed = [row for row in rows if not row["passed"]]
        if failed:
            table = "; ".join(f"{row['name']}: {row['detail']}" for row in failed)
            raise GoldenJobsError(f"{len(failed)} of {len(rows)} checks of {params['image']} failed: {table}")
    except GoldenJobsError as error:
        result.update(_counts(rows), duration_s=round(time.monotonic() - started, 2))
        raise _with_log(container, params["log_path"], str(error), result, progress) from error
    finally:
        _remove(container, module)
    result.update(_counts(rows), duration_s=round(time.monotonic() - started, 2))
    progress.say(f"{len(rows)} checks passed in {seconds(result['duration_s'])}")
    return result


def _validate(params: Mapping[str, Any]) -> None:
    if not 0 <= params["port"] <= 65535:
        raise GoldenJobsError(f"The port {params['port']} is not allowed: 1 to 65535, or 0 for an image without a server.")
    if params["ready_path"] and not params["ready_path"].startswith("/"):
        raise GoldenJobsError(f"The ready_path {params['ready_path']!r} is not allowed: it begins with /, or is empty.")
    if params["memory_mb"] is not None and params["memory_mb"] < _LEAST_MEMORY_MB:
        raise GoldenJobsError(f"The memory_mb {params['memory_mb']} is not allowed: at least {_LEAST_MEMORY_MB} MiB.")
    for name in ("shm_mb", "wait_timeout_s"):
        if params[name] < 1:
            raise GoldenJobsError(f"The {name} {params[name]} is not allowed: at least 1.")
    image_checks.validate(params["checks"], params["port"])


def _test(
    container: ImageContainer, image: Mapping[str, Any], params: Mapping[str, Any], rows: list[dict[str, Any]], progress: Progress
) -> None:
    """Start the container, wait for it, and append one row per check."""
    checks, port = params["checks"], params["port"]
    kinds = {image_checks.kind(check) for check in checks}
    may_end = not port and not kinds & image_checks.NEED_RUNNING
    longest_s = params["wait_timeout_s"] + sum(check["timeout_s"] for check in checks)
    ports = sorted({port for port in (port, *(check["port"] for check in checks)) if port})
    labels = image_leftovers.labels(container.image, longest_s)
    container.start(params["command"], params["env"], ports, params["shm_mb"], labels)
    run_checks = Checks(container, image, progress)
    order = CheckOrder(checks, run_checks.row)
    order.begin_without_server()
    # Without a server there is nothing to wait for.
    image_ready.wait(container, port, params["ready_path"] if port else "", params["wait_timeout_s"], progress, may_end=may_end)
    run_checks.address = f"http://127.0.0.1:{container.host_port(port)}" if port else None
    for row in order.rows():
        rows.append(row)
        progress.say(image_checks.line(row, checks))
    state = container.state()
    if not state["Running"] and not (may_end and state["ExitCode"] == 0):
        failed = "; ".join(f"{row['name']}: {row['detail']}" for row in rows if not row["passed"])
        during = f"The container of {container.image} {container.ended(state)} while it was checked"
        raise GoldenJobsError(f"{during}: {failed}" if failed else during)


def _counts(rows: list[dict[str, Any]]) -> dict[str, Any]:
    passed = sum(row["passed"] for row in rows)
    return {"checks": rows, "checks_passed": passed, "checks_failed": len(rows) - passed}


def _with_log(
    container: ImageContainer, log_path: str | None, sentence: str, result: dict[str, Any], progress: Progress
) -> GoldenJobsError:
    """The sentence, where the whole log is, and the container's last lines."""
    with contextlib.suppress(*ENGINE_ERRORS):
        tail = "\n".join(container.log(_LOG_LINES).splitlines()[-_LOG_LINES:])
        path, where = container.keep_log(log_path, progress)
        result = {**result, "log": path} if path else result
        sentence = f"{sentence.rstrip('.')}; {where}."
        return GoldenJobsError(progress.masked(f"{sentence}\n{tail}" if tail else sentence), **result)
    return GoldenJobsError(progress.masked(f"{sentence.rstrip('.')}."), **result)


def _remove(container: ImageContainer, module: Any) -> None:
    """That it cannot be removed neither hides why a test failed nor makes a failure of one that passed."""
    try:
        container.remove()
    except GoldenJobsError as error:
        module.warn(str(error))
