"""A small YAML file that is read again whenever it changes, so that a test can write it in the middle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


class WatchedFile:
    """The map in a file; a missing file counts as an empty map."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._read = False

    def changed(self) -> dict[str, Any] | None:
        """The content when it is new, None when it is what it was.

        Raises ``ValueError`` for a file that is not a YAML map; it is not read again before it changes.
        """
        stamp = self._look()
        if self._read and stamp == self._stamp:
            return None
        self._read, self._stamp = True, stamp
        if stamp is None or self._path is None:
            return {}
        try:
            found = yaml.safe_load(self._path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ValueError(f"{self._path}: cannot be read: {error}") from error
        if found is not None and not isinstance(found, dict):
            raise ValueError(f"{self._path}: is not a YAML map")
        return found or {}

    def _look(self) -> tuple[int, int, int] | None:
        if self._path is None:
            return None
        try:
            state = self._path.stat()
        except OSError:
            return None
        return state.st_mtime_ns, state.st_size, state.st_ino
