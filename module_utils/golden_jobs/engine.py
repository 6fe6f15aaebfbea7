"""The Docker engine: connection, images, and what it knows of a registry."""

from __future__ import annotations

import base64
import json
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from .errors import GoldenJobsError

try:
    import docker
    import docker.errors
    import requests.exceptions

    DOCKER_IMPORT_ERROR = None
except ImportError as error:
    DOCKER_IMPORT_ERROR = error

Result = TypeVar("Result")

#: Options of every module that talks to an engine and a registry (documentation: plugins/doc_fragments/engine.py).
ENGINE_SPEC: dict[str, Any] = {
    "docker_host": {"type": "str"},
    "registry_username": {"type": "str"},
    "registry_password": {"type": "str", "no_log": True},
    "timeout_s": {"type": "int", "default": 120},
}

_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_REPOSITORY = re.compile(r"(?:[A-Za-z0-9.-]+(?::\d+)?/)?[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*")


class RegistryUnreachable(GoldenJobsError):
    """The registry gave no answer that decides anything: worth another try later."""


def check_repository(name: str) -> None:
    """Refuse a repository name that no engine accepts, with what is allowed (distribution's reference grammar)."""
    if not _REPOSITORY.fullmatch(name):
        raise GoldenJobsError(
            f"The image name {name!r} is not allowed: lower-case letters, digits and . _ - between slashes, "
            "with an optional registry host in front and no tag."
        )


def check_tag(tag: str) -> None:
    """Refuse a tag that no engine accepts, with what is allowed."""
    if not _TAG.fullmatch(tag):
        raise GoldenJobsError(f"The tag {tag!r} is not allowed: 1 to 128 letters, digits and . _ -, not starting with . or -.")


def registry_host(reference: str) -> str:
    """The registry of an image reference, `docker.io` where none is written."""
    first, slash, _ = reference.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else "docker.io"


class Engine:
    """One engine and, for the images of one registry, one login that is never written to a file."""

    def __init__(self, params: Mapping[str, Any], registry: str) -> None:
        if DOCKER_IMPORT_ERROR:
            raise GoldenJobsError(
                f"The Python package docker is missing for {sys.executable}: install python3-docker, or requirements.txt in a virtual environment."
            )
        self.address = params.get("docker_host") or None
        self._registry = registry
        self._login: dict[str, str] | None = None
        if params.get("registry_username"):
            self._login = {"username": params["registry_username"], "password": params.get("registry_password") or ""}
        try:
            if self.address:
                self.api = docker.APIClient(base_url=self.address, version="auto", timeout=params["timeout_s"])
            else:
                self.api = docker.from_env(version="auto", timeout=params["timeout_s"]).api
        except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
            raise GoldenJobsError(
                f"No Docker engine answers at {self.address or 'the default socket'}: start it, or let the role build_server do it ({_short(error)})."
            ) from error

    def auth(self, reference: str) -> dict[str, str]:
        """Login for an image: ours for our registry, none elsewhere. `{}` keeps engines >= 28.3.3 content."""
        return self._login if self._login and registry_host(reference) == self._registry else {}

    def docker_config(self) -> str:
        """Content of a docker `config.json` that holds our login, for a temporary DOCKER_CONFIG."""
        if not self._login:
            return "{}"
        token = base64.b64encode(f"{self._login['username']}:{self._login['password']}".encode()).decode()
        return json.dumps({"auths": {self._registry: {"auth": token}}})

    def call(self, what: str, function: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
        """Call the SDK; a failure becomes one sentence that begins with `what`."""
        try:
            return function(*args, **kwargs)
        except docker.errors.NotFound:
            raise
        except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
            raise GoldenJobsError(f"{what}: {_short(error)}.") from error

    def image(self, reference: str) -> dict[str, Any] | None:
        """The engine's description of a local image, or None."""
        try:
            found: dict[str, Any] = self.call(f"The engine does not describe {reference}", self.api.inspect_image, reference)
        except docker.errors.ImageNotFound:
            return None
        return found

    def registry_digest(self, reference: str) -> str | None:
        """The registry's digest of a tag, asked through the engine without a pull; None when there is no such tag.

        Raises RegistryUnreachable when the registry gives no decisive answer, GoldenJobsError when it refuses us.
        """
        host = registry_host(reference)
        try:
            answer = self.api.inspect_distribution(reference, auth_config=self.auth(reference))
        except docker.errors.NotFound:
            return None
        except (docker.errors.APIError, requests.exceptions.RequestException) as error:
            text = _short(error)
            if refused := login_refused(text, host, self.auth(reference)):
                raise GoldenJobsError(refused) from error
            if "name unknown" in text or "manifest unknown" in text:
                return None
            raise RegistryUnreachable(f"The registry {host} cannot be asked for {reference}: {text}.") from error
        return str(answer["Descriptor"]["digest"])

    def base_identity(self, reference: str) -> str:
        """What identifies a base image on every machine: the registry's digest.

        An image that exists in this engine alone (made here, never pushed) is identified by its image id.
        """
        if "@" in reference:
            return reference.partition("@")[2]
        local = self.image(reference)
        if local and not self._repo_digests(local, reference) and registry_host(reference) == "docker.io":
            return str(local["Id"])  # made here: a question to Docker Hub could only hang or find a stranger's image
        try:
            digest = self.registry_digest(reference)
        except RegistryUnreachable as error:
            digests = self._repo_digests(local, reference) if local else []
            if not digests:
                raise GoldenJobsError(f"The base image {reference} cannot be had: {error}") from error
            digest = digests[0]
        if digest:
            return digest
        if local:
            return str(local["Id"])
        raise GoldenJobsError(f"The base image {reference} does not exist: neither in its registry nor in this engine.")

    def ensure_pulled(self, reference: str, digest: str) -> None:
        """Have exactly this version of an image in the engine."""
        local = self.image(reference)
        if local and (local["Id"] == digest or digest in self._repo_digests(local, reference) or "@" in reference):
            return
        self.pull(reference)

    def pull(self, reference: str) -> None:
        """Pull with our login; a failure is one sentence."""
        try:
            for event in self.api.pull(reference, auth_config=self.auth(reference), stream=True, decode=True):
                if "error" in event:
                    raise GoldenJobsError(f"The image {reference} cannot be pulled: {event['error'].strip()}.")
        except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
            raise GoldenJobsError(f"The image {reference} cannot be pulled: {_short(error)}.") from error

    @staticmethod
    def _repo_digests(image: Mapping[str, Any], reference: str) -> list[str]:
        repository = split_tag(reference)[0]
        return [entry.partition("@")[2] for entry in image.get("RepoDigests") or [] if entry.partition("@")[0] == repository]


def split_tag(reference: str) -> tuple[str, str]:
    """`host:5000/a/b:tag` -> (`host:5000/a/b`, `tag`); the tag is `latest` where none is written."""
    head, _, last = reference.rpartition("/")
    name, colon, tag = last.partition(":")
    return (f"{head}/{name}" if head else name), (tag if colon else "latest")


def login_refused(text: str, host: str, login: Mapping[str, str] | None) -> str | None:
    """One sentence when an engine's error text means that the registry refuses our login, else None."""
    lowered = text.lower()
    if not any(sign in lowered for sign in ("unauthorized", "authentication required", "no basic auth", "denied", "401", "403 forbidden")):
        return None
    if login:
        return f"The registry {host} refuses user {login['username']!r} or the password: set registry_username and registry_password of that registry."
    return f"The registry {host} wants a login: set registry_username and registry_password of that registry."


def _short(error: Exception) -> str:
    """The engine's own words, on one line, without the SDK's wrapping."""
    text = getattr(error, "explanation", None) or str(error)
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    return " ".join(str(text).split()).rstrip(".")
