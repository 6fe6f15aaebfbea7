"""The container engine: pull, create, start, look, stop, remove. It touches only containers with its own labels."""

from __future__ import annotations

import io
import os
import re
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.types import LogConfig

from .engine_run import find_run
from .environment import Place
from .images import registry_host, split_tag
from .settings import HOST

LABEL_SANDBOX = "golden-jobs.sandbox"
LABEL_STATE = "golden-jobs.sandbox-state"
LABEL_JOB = "golden-jobs.job"
LABEL_ROLE = "golden-jobs.role"
LABEL_INDEX = "golden-jobs.index"
LABEL_ATTEMPT = "golden-jobs.attempt"
LOG_TAIL_BYTES = 16 * 1024
_ENGINE_TIMEOUT_S = 60
_LEAST_MEMORY_MB = 6
_ENTRY = "usr/local/pai/runtime.d/runtime_entry.sh"
_SCRIPT = "usr/local/pai/runtime.d/user.sh"
_SECRETS = "usr/local/pai/secrets/secrets.yaml"

# The program is a child of the entry, as on the real cluster: process 1 would be deaf to signals from inside. Passing
# SIGTERM on makes a stop quick; the real runtime does not and waits for SIGKILL. A signal interrupts bash's wait, whose
# answer then says nothing about the program: it is asked again, and 127 means that the answer before was the program's.
_ENTRY_TEXT = f"""#!/bin/bash
export PAI_WORK_DIR="$(pwd)"
child= stopped=
trap 'stopped=1; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null' TERM
/bin/bash /{_SCRIPT} &
child=$!
[ -z "$stopped" ] || kill -TERM "$child" 2>/dev/null
code=127
while :; do
  stopped=
  wait "$child"
  answer=$?
  [ "$answer" -eq 127 ] || code=$answer
  [ -n "$stopped" ] || exit "$code"
done
"""


class EngineError(Exception):
    """The engine refused; the text is the engine's own."""


class PortTaken(EngineError):
    """A port of the task is in use on this host."""


class Cancelled(Exception):
    """The job was stopped during a pull."""


@dataclass(frozen=True)
class Exit:
    """What is left of a container that ended; ``log_tail`` is up to 16 KiB of its output."""

    code: int
    out_of_memory: bool
    log_tail: str


@dataclass(frozen=True)
class Start:
    """Everything that one container needs. ``script`` and ``secrets_yaml`` go in as files, so inspect shows neither."""

    frame: str
    attempt: int
    place: Place
    environment: dict[str, str]
    ports: list[int]
    script: str
    secrets_yaml: str | None


def _text(error: DockerException) -> str:
    return str(getattr(error, "explanation", None) or error)


