"""Remembers the sha256 of a context's files, so that an unchanged tree is not read again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import tempfile
import time
from typing import Any

FORMAT = 2
#: A file that changed less than this before it was read may change again without a new time stamp: the kernel's clock
#: ticks every few ms, FAT's every 2 s. Git calls such entries racy.
RACY_NS = 3_000_000_000


def default_folder() -> str:
    """`$XDG_CACHE_HOME/golden-jobs`, or `~/.cache/golden-jobs`."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return os.path.join(base if os.path.isabs(base) else os.path.expanduser("~/.cache"), "golden-jobs")


class DigestCache:
    """One context's file digests, in one file of `folder`.

    An entry counts only while size, both times (in ns), inode and device are what they were. Two runs at once do no harm:
    the last one to save wins. A cache that is damaged, of another user, or from the future is left alone and replaced.
    What it cannot see: a write through a memory map that was made before the digest, and a file system without a ctime.
    """

    def __init__(self, folder: str, context: str) -> None:
        self._context = os.path.realpath(context)
        self._folder = os.path.join(folder, "digests")
        self._path = os.path.join(self._folder, hashlib.sha256(os.fsencode(self._context)).hexdigest()[:32] + ".json")
        self._known = _load(self._path, self._context)
        self._used: dict[str, str] = {}
        self._changed = False

    def get(self, path: str, status: os.stat_result) -> str | None:
        """sha256 of a file of which `lstat` says this, or None if it has to be read."""
        entry = self._known.get(path)
        identity = _identity(status)
        if entry is None or not entry.startswith(identity):
            return None
        self._used[path] = entry
        return entry[len(identity) :]

    def put(self, path: str, status: os.stat_result, sha256: str, started_ns: int) -> None:
        """Remember what was read, if the file had been at rest for a while when reading began (`started_ns`, epoch).

        A time in the future is never at rest: some clock was wrong.
        """
        self._changed = True
        if max(status.st_mtime_ns, status.st_ctime_ns) + RACY_NS < started_ns:
            self._used[path] = _identity(status) + sha256

    def save(self) -> None:
        """Write what was used since the cache was opened; forget contexts that are gone. A cache that cannot be written is none."""
        if not self._changed and len(self._used) == len(self._known):
            return
        with contextlib.suppress(OSError):
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            body = json.dumps(self._used, separators=(",", ":"))
            header = {"format": FORMAT, "context": self._context, "written_ns": time.time_ns(), "sha256": _sha256(body)}
            write_private(self._path, f"{json.dumps(header)}\n{body}")
            self._prune()

    def _prune(self) -> None:
        for entry in os.scandir(self._folder):
            if entry.path != self._path and entry.name.endswith(".json"):
                header = _header(entry.path)
                if header is None or not os.path.isdir(header.get("context", "")):
                    with contextlib.suppress(OSError):
                        os.unlink(entry.path)


def write_private(path: str, text: str) -> None:
    """Replace a file at once, readable only by its owner."""
    descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".", suffix=".tmp")
    try:
        with open(descriptor, "w", encoding="ascii") as handle:
            handle.write(text)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _identity(status: os.stat_result) -> str:
    # One string, because 20,000 of them are read and compared faster than 20,000 lists.
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino} {status.st_dev} "


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _header(path: str) -> dict[str, Any] | None:
    try:
        with open(path, encoding="ascii") as handle:
            header = json.loads(handle.readline())
    except (OSError, ValueError):
        return None
    return header if isinstance(header, dict) and isinstance(header.get("context"), str) else None


def _load(path: str, context: str) -> dict[str, str]:
    try:
        with open(path, encoding="ascii") as handle:
            status = os.fstat(handle.fileno())
            header, _newline, body = handle.read().partition("\n")
        facts = json.loads(header)
        sound = (
            status.st_uid == os.geteuid()
            and not stat.S_IMODE(status.st_mode) & 0o022
            and facts["format"] == FORMAT
            and facts["context"] == context
            and facts["written_ns"] <= time.time_ns()
            and facts["sha256"] == _sha256(body)
        )
        known: dict[str, str] = json.loads(body) if sound else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return known
