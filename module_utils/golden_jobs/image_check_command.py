"""Checks by a command in the container: its exit code and what it prints."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterable, Mapping
from typing import Any

from .background import Background
from .image_container import ImageContainer

with contextlib.suppress(ImportError):  # engine.Engine says in one sentence what is missing
    import docker.errors
    import requests

#: Of a longer output, the end counts.
_MOST_BYTES = 1 << 20
_POLL_S = 0.1
_ENGINE_S = 10.0
#: 128 + SIGKILL
_KILLED = 137


def problem(container: ImageContainer, check: Mapping[str, Any]) -> str | None:
    """What is wrong with the command's end or output, or None."""
    shown = _short(check["command"])
    shell = container.shell()
    if shell is None:
        return f"`{shown}` cannot be started: neither bash nor sh can be started in the container"
    code, output = run(container, [shell, "-c", check["command"]], check["as_user"], check["timeout_s"])
    last = output.splitlines()[-1][:200] if output else "no output"
    if code is None:
        return f"`{shown}` did not end within {check['timeout_s']} s: {last}"
    wanted = check["rc"] or 0
    if code != wanted:
        instead = f" instead of {wanted}" if wanted else ""
        memory = f", {container.out_of_memory()}" if code == _KILLED and container.ran_out_of_memory() else ""
        return f"`{shown}` ended with {code}{instead}{memory}: {last}"
    wrong = _output_problem(output, check)
    return f"`{shown}` {wrong}: {last}" if wrong else None


def _output_problem(output: str, check: Mapping[str, Any]) -> str | None:
    if check["contains"] is not None and check["contains"] not in output:
        return f"does not print {check['contains']!r}"
    if check["not_contains"] is not None and check["not_contains"] in output:
        return f"prints {check['not_contains']!r}"
    if check["output"] is not None and not re.search(check["output"], output, re.MULTILINE):
        return f"prints nothing that matches {check['output']!r}"
    return None


def run(container: ImageContainer, argv: list[str], user: str | None, timeout_s: float) -> tuple[int | None, str]:
    """Exit code and output (with errors) of a command; no code when it did not end in time. It ends with the container then."""
    api = container.engine.api
    output = bytearray()

    def collect(chunks: Iterable[bytes]) -> None:
        for chunk in chunks:
            output.extend(chunk)
            if len(output) > 2 * _MOST_BYTES:
                del output[:-_MOST_BYTES]

    call = api.exec_create(container.name, argv, user=user or "")["Id"]
    running = Background(lambda: collect(api.exec_output(call)))
    ended = running.wait(timeout_s)
    text = bytes(output[-_MOST_BYTES:]).decode(errors="replace").strip()
    if not ended:
        return None, text
    try:
        running.result()
    except docker.errors.APIError as error:  # newer engines: the command cannot be started
        return 126, str(error.explanation or error)
    # The output's end comes a moment before the exit code.
    deadline = time.monotonic() + _ENGINE_S
    while (state := api.exec_inspect(call))["Running"] or state["ExitCode"] is None:
        if time.monotonic() > deadline:
            raise requests.ConnectionError("the engine does not say the command's exit code")
        time.sleep(_POLL_S)
    return int(state["ExitCode"]), text


def _short(command: str) -> str:
    """One line of a command, for a message."""
    line = " ".join(command.split())
    return line if len(line) <= 80 else f"{line[:77]}..."
