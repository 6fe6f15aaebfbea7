"""The build context and its digest: the same content means the same image, on every machine."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import GoldenJobsError

with contextlib.suppress(ImportError):  # engine.Engine says in one sentence what is missing
    from docker.utils.build import exclude_paths

#: Part of every digest: raise it when the rules below change, so that old and new digests never meet.
FORMAT = 1
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Recipe:
    """Everything besides the files that decides what a build makes."""

    dockerfile: str
    """content of the Dockerfile"""
    base_images: Mapping[str, str]
    """reference as written in the Dockerfile -> digest"""
    build_args: Mapping[str, str] = field(default_factory=dict)
    target: str | None = None
    platform: str | None = None
    refresh: str | None = None


def context_files(context: str) -> list[str]:
    """Paths, relative to the context and sorted, of what the engine would be sent.

    Honours `.dockerignore` with the Docker SDK's own matcher (docker.utils.build).
    """
    if not os.path.isdir(context):
        raise GoldenJobsError(f"The context {context} is not a folder: docker_build needs the path of an existing folder.")
    patterns: list[str] = []
    ignore_file = os.path.join(context, ".dockerignore")
    if os.path.exists(ignore_file):
        with open(ignore_file, encoding="utf-8") as handle:
            patterns = [line.strip() for line in handle if line.strip() and not line.startswith("#")]
    return sorted(path for path in exclude_paths(context, patterns) if path not in ("", "."))


def entries(context: str) -> Iterator[tuple[str, str, str, str]]:
    """For each file: path, kind (`file`, `dir`, `link`), permission bits (octal), sha256 or link target.

    No times and no owners: they differ between machines and do not change what COPY makes.
    """
    for path in context_files(context):
        full = os.path.join(context, path)
        status = os.lstat(full)
        mode = f"{stat.S_IMODE(status.st_mode):04o}"
        if stat.S_ISLNK(status.st_mode):
            yield path, "link", "", os.readlink(full)
        elif stat.S_ISDIR(status.st_mode):
            yield path, "dir", mode, ""
        elif stat.S_ISREG(status.st_mode):
            yield path, "file", mode, file_sha256(full)


def file_sha256(path: str) -> str:
    """Hexadecimal sha256 of a file's content, read in pieces."""
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        while chunk := handle.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def context_digest(context: str, recipe: Recipe) -> str:
    """64 hexadecimal digits over the context's files and the recipe."""
    document: dict[str, Any] = {
        "format": FORMAT,
        "files": list(entries(context)),
        "dockerfile": recipe.dockerfile,
        "base_images": dict(recipe.base_images),
        "build_args": dict(recipe.build_args),
        "target": recipe.target,
        "platform": recipe.platform,
        "refresh": recipe.refresh,
    }
    return hashlib.sha256(json.dumps(document, sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogateescape")).hexdigest()


def immutable_tag(version: str, digest: str) -> str:
    """`<version>-<first 12 hex of the context digest>`, lower case (OpenPAI refuses upper case in private registries)."""
    return f"{version.lower()}-{digest[:12]}"