def _archive(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, text in files.items():
            data = text.encode()
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(data), 0o700
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


class Engine:
    """The Docker engine of this host, for one sandbox."""

    def __init__(self, name: str, state_dir: Path) -> None:
        self._found: docker.DockerClient | None = None
        self._name = name
        self._labels = {LABEL_SANDBOX: name, LABEL_STATE: str(state_dir.resolve())}

    @property
    def _client(self) -> docker.DockerClient:
        """The client, made at the first use: an engine that is down must not keep the API from starting."""
        if self._found is None:
            try:
                self._found = docker.from_env(timeout=_ENGINE_TIMEOUT_S)
            except DockerException as error:
                raise EngineError(_text(error)) from error
        return self._found

    def pull(self, image: str, login: dict[str, str] | None, cancelled: Callable[[], bool]) -> None:
        """Pull an image (policy Always). A short name that is here already is used as it is: there is no registry to ask.

        Raises ``EngineError`` when the image cannot be had and ``Cancelled`` when ``cancelled`` turns true.
        """
        if registry_host(image) is None and self._has(image):
            return
        repository, tag = split_tag(image)
        try:
            # An empty login keeps the SDK from using one that somebody left in ~/.docker/config.json.
            for line in self._client.api.pull(repository, tag=tag, stream=True, decode=True, auth_config=login or {}):
                if "error" in line:
                    raise EngineError(line["error"])
                if cancelled():
                    raise Cancelled
        except DockerException as error:
            raise EngineError(_text(error)) from error

    def _has(self, image: str) -> bool:
        try:
            self._client.images.get(image)
        except ImageNotFound:
            return False
        except DockerException as error:
            raise EngineError(_text(error)) from error
        return True

    def create(self, start: Start) -> str:
        """Create a container and put its script in; the container's id."""
        role = start.place.role
        memory = f"{max(role.memory_mb, _LEAST_MEMORY_MB)}m"
        cpus = min(role.cpu, os.cpu_count() or 1)
        job = re.sub(r"[^a-zA-Z0-9_.-]", "-", start.frame.partition("~")[2])[:100]
        labels = {
            **self._labels,
            LABEL_JOB: start.frame,
            LABEL_ROLE: role.name,
            LABEL_INDEX: str(start.place.index),
            LABEL_ATTEMPT: str(start.attempt),
        }
        files = {_ENTRY: _ENTRY_TEXT, _SCRIPT: start.script}
        if start.secrets_yaml is not None:
            files[_SECRETS] = start.secrets_yaml
        try:
            container = self._client.containers.create(
                role.image,
                entrypoint=["/bin/bash"],
                command=[f"/{_ENTRY}"],
                name=f"pai-{self._name}-{job}-{role.name}-{start.place.index}-{start.place.pod_uid[:8]}",
                user="0:0",
                environment=start.environment,
                labels=labels,
                ports={f"{port}/tcp": (HOST, port) for port in start.ports},
                network_mode="bridge",
                mem_limit=memory,
                memswap_limit=memory,
                shm_size=f"{role.shm_mb}m",
                nano_cpus=cpus * 10**9,
                # Kubernetes does not know an image's HEALTHCHECK.
                healthcheck={"test": ["NONE"]},
                log_config=LogConfig(type=LogConfig.types.JSON, config={"max-size": "64m"}),
            )
            container.put_archive("/", _archive(files))
        except DockerException as error:
            raise EngineError(_text(error)) from error
        return str(container.id)

    def start(self, container_id: str) -> None:
        """Start a created container; ``PortTaken`` when one of its ports is in use."""
        try:
            self._client.api.start(container_id)
        except APIError as error:
            text = _text(error)
            if re.search(r"port is already allocated|address already in use", text):
                raise PortTaken(text) from error
            raise EngineError(text) from error
        except DockerException as error:
            raise EngineError(_text(error)) from error

    def own(self) -> dict[str, str]:
        """The state word of each container of this sandbox by container id."""
        filters = {"label": [f"{key}={value}" for key, value in self._labels.items()]}
        try:
            found: list[dict[str, Any]] = self._client.api.containers(all=True, filters=filters)
        except DockerException as error:
            raise EngineError(_text(error)) from error
        return {entry["Id"]: entry["State"] for entry in found}

    def run(self, known: str | None) -> str | None:
        """Which run of the engine this is, or None when it cannot be told; ``known`` is the run found last."""
        try:
            return find_run(known)
        except OSError as error:
            raise EngineError(f"nobody listens on the engine's socket: {error}") from error

    def exit_of(self, container_id: str) -> Exit | None:
        """How a container ended, or None when it no longer exists."""
        try:
            state = self._client.api.inspect_container(container_id)["State"]
            return Exit(int(state["ExitCode"]), bool(state["OOMKilled"]), self._log_tail(container_id))
        except NotFound:
            return None
        except DockerException as error:
            raise EngineError(_text(error)) from error

    def _log_tail(self, container_id: str) -> str:
        try:
            raw: bytes = self._client.api.logs(container_id, tail=1000)
        except DockerException:
            return ""
        return raw[-LOG_TAIL_BYTES:].decode(errors="replace")

    def output(self, container_id: str, stdout: bool, stderr: bool) -> bytes:
        """What a container wrote, at most its last 20,000 lines; nothing when it is gone."""
        try:
            raw: bytes = self._client.api.logs(container_id, stdout=stdout, stderr=stderr, tail=20000)
        except DockerException:
            return b""
        return raw

    def exists(self, container_id: str) -> bool:
        """Whether a container exists, running or not."""
        try:
            self._client.api.inspect_container(container_id)
        except NotFound:
            return False
        except DockerException as error:
            raise EngineError(_text(error)) from error
        return True

    def stop(self, container_id: str, timeout_s: int) -> None:
        """End a container's program: SIGTERM, then SIGKILL after ``timeout_s``."""
        try:
            self._client.api.stop(container_id, timeout=timeout_s)
        except NotFound:
            return
        except DockerException as error:
            raise EngineError(_text(error)) from error

    def remove(self, container_id: str) -> None:
        """Remove a container with its anonymous volumes; one that is gone already is fine."""
        try:
            self._client.api.remove_container(container_id, force=True, v=True)
        except NotFound:
            return
        except DockerException as error:
            if "already in progress" in _text(error):
                return
            raise EngineError(_text(error)) from error
