"""Files of a container through the engine's archive API: works without a shell, also in a container that has ended.

https://docs.docker.com/reference/api/engine/ (ContainerArchive, ContainerArchiveInfo). /proc, /sys, /dev and tmpfs are not
seen that way.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from .engine import Engine
from .errors import GoldenJobsError

_GO_MODE_LINK = 1 << 27
_CHUNK_BYTES = 1 << 20
_TEXT_BYTES = 4 << 20


@dataclass(frozen=True)
class File:
    """A file or folder as the container has it."""

    uid: int
    gid: int
    mode: int
    """permission bits, set-uid and the like included"""
    size_bytes: int
    sha256: str | None
    """of a file's content, where it was asked for"""


class ContainerFiles:
    """The file system of one container. Links are followed as the container would follow them."""

    def __init__(self, engine: Engine, container: str) -> None:
        self._api = engine.api
        self._url = f"{self._api.base_url}/v{self._api.api_version}/containers/{container}/archive"

    def link_target(self, path: str) -> str | None:
        """Where a symbolic link ends, with all links on the way; `` for anything else, None when nothing is there."""
        answer = self._api.head(self._url, params={"path": path}, timeout=self._api.timeout)
        if answer.status_code == 404 or self._is_no_folder(answer, path):
            return None
        stat = json.loads(base64.b64decode(answer.headers["X-Docker-Container-Path-Stat"]))
        return str(stat["linkTarget"]) if stat["mode"] & _GO_MODE_LINK else ""

    def file(self, path: str, link: str | None, *, with_sha256: bool = False) -> File | None:
        """What a path names in the end; None when nothing is there. `link`: what `link_target` says of it.

        Each question costs the engine a view of the container's file system: content and the rest come with one.
        """
        with self._member(path, link) as found:
            if not found:
                return None
            entry = found[1]
            sha256 = _sha256(found[0].extractfile(entry)) if with_sha256 and entry.isfile() else None
            return File(entry.uid, entry.gid, entry.mode & 0o7777, entry.size, sha256)

    def text(self, path: str) -> str:
        """A small text file; empty when it is not there."""
        with self._member(path, self.link_target(path)) as found:
            content: IO[bytes] | None = found[0].extractfile(found[1]) if found and found[1].isfile() else None
            return content.read(_TEXT_BYTES).decode(errors="replace") if content else ""

    def user_id(self, user: str) -> int | None:
        """The uid of a name or a number, by the container's own /etc/passwd."""
        return self._id("/etc/passwd", user)

    def group_id(self, group: str) -> int | None:
        """The gid of a name or a number, by the container's own /etc/group."""
        return self._id("/etc/group", group)

    def _id(self, database: str, name: str) -> int | None:
        if name.isdecimal():
            return int(name)
        for line in self.text(database).splitlines():
            fields = line.split(":")
            if fields[0] == name and len(fields) > 2 and fields[2].isdecimal():
                return int(fields[2])
        return None

    @contextlib.contextmanager
    def _member(self, path: str, link: str | None) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo] | None]:
        """The archive of a path and its first entry, which is the path itself. Nothing more is read than is asked for."""
        answer = None if link is None else self._get(link or path)
        if answer is None or answer.status_code == 404:
            yield None
            return
        with contextlib.closing(answer):
            if answer.status_code != 200:
                raise GoldenJobsError(f"The engine does not show {path} of the container: {answer.text.strip()}.")
            try:
                with tarfile.open(fileobj=answer.raw, mode="r|") as archive:
                    entry = archive.next()
                    yield (archive, entry) if entry else None
            except tarfile.TarError as error:
                raise GoldenJobsError(f"The engine's archive of {path} of the container cannot be read: {error}.") from error

    def _is_no_folder(self, answer: Any, path: str) -> bool:
        """`/etc/passwd/x`: engines answer with 500, and a HEAD has no body that says why."""
        if answer.status_code < 400:
            return False
        with contextlib.closing(self._get(path)) as explained:
            if "not a directory" in explained.text:
                return True
            raise GoldenJobsError(f"The engine does not show {path} of the container: {explained.text.strip()}.")

    def _get(self, path: str) -> Any:
        headers = {"Accept-Encoding": "identity"}  # engines compress it where they may
        return self._api.get(self._url, params={"path": path}, headers=headers, stream=True, timeout=self._api.timeout)


def _sha256(content: IO[bytes] | None) -> str | None:
    """Read in pieces: a data set may be larger than the memory."""
    if content is None:
        return None
    digest = hashlib.sha256()
    while chunk := content.read(_CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()
