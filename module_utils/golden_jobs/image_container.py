"""A container of a course's image, started as a Golden Job would start it."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import threading
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from . import image_leftovers, secret_scan
from .container_files import ContainerFiles
from .engine import ENGINE_ERRORS, Engine
from .errors import GoldenJobsError
from .progress import Progress

with contextlib.suppress(ImportError):  # engine.Engine says in one sentence what is missing
    import docker.errors
    import docker.types

#: Shorter values are in every text by chance.
_HIDDEN_LENGTH = 4
#: So much later than the exit code of the process that was killed the engine's event may come.
_EVENT_S = 1


class ImageContainer:
    """One container of an image. Nothing exists before `start`; `remove` may be called at any time, more than once."""

    def __init__(self, engine: Engine, image: str, memory_mb: int | None, name: str = "") -> None:
        self.engine = engine
        self.image = image
        # Chosen here: the container can be removed even if we are interrupted before the engine has said its id.
        self.name = name or f"golden-jobs-image-test-{uuid.uuid4().hex[:12]}"
        self.files = ContainerFiles(engine, self.name)
        self._memory_mb = memory_mb
        self._shell: str | None = None
        self._asks_for_shell = threading.Lock()

    def start(self, command: str | None, env: Mapping[str, Any], ports: Iterable[int], shm_mb: int, labels: Mapping[str, str]) -> None:
        """Start it with the ports on free loopback ports of the engine's host."""
        api = self.engine.api
        memory = f"{self._memory_mb}m" if self._memory_mb else None
        shell = ["bash", "-o", "errexit", "-o", "nounset", "-o", "pipefail", "-c", command] if command else None
        try:
            self.engine.call(
                f"{self.image} cannot be started",
                api.create_container,
                self.image,
                name=self.name,
                command=[] if shell else None,
                entrypoint=shell,
                environment={name: str(value) for name, value in env.items()},
                ports=list(ports),
                labels=dict(labels),
                # A cluster knows neither the image's HEALTHCHECK nor the proxy in this host's docker configuration.
                healthcheck={"test": ["NONE"]},
                use_config_proxy=False,
                host_config=api.create_host_config(
                    port_bindings=dict.fromkeys(ports, ("127.0.0.1", None)),
                    mem_limit=memory,
                    memswap_limit=memory,  # nodes of a cluster do not swap
                    shm_size=f"{shm_mb}m",
                    # The engine's own choice may be a driver whose logs cannot be read back.
                    log_config=docker.types.LogConfig(type="json-file", config={"max-size": "64m", "max-file": "2"}),
                ),
            )
        except docker.errors.NotFound as error:
            raise GoldenJobsError(not_in_engine(self.image)) from error
        self.engine.call(f"{self.image} does not start", api.start, self.name)

    def remove(self) -> None:
        """Remove it with its anonymous volumes."""
        image_leftovers.remove(self.engine, self.name)

    def inspect(self) -> dict[str, Any]:
        """The engine's description; an error when somebody else has removed it."""
        try:
            found: dict[str, Any] = self.engine.call(
                f"The engine does not describe the container of {self.image}", self.engine.api.inspect_container, self.name
            )
        except docker.errors.NotFound as error:
            raise GoldenJobsError(f"The container of {self.image} is gone: somebody else has removed it") from error
        return found

    def state(self) -> dict[str, Any]:
        """The engine's `State` of it."""
        return dict(self.inspect()["State"])

    def host_port(self, port: int) -> int | None:
        """The loopback port of one of its ports; None while it does not run."""
        bindings = (self.inspect()["NetworkSettings"]["Ports"] or {}).get(f"{port}/tcp") or []
        return int(bindings[0]["HostPort"]) if bindings else None

    def ended(self, state: Mapping[str, Any]) -> str:
        """How it ended, as part of a sentence."""
        return f"ended with exit code {state['ExitCode']}" + (f", {self.out_of_memory()}," if state["OOMKilled"] else "")

    def out_of_memory(self) -> str:
        return f"out of memory (limit {self._memory_mb} MiB)" if self._memory_mb else "out of memory"

    def ran_out_of_memory(self) -> bool:
        """Whether the kernel has killed any process of it for want of memory.

        Its state says so only when it has ended; the engine's events say it at once.
        """
        described = self.inspect()
        if described["State"]["OOMKilled"]:
            return True
        clock = re.sub(r"\.\d+", "", self.engine.api.info()["SystemTime"]).replace("Z", "+00:00")  # the engine's, not ours
        until = int(datetime.fromisoformat(clock).timestamp()) + 1 + _EVENT_S
        only = {"container": described["Id"], "event": "oom"}
        events = self.engine.api.events(since=1, until=until, filters=only, decode=True)
        try:
            return any(True for _event in events)
        finally:
            events.close()

    def shell(self) -> str | None:
        """`bash`, else `sh`; None where neither can be started."""
        with self._asks_for_shell:  # once, also for checks that begin together
            if self._shell is None:
                self._shell = next((shell for shell in ("bash", "sh") if self._runs([shell, "-c", ":"])), "")
        return self._shell or None

    def _runs(self, argv: list[str]) -> bool:
        """Whether a command ends well. Engines differ in how they refuse a program that is not there."""
        api = self.engine.api
        try:
            call = api.exec_create(self.name, argv)
            api.exec_start(call["Id"])
            return bool(api.exec_inspect(call["Id"])["ExitCode"] == 0)
        except docker.errors.APIError:
            return False

    def log(self, lines: int | None = None) -> str:
        """Output and errors until now; the last `lines` of it, or all."""
        text: bytes = self.engine.api.logs(self.name, stdout=True, stderr=True, tail=lines or "all")
        return text.decode(errors="replace")

    def keep_log(self, path: str | None, progress: Progress) -> tuple[str | None, str]:
        """Write the log to a file (a new one where no path is given): its path, and a clause for a message."""
        try:
            log = progress.masked(self.log())
        except ENGINE_ERRORS:
            return None, "its log cannot be read"
        try:
            if path:
                handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            else:
                handle, path = tempfile.mkstemp(prefix="image-test-", suffix=".log")
            with open(handle, "w", encoding="utf-8") as file:
                file.write(log)
        except OSError as error:
            return None, f"its log cannot be written to {path} ({error.strerror})"
        return path, f"its log is {path}"


def not_in_engine(image: str) -> str:
    """The sentence for an image that is not there."""
    return f"The image {image} is not in this engine: build or pull it first."


def hide_secrets(module: Any, progress: Progress) -> None:
    """Have asterisks wherever the result, the progress or the kept log would show a secret of the job."""
    secrets = {*module.params["hide"]}
    secrets |= {str(value) for name, value in module.params["env"].items() if secret_scan.is_secret(name, str(value))}
    long_enough = sorted((value for value in secrets if len(value) >= _HIDDEN_LENGTH), key=len, reverse=True)
    module.no_log_values.update(long_enough)
    progress.hide(long_enough)
