"""Files that follow the inventory: written where they differ, removed when they are no longer declared.

What was written is remembered in `record`, a JSON file `{"files": [path, …], "folders": [path, …]}`: a file of it that is not declared any more
is removed, and then a folder of it that is empty.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from typing import Any

from .errors import GoldenJobsError
from .progress import Progress

SPEC: dict[str, Any] = {
    "record": {"type": "path", "required": True},
    "files": {"type": "list", "elements": "dict", "default": [], "options": {
        "path": {"type": "path", "required": True},
        "content": {"type": "str", "required": True},
        "mode": {"type": "str", "default": "0644"},
    }},
}  # fmt: skip


def run(module: Any, progress: Progress) -> dict[str, Any]:
    """The module's result: the paths that were `written` and `removed`."""
    wanted = {entry["path"]: entry for entry in module.params["files"]}
    relative = [path for path in wanted if not os.path.isabs(path)]
    if relative:
        raise GoldenJobsError(f"The path {relative[0]} is relative: give a path that begins with /.")
    record = module.params["record"]
    before = _recorded(record)
    folders = set(before["folders"])
    written, removed, diffs = [], [], []
    for path, entry in wanted.items():
        old, mode = _read(path), _mode(entry)
        if old == entry["content"] and os.stat(path).st_mode & 0o7777 == mode:
            continue
        written.append(path)
        diffs.append({"before_header": path, "after_header": path, "before": old or "", "after": entry["content"]})
        if not module.check_mode:
            if not os.path.isdir(os.path.dirname(path)):
                folders.add(os.path.dirname(path))
            write(path, entry["content"], mode)
    for path in before["files"]:
        if path in wanted or not os.path.lexists(path):
            continue
        removed.append(path)
        diffs.append({"before_header": path, "after_header": f"{path} (removed)", "before": _read(path) or "", "after": ""})
        if not module.check_mode:
            os.unlink(path)
    if not module.check_mode:
        kept = [folder for folder in sorted(folders) if not _removed_as_empty(folder)]
        after = {"files": sorted(wanted), "folders": kept}
        if after != before:
            write(record, json.dumps(after, indent=1) + "\n", 0o644)
    return {"changed": bool(written or removed), "written": written, "removed": removed, "diff": diffs}


def write(path: str, content: str, mode: int, *, within_umask: bool = False) -> None:
    """Replace the file in one step; whoever reads it finds the old or the new one whole. `within_umask`: without the bits that this process takes away."""
    folder = os.path.dirname(path)
    try:
        os.makedirs(folder, exist_ok=True)
        temporary = os.path.join(folder, f".golden-jobs-{uuid.uuid4().hex}")
        try:
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as handle:
                handle.write(content)
                if not within_umask:
                    os.fchmod(handle.fileno(), mode)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise GoldenJobsError(f"{path} cannot be written: {error.strerror}.") from error


def _mode(entry: dict[str, Any]) -> int:
    try:
        return int(entry["mode"], 8)
    except ValueError as error:
        raise GoldenJobsError(f"The mode {entry['mode']!r} of {entry['path']} is not allowed: octal digits, for example '0644'.") from error


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            return handle.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise GoldenJobsError(f"{path} cannot be read: {error.strerror}.") from error


def _recorded(record: str) -> dict[str, list[str]]:
    text = _read(record)
    if text is None:
        return {"files": [], "folders": []}
    try:
        found = json.loads(text)
        return {key: [str(path) for path in found[key]] for key in ("files", "folders")}
    except (ValueError, TypeError, KeyError) as error:
        raise GoldenJobsError(f"{record} is not what was written there: delete it, and remove by hand what is no longer wanted.") from error


def _removed_as_empty(folder: str) -> bool:
    try:
        os.rmdir(folder)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
