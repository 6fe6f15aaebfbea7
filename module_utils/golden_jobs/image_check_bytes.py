"""Whether bytes are the wanted ones: what the checks http and file have in common."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from .hashing import file_sha256


def wanted(check: Mapping[str, Any]) -> bool:
    """Whether the check says anything about the bytes."""
    return check["sha256"] is not None or check["same_as"] is not None


def problem(begin: str, sha256: str, check: Mapping[str, Any]) -> str | None:
    """What is wrong with bytes of this sha256; `begin` is the sentence's, for example `/logo.png serves`."""
    other = f"{begin} other bytes (sha256 {sha256[:12]}) than"
    if check["sha256"] is not None and sha256 != check["sha256"].lower():
        return f"{other} the sha256 {check['sha256'][:12].lower()}"
    if check["same_as"] is not None:
        ours = file_sha256(check["same_as"])
        if sha256 != ours:
            return f"{other} {os.path.basename(check['same_as'])} ({ours[:12]})"
    return None
