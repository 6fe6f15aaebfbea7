"""Where a value of the inventory was written, for messages. Control node only: ansible-core 2.19 and later know it."""

from __future__ import annotations

import contextlib
import importlib
import os
from typing import Any

Origin: Any = None
with contextlib.suppress(ImportError):  # of older versions, and on build servers, where modules have no such package
    Origin = importlib.import_module("ansible._internal._datatag._tags").Origin


def place(value: Any) -> str:
    """`inventory/courses.yml:12`, or nothing where that is not known."""
    tag = Origin.get_tag(value) if Origin is not None else None
    if tag is None or not tag.path:
        return ""
    return f"{short(tag.path)}:{tag.line_num}" if tag.line_num else short(tag.path)


def short(path: str) -> str:
    """The path as seen from the working folder, if it lies below it."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative
