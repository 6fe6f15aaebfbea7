"""The Docker engine: connection, images, and what it knows of a registry."""

from __future__ import annotations

import base64
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from .errors import GoldenJobsError

try:
    import docker
    import docker.errors
    import docker.tls
    import docker.utils
    import requests.exceptions
    import urllib3.exceptions

    class _Client(docker.APIClient):
        """Verifies an engine by the CA that was given for it; requests alone would let REQUESTS_CA_BUNDLE overrule that."""

        def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
            return super().merge_environment_settings(url, proxies, stream, self.verify if verify is None else verify, cert)

        def exec_output(self, exec_id: str) -> Iterator[bytes]:
            """Start an exec and read what it prints, to its end.

            The SDK's own exec_start asks for an upgraded connection and reads its bare socket: what came in one packet
            with the answer's headers is lost in the buffer above it. An answer that is not upgraded is read through it.
            """
            sdk: Any = self
            answer = sdk._post_json(sdk._url("/exec/{0}/start", exec_id), data={"Tty": False, "Detach": False}, stream=True)
            sdk._raise_for_status(answer)
            yield from sdk._multiplexed_response_stream_helper(answer)

    DOCKER_IMPORT_ERROR = None
    #: What a call to the engine raises; while its answer streams, also what lies below the SDK.
    ENGINE_ERRORS: tuple[type[Exception], ...] = (
        docker.errors.DockerException,
        requests.exceptions.RequestException,
        urllib3.exceptions.HTTPError,
        OSError,
    )
except ImportError as error:
    DOCKER_IMPORT_ERROR = error
    ENGINE_ERRORS = (OSError,)

Result = TypeVar("Result")

#: Options of every module that talks to an engine and a registry (documentation: plugins/doc_fragments/engine.py).
ENGINE_SPEC: dict[str, Any] = {
    "docker_host": {"type": "str"},
    "tls": {"type": "bool", "default": False},
    "tls_ca": {"type": "path"},
    "tls_cert": {"type": "path"},
    "tls_key": {"type": "path", "no_log": False},
    "tls_verify": {"type": "bool", "default": True},
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
    first, slash, _path = reference.partition("/")
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
        self._tls = _tls_options(params)
        try:
            where = {"base_url": self.address, "tls": _tls_config(self._tls)} if self.address else docker.utils.kwargs_from_env()
            self.api = _Client(version="auto", timeout=params["timeout_s"], **where)
        except ENGINE_ERRORS as error:
            raise GoldenJobsError(
                f"No Docker engine answers at {self.address or os.environ.get('DOCKER_HOST') or 'the default socket'}: "
                f"start it, or let the role build_server do it ({words(error)})."
            ) from error

    def answers(self) -> bool:
        """Whether the engine is there at all."""
        try:
            return bool(self.api.ping())
        except ENGINE_ERRORS:
            return False

    def version(self) -> str:
        """The engine's version, for example `20.10.24`."""
        return str(self.call("The engine does not say its version", self.api.version)["Version"])

    def data_root(self) -> str:
        """Where the engine keeps its images, on its own host."""
        return str(self.call("The engine does not say where it keeps its data", self.api.info).get("DockerRootDir", "its data root"))

    def cli_options(self) -> list[str]:
        """Global options that make a docker CLI talk to this engine."""
        options = ["--host", self.address] if self.address else []
        if self._tls:
            options.append("--tlsverify" if self._tls["verify"] else "--tls")
            for option, name in (("--tlscacert", "ca"), ("--tlscert", "cert"), ("--tlskey", "key")):
                if self._tls[name]:
                    options += [option, self._tls[name]]
        return options

    def cli_environment(self) -> dict[str, str]:
        """The environment for a docker CLI: where `docker_host` is given, nothing else may name an engine or a builder."""
        ignored = ["DOCKER_CONTEXT", "BUILDX_BUILDER"]
        if self.address:
            ignored += ["DOCKER_HOST", "DOCKER_TLS", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"]
        return {name: value for name, value in os.environ.items() if name not in ignored}

    def auth(self, reference: str) -> dict[str, str]:
        """Login for an image: ours for our registry, none elsewhere. `{}` keeps engines >= 28.3.3 content."""
        return self._login if self._login and registry_host(reference) == self._registry else {}

    def docker_config(self) -> dict[str, Any]:
        """Content of a docker `config.json` that holds our login, for a temporary DOCKER_CONFIG."""
        if not self._login:
            return {}
        token = base64.b64encode(f"{self._login['username']}:{self._login['password']}".encode()).decode()
        return {"auths": {self._registry: {"auth": token}}}

    def call(self, what: str, function: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
        """Call the SDK; a failure becomes one sentence that begins with `what`."""
        try:
            return function(*args, **kwargs)
        except docker.errors.NotFound:
            raise
        except ENGINE_ERRORS as error:
            raise GoldenJobsError(f"{what}: {words(error)}.") from error

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
        except ENGINE_ERRORS as error:
            text = words(error)
            if refused := login_refused(text, host, self.auth(reference)):
                raise GoldenJobsError(refused) from error
            if "name unknown" in text or "manifest unknown" in text:
                return None
            raise RegistryUnreachable(f"The registry {host} cannot be asked for {reference}: {text}.") from error
        return str(answer["Descriptor"]["digest"])

    def base_identity(self, reference: str, pull: bool = True) -> str:
        """What identifies a base image on every machine: the registry's digest.

        An image that exists in this engine alone (made here, never pushed) is identified by its image id. With
        `pull` false the engine's own image decides where it has one.
        """
        if "@" in reference:
            return reference.partition("@")[2]
        local = self.image(reference)
        digests = self._repo_digests(local, reference) if local else []
        if local and not digests and registry_host(reference) == "docker.io":
            return str(local["Id"])  # made here: a question to Docker Hub could only hang or find a stranger's image
        if local and not pull:
            return digests[0] if digests else str(local["Id"])
        try:
            digest = self.registry_digest(reference)
        except GoldenJobsError as error:
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
        if not self._has(reference, digest):
            self.pull(reference)
            if not self._has(reference, digest):
                raise GoldenJobsError(f"The image {reference} moved in its registry while it was pulled: run the same command again.")

    def _has(self, reference: str, digest: str) -> bool:
        local = self.image(reference)
        if not local:
            return False
        return "@" in reference or local["Id"] == digest or digest in self._repo_digests(local, reference)

    def pull(self, reference: str) -> None:
        """Pull with our login; a failure is one sentence."""
        try:
            for event in self.api.pull(reference, auth_config=self.auth(reference), stream=True, decode=True):
                if "error" in event:
                    raise GoldenJobsError(self._not_pulled(reference, event["error"].strip()))
        except ENGINE_ERRORS as error:
            raise GoldenJobsError(self._not_pulled(reference, words(error))) from error

    def _not_pulled(self, reference: str, text: str) -> str:
        if "no space left on device" in text:
            return f"The image {reference} cannot be pulled: no space is left where the engine keeps its data ({self.data_root()}); make room there."
        if refused := login_refused(text, registry_host(reference), self.auth(reference)):
            return f"The image {reference} cannot be pulled: {refused}"
        return f"The image {reference} cannot be pulled: {text.rstrip('.')}."

    @staticmethod
    def _repo_digests(image: Mapping[str, Any], reference: str) -> list[str]:
        repository = split_tag(reference)[0]
        return [entry.partition("@")[2] for entry in image.get("RepoDigests") or [] if entry.partition("@")[0] == repository]


def _tls_options(params: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the TLS options ask for, None for a connection without TLS."""
    files = {name: params.get(f"tls_{name}") for name in ("ca", "cert", "key")}
    if not params.get("tls") and not any(files.values()):
        return None
    if not params.get("docker_host"):
        raise GoldenJobsError("The TLS options need docker_host: the address of the engine, for example tcp://build-1:2376.")
    if bool(files["cert"]) != bool(files["key"]):
        raise GoldenJobsError("The options tls_cert and tls_key belong together: give both or neither.")
    for name, path in files.items():
        if path and not os.path.isfile(path):
            raise GoldenJobsError(f"The file {path} of tls_{name} does not exist on this host.")
    return {**files, "verify": params.get("tls_verify", True)}


def _tls_config(options: Mapping[str, Any] | None) -> Any:
    if not options:
        return False
    pair = (options["cert"], options["key"]) if options["cert"] else None
    return docker.tls.TLSConfig(client_cert=pair, ca_cert=options["ca"], verify=options["verify"])


def split_tag(reference: str) -> tuple[str, str]:
    """`host:5000/a/b:tag` -> (`host:5000/a/b`, `tag`); the tag is `latest` where none is written."""
    head, _slash, last = reference.rpartition("/")
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


def words(error: BaseException) -> str:
    """An error's own words, on one line, without the SDK's wrapping."""
    text = getattr(error, "explanation", None) or str(error)
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    return " ".join(str(text).split()).rstrip(".")
