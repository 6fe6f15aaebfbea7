"""image_find: where in an image the files of a name are, and which address of Jupyter or code-server serves each."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Mapping
from typing import Any

from . import image_check_command
from .engine import ENGINE_SPEC, Engine, registry_host
from .errors import GoldenJobsError
from .hashing import file_sha256
from .image_container import ImageContainer, not_in_engine
from .progress import Progress
from .runner import PROGRESS_SPEC

SPEC: dict[str, Any] = {
    **ENGINE_SPEC,
    **PROGRESS_SPEC,
    "image": {"type": "str", "required": True},
    "name": {"type": "str", "required": True},
    "ours": {"type": "path"},
    "timeout_s": {"type": "int", "default": 300},
}
#: Path, size and sha256 of each file, in a form that any name survives.
_FIND = "find / -xdev -type f -name {name} -not -path '/proc/*' -not -path '/sys/*' -printf '%s %p\\0' 2> /dev/null"
_FOUND = re.compile(r"(\d+) (/[^\0]*)\0")


def run(module: Any, progress: Progress) -> dict[str, Any]:
    """The module's result: a row per file, sorted by path. The container only sleeps; it is removed whatever happens."""
    params = module.params
    if not params["name"] or "/" in params["name"]:
        raise GoldenJobsError(f"The name {params['name']!r} is not allowed: a file's name without folders, * and ? may stand in it.")
    engine = Engine(params, registry_host(params["image"]))
    if engine.image(params["image"]) is None:
        raise GoldenJobsError(not_in_engine(params["image"]))
    ours = _digests(params["ours"]) if params["ours"] else {}
    container = ImageContainer(engine, params["image"], None)
    progress.say(f"looking for {params['name']} in {params['image']}")
    try:
        container.start("sleep infinity", {}, [], 64, params["timeout_s"])
        listing = _output(container, _FIND.format(name=shlex.quote(params["name"])), params["timeout_s"])
        sizes = {path: int(size) for size, path in _FOUND.findall(listing)}
        urls = _urls(container, params["timeout_s"])
        files = [_row(container, path, sizes[path], urls, ours) for path in sorted(sizes)]
    finally:
        container.remove()
    return {"changed": False, "files": files}


def _row(container: ImageContainer, path: str, size: int, urls: Mapping[str, Mapping[str, Any]], ours: Mapping[str, str]) -> dict[str, Any]:
    sha256 = container.files.sha256(path) or ""
    known = urls.get(path, {})
    is_ours = sha256 in ours or bool(known.get("ours"))
    return {
        "path": path,
        "size_bytes": size,
        "sha256": sha256,
        "origin": "ours" if is_ours else "stock",
        "software": known.get("software") or "",
        "url": known.get("url") or "",
    }


def _urls(container: ImageContainer, timeout_s: int) -> dict[str, dict[str, Any]]:
    """What the image's own list of logos says, by path; nothing for an image without one."""
    text = _output(container, "test ! -f /opt/branding/brand.py || python3 /opt/branding/brand.py list", timeout_s)
    try:
        listed = json.loads(text or "[]")
    except ValueError as error:
        raise GoldenJobsError(f"The list of logos in {container.image} cannot be read: brand.py printed {text[:80]!r}.") from error
    return {one["path"]: one for one in listed}


def _output(container: ImageContainer, command: str, timeout_s: int) -> str:
    code, output = image_check_command.run(container, ["sh", "-c", command], "0", timeout_s)
    if code is None:
        raise GoldenJobsError(f"The search in {container.image} did not end within {timeout_s} s.")
    return output


def _digests(folder: str) -> dict[str, str]:
    """sha256 -> path of each file of the course's context."""
    found = {}
    for parent, _folders, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            if os.path.isfile(path):
                found[file_sha256(path)] = path
    return found
