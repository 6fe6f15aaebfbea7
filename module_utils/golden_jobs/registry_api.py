"""A registry's own API (OCI distribution spec 1.1): tags, digests, labels, deletion. Asked from where this runs, without an engine.

The login goes over HTTPS; over plain HTTP only to a loopback address, or where `plain_http` says that the registry has nothing else.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from .errors import GoldenJobsError, reason
from .threads import at_once

try:
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util.retry import Retry
except ImportError:  # reported as one sentence by `RegistryApi`
    requests = None  # type: ignore[assignment]

#: Options of whatever asks a registry.
REGISTRY_SPEC: dict[str, Any] = {
    "address": {"type": "str", "required": True},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "ca_file": {"type": "path"},
    "plain_http": {"type": "bool", "default": False},
}

_TIMEOUT_S = (5, 30)
#: Requests to one registry at the same time: a tag's digest costs one each.
AT_ONCE = 6
_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_IMAGES = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
_ACCEPT = ", ".join((*_IMAGES, *_INDEXES))


class RegistryError(GoldenJobsError):
    """The registry gives no answer, or refuses. `status`: its HTTP status, 0 without an answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message, status=status)
        self.status = status


class RegistryApi:
    """One registry and one login. Nothing is sent before the first call. A context manager."""

    def __init__(
        self, address: str, username: str | None = None, password: str | None = None, ca_file: str | None = None, plain_http: bool = False
    ) -> None:
        if requests is None:
            raise GoldenJobsError("The Python package requests is missing where this module runs: pip install requests.")
        self.address = address
        self._login = (username, password or "") if username else None
        self._tokens: dict[str, str] = {}
        local = is_loopback(address)
        self._scheme = "http" if plain_http else "" if local else "https"
        # urllib3 backs off and honours Retry-After; a certificate that is not trusted (other) is not tried again.
        retry = Retry(
            total=3, connect=1, read=1, other=0, backoff_factor=0.5, status_forcelist=(429, 500, 502, 503, 504), raise_on_status=False
        )
        self._session = requests.Session()
        self._session.trust_env = not local
        self._verify: Any = ca_file or None
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry))

    def __enter__(self) -> RegistryApi:
        return self

    def __exit__(self, *_reason: object) -> None:
        self._session.close()

    def tags(self, repository: str) -> list[str]:
        """Every tag of the repository, sorted; none when there is no such repository."""
        found: list[str] = []
        path: str | None = f"{repository}/tags/list?n=1000"
        while path:
            answer = self._ask("GET", path, repository)
            if answer.status_code == 404:
                break
            found += self._body(answer).get("tags") or []
            link = answer.links.get("next", {}).get("url")
            path = urljoin(answer.url, link).partition("/v2/")[2] if link else None
        return sorted(set(found))

    def digest(self, repository: str, tag: str) -> str | None:
        """What a tag names now, `sha256:…`; None when there is no such tag."""
        answer = self._ask("HEAD", f"{repository}/manifests/{quote(tag)}", repository)
        if answer.status_code == 404:
            return None
        digest = answer.headers.get("Docker-Content-Digest", "")
        if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
            raise RegistryError(f"The registry {self.address} names no digest for {repository}:{tag}.", answer.status_code)
        return str(digest)

    def digests(self, repository: str) -> dict[str, str]:
        """What every tag names now."""
        tags = self.tags(repository)
        found = at_once(lambda tag: self.digest(repository, tag), tags, AT_ONCE)
        return {tag: digest for tag, digest in zip(tags, found, strict=True) if digest}

    def describe(self, repository: str, digest: str) -> dict[str, Any]:
        """`{created, labels, size_bytes}` of an image, `created` as the image says (RFC 3339, "" when it does not)."""
        manifest = self._body(self._ask("GET", f"{repository}/manifests/{digest}", repository))
        if manifest.get("mediaType") in _INDEXES or "manifests" in manifest:
            entry = next(
                (one for one in manifest["manifests"] if (one.get("platform") or {}).get("architecture") != "unknown"),
                manifest["manifests"][0],
            )
            manifest = self._body(self._ask("GET", f"{repository}/manifests/{entry['digest']}", repository))
        config = self._body(self._ask("GET", f"{repository}/blobs/{manifest['config']['digest']}", repository))
        size = sum(layer.get("size", 0) for layer in manifest.get("layers") or [])
        return {"created": config.get("created") or "", "labels": (config.get("config") or {}).get("Labels") or {}, "size_bytes": size}

    def delete(self, repository: str, digest: str) -> bool:
        """Delete a manifest and with it every tag that names it; False when it was gone. Layers go at the registry's next garbage collection."""
        answer = self._ask("DELETE", f"{repository}/manifests/{digest}", repository)
        if answer.status_code == 405:
            raise RegistryError(
                f"The registry {self.address} does not allow deletions: set storage.delete.enabled in its configuration, "
                "or REGISTRY_STORAGE_DELETE_ENABLED=true for its container.",
                405,
            )
        return bool(answer.status_code != 404)

    # ------------------------------------------------------------------------------------------------------------- transport

    def _ask(self, method: str, path: str, repository: str) -> Any:
        """The answer, 404 and 405 included; RegistryError for every other failure."""
        answer = self._send(method, path, repository)
        if answer.status_code == 401:
            challenge = answer.headers.get("WWW-Authenticate", "")
            if challenge.lower().startswith("bearer "):
                self._tokens[repository] = self._token(challenge, repository)
                answer = self._send(method, path, repository)
        if answer.status_code in (401, 403):
            who = f"user {self._login[0]!r}" if self._login else "anybody without a login"
            raise RegistryError(
                f"The registry {self.address} refuses {who} for {repository} (HTTP {answer.status_code}).", answer.status_code
            )
        if not answer.ok and answer.status_code not in (404, 405):
            raise RegistryError(f"The registry {self.address} answers {repository} with HTTP {answer.status_code}.", answer.status_code)
        return answer

    def _send(self, method: str, path: str, repository: str) -> Any:
        headers = {"Accept": _ACCEPT}
        token = self._tokens.get(repository)
        if token:
            headers["Authorization"] = f"Bearer {token}"
        failure: Exception | None = None
        for scheme in (self._scheme,) if self._scheme else ("http", "https"):
            try:
                answer = self._session.request(
                    method,
                    f"{scheme}://{self.address}/v2/{path}",
                    headers=headers,
                    auth=None if token else self._login,
                    timeout=_TIMEOUT_S,
                    verify=self._verify,
                )
            except (requests.RequestException, ValueError) as error:
                failure = failure or error
                continue
            if scheme == "http" and answer.status_code == 400 and not self._scheme:
                continue  # "Client sent an HTTP request to an HTTPS server"
            self._scheme = scheme
            return answer
        raise RegistryError(f"The registry {self.address} does not answer: {reason(failure)}.")

    def _token(self, challenge: str, repository: str) -> str:
        asked = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        realm = asked.get("realm", "")
        if urlsplit(realm).scheme != "https" and self._scheme == "https":
            raise RegistryError(f"The registry {self.address} sends its users to {realm} to log in, which is no HTTPS.", 401)
        scope = asked.get("scope") or f"repository:{repository}:pull,delete"
        try:
            answer = self._session.get(
                realm,
                params={"service": asked.get("service", ""), "scope": scope},
                auth=self._login,
                timeout=_TIMEOUT_S,
                verify=self._verify,
            )
            body = answer.json() if answer.ok else {}
        except (requests.RequestException, ValueError) as error:
            raise RegistryError(f"The login service of the registry {self.address} does not answer: {reason(error)}.") from None
        return str(body.get("token") or body.get("access_token") or "")

    def _body(self, answer: Any) -> dict[str, Any]:
        with contextlib.suppress(ValueError):
            body = answer.json()
            if answer.ok and isinstance(body, dict):
                return body
        raise RegistryError(f"The registry {self.address} answers HTTP {answer.status_code} and no JSON.", answer.status_code)


