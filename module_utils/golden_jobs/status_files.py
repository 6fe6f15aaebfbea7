"""status_page: write how all courses stand on all clusters as one HTML page and as JSON."""

from __future__ import annotations

import json
import time
from typing import Any

from . import status, status_page
from .managed_files import write
from .this_run import operator

SPEC: dict[str, Any] = {
    "clusters": {"type": "list", "elements": "dict", "required": True},
    "titles": {"type": "dict", "required": True},
    "html": {"type": "path", "required": True},
    "json": {"type": "path", "required": True},
    "by": {"type": "str"},
}


def run(args: dict[str, Any], _host: str, check: bool) -> dict[str, Any]:
    """`{counts, lines}`. The files are a view: they never count as a change."""
    now_s = time.time()
    found = status_page.document(args["clusters"], args["titles"], args["by"] or operator(), now_s)
    if not check:
        write(args["html"], status_page.html(found), 0o644, within_umask=True)
        write(args["json"], json.dumps(found, indent=1, ensure_ascii=False) + "\n", 0o644, within_umask=True)
    return {"counts": found["counts"], "lines": status.table(found["rows"], now_s)}
