"""Images without an engine: a few bytes, pushed as an engine would push them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import requests

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
INDEX = "application/vnd.oci.image.index.v1+json"


class Pusher:
    """Makes images of a few bytes as an engine would push them."""

    def __init__(self, address: str, login: tuple[str, str] | None = None, verify: str | bool = True, token: str = "") -> None:
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.auth = login
        self._session.verify = verify
        if token:
            self._session.headers["Authorization"] = f"Bearer {token}"
        self._base = f"{'http' if verify is True else 'https'}://{address}/v2"

    def image(self, repository: str, *tags: str, label: str = "one") -> str:
        """The digest of an image with that label; the same label is the same image."""
        config = json.dumps(
            {"created": "2026-01-02T03:04:05Z", "config": {"Labels": {"course": label}}, "rootfs": {"diff_ids": []}}
        ).encode()
        found = {
            "digest": self._blob(repository, config),
            "size": len(config),
            "mediaType": "application/vnd.docker.container.image.v1+json",
        }
        body = {"schemaVersion": 2, "mediaType": MANIFEST, "config": found, "layers": []}
        return next(iter({self._manifest(repository, tag, MANIFEST, body) for tag in tags}))

    def index(self, repository: str, tag: str, digest: str) -> str:
        """An index of that image beside an attestation, as buildx pushes it."""
        size = len(self._session.get(f"{self._base}/{repository}/manifests/{digest}", headers={"Accept": MANIFEST}, timeout=5).content)
        entries = [
            {"mediaType": MANIFEST, "digest": digest, "size": size, "platform": {"architecture": arch, "os": arch}}
            for arch in ("unknown", "amd64")
        ]
        return self._manifest(repository, tag, INDEX, {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})

    def _blob(self, repository: str, content: bytes) -> str:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        begun = self._session.post(f"{self._base}/{repository}/blobs/uploads/", timeout=5)
        begun.raise_for_status()
        self._session.put(begun.headers["Location"], params={"digest": digest}, data=content, timeout=5).raise_for_status()
        return digest

    def _manifest(self, repository: str, tag: str, kind: str, body: dict[str, Any]) -> str:
        url = f"{self._base}/{repository}/manifests/{tag}"
        answer = self._session.put(url, data=json.dumps(body).encode(), headers={"Content-Type": kind}, timeout=5)
        answer.raise_for_status()
        return str(answer.headers["Docker-Content-Digest"])