#: `v1.0-0123456789ab`: a tag that is written once and never moved.
IMMUTABLE_TAG = re.compile(r".+-[0-9a-f]{12}")


def images_of(registry: RegistryApi, repository: str, describe: bool = False) -> dict[str, Any]:
    """`{tags: {tag: digest}}` of a repository; with `describe` also `images: {digest: {created, labels, size_bytes}}` of immutable tags."""
    found: dict[str, Any] = {"tags": registry.digests(repository)}
    if describe:
        mine = sorted({*immutable(found["tags"]).values()})
        found["images"] = dict(zip(mine, at_once(lambda digest: registry.describe(repository, digest), mine, AT_ONCE), strict=True))
    return found


def immutable(tags: Mapping[str, str]) -> dict[str, str]:
    """Those of the tags that are written once."""
    return {tag: digest for tag, digest in tags.items() if IMMUTABLE_TAG.fullmatch(tag)}


def newest(tags: Mapping[str, str], version: str) -> str | None:
    """The immutable tag that the moving tag `version` stands for; None when it stands for none."""
    mine = (tag for tag, digest in sorted(immutable(tags).items()) if digest == tags.get(version))
    return next((tag for tag in mine if tag[:-13] == version.lower()), None)


def host_name(address: str) -> str:
    """A registry's address without its port."""
    return address.rpartition(":")[0].strip("[]") if ":" in address else address


def is_loopback(address: str) -> bool:
    """Whether the registry is on this machine."""
    name = host_name(address)
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(name).is_loopback
    return name == "localhost"
