"""image_find: where in an image the files of a name are, and which address of Jupyter or code-server serves each."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from typing import Any

from . import image_check_command, image_leftovers
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
#: Understood by the find of GNU and of busybox; any name survives it.
_FIND = "find / -xdev -type f -name {name} -print0"


def run(module: Any, progress: Progress) -> dict[str, Any]:
    """The module's result: a row per file, sorted by path. The container only sleeps; it is removed whatever happens."""
    params = module.params
    if not params["name"] or "/" in params["name"]:
        raise GoldenJobsError(f"The name {params['name']!r} is not allowed: a file's name without folders, * and ? may stand in it.")
    engine = Engine(params, registry_host(params["image"]))
    if engine.image(params["image"]) is None:
        raise GoldenJobsError(not_in_engine(params["image"]))
    container = ImageContainer(engine, params["image"], None)
    progress.say(f"looking for {params['name']} in {params['image']}")
    try:
        container.start("sleep infinity", {}, [], 64, image_leftovers.labels(params["image"], params["timeout_s"]))
        listing = _output(container, _FIND.format(name=shlex.quote(params["name"])), params["timeout_s"])
        urls = _urls(container, params["timeout_s"])
        files = [_row(container, path, urls.get(path, {})) for path in sorted(listing.split("\0")) if path]
    finally:
        container.remove()
    ours = _digests(params["ours"], {one["size_bytes"] for one in files}) if params["ours"] else set()
    for one in files:
        one["origin"] = "ours" if one["sha256"] in ours or one["origin"] == "ours" else "stock"
    return {"changed": False, "files": files}


def _row(container: ImageContainer, path: str, known: Mapping[str, Any]) -> dict[str, Any]:
    file = container.files.file(path, container.files.link_target(path), with_sha256=True)
    return {
        "path": path,
        "size_bytes": file.size_bytes if file else 0,
        "sha256": (file.sha256 if file else None) or "",
        "origin": "ours" if known.get("ours") else "",
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
    if code:
        raise GoldenJobsError(f"The search in {container.image} ended with {code}: {output[-200:] or 'no output'}.")
    return output


def _digests(folder: str, sizes: set[int]) -> set[str]:
    """sha256 of each file of the course's context that has one of the sizes: a data set of another size is not read."""
    paths = (os.path.join(parent, name) for parent, _folders, names in os.walk(folder) for name in names)
    return {file_sha256(path) for path in paths if os.path.isfile(path) and os.path.getsize(path) in sizes}
