"""What the end of a container means: exit codes, their specs, and the texts of the diagnostics."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

USER_STOP = -210
ATTEMPT_COMPLETION = -220
POD_DELETED = -101
POD_REFUSED = -200
FRAMEWORK_REFUSED = -1100
OUT_OF_MEMORY = -1200
IMAGE_NOT_EXISTS = 254
UNKNOWN_FAILURE = 255
_POSITIVE_FALLBACK = 256
_NEGATIVE_FALLBACK = -8000

STOP_TEXT = "User has requested to stop the Framework"
COMPLETION_TEXT = "Stop to complete current FrameworkAttempt"
_MATCHED = "Pod failed: PodPattern matched:"


@cache
def _specs() -> dict[int, dict[str, Any]]:
    entries = yaml.safe_load((Path(__file__).parent / "exit_spec.yaml").read_text(encoding="utf-8"))
    return {entry["code"]: entry for entry in entries}


def exit_spec(code: int | None) -> dict[str, Any] | None:
    """The spec of an exit code; unlisted codes take the fall-back's spec with their own code."""
    if code is None:
        return None
    fallback = _POSITIVE_FALLBACK if code > 0 else _NEGATIVE_FALLBACK
    return _specs().get(code) or {**_specs()[fallback], "code": code}


@dataclass(frozen=True)
class Ending:
    """How a task ended; ``runtime`` is what the runtime in the container found out, if it got so far."""

    code: int
    diagnostics: str
    runtime: dict[str, Any] | None = None

    @property
    def type(self) -> str:
        """The word that the detail shows as ``appExitType``."""
        return "Succeeded" if self.code == 0 else "Failed"


def _pod_failed(container: str, reason: str, code: int, message: str = "") -> str:
    entry: dict[str, Any] = {"name": container, "reason": reason}
    if message:
        entry["message"] = message
    entry["code"] = code
    return f"{_MATCHED}\n{_dump({'containers': [entry]})}"


def _dump(value: Any) -> str:
    """YAML in the layout of js-yaml: lists indented below their key."""

    class Dumper(yaml.SafeDumper):
        def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
            super().increase_indent(flow, False)

    return yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=True)


def _recognised(code: int, log: str) -> int:
    """The code that the runtime gives for a program's exit code and log, by the patterns of the exit spec."""
    for entry in _specs().values():
        for pattern in entry.get("pattern", {}).get("runtimeContainerPatterns", []):
            if pattern.get("exitCode", code) == code and re.search(pattern.get("userLogRegex", ""), log):
                return int(entry["code"])
    return UNKNOWN_FAILURE


def container_ending(exit_code: int, out_of_memory: bool, log: str) -> Ending:
    """The ending of a task whose program ran and left ``exit_code``; ``log`` is the tail of its output."""
    if exit_code == 0:
        return Ending(0, "Pod succeeded")
    if out_of_memory:
        return Ending(OUT_OF_MEMORY, _pod_failed("app", "OOMKilled", exit_code))
    code = _recognised(exit_code, log)
    runtime = {
        "exitCode": code,
        "originUserExitCode": exit_code,
        "errorLogs": {"user": "\n".join(log.splitlines()[-15:]), "platform": ""},
    }
    message = f"[PAI_RUNTIME_ERROR_START]\n{_dump(runtime)}[PAI_RUNTIME_ERROR_END]"
    return Ending(code, _pod_failed("app", "Error", code, message), {**runtime, "name": "app"})


def killed_ending(exit_code: int) -> Ending:
    """The ending of a task whose container died together with the runtime in it, which left no message."""
    return Ending(exit_code, _pod_failed("app", "Error", exit_code))


def init_ending(code: int, message: str) -> Ending:
    """The ending of a task whose init container gave up, so that its program never ran."""
    return Ending(code, _pod_failed("init", "Error", code, message))


def start_ending(message: str) -> Ending:
    """The ending of a task whose container could not be started."""
    missing = re.search(r"not found|cannot find|no such", message, re.IGNORECASE)
    denied = re.search(r"permission denied", message, re.IGNORECASE)
    code, container_code = (-1202, 126) if denied else (-1203, 127) if missing else (-1204, 128)
    return Ending(code, _pod_failed("app", "ContainerCannotRun", container_code, message))


def exit_messages(diagnostics: str | None, runtime: str | None) -> dict[str, Any] | None:
    """The ``appExitMessages`` of a detail; ``runtime`` is JSON text or None."""
    if diagnostics is None:
        return None
    found = json.loads(runtime) if runtime else None
    return {"container": None, "runtime": found, "launcher": None if found else diagnostics}
