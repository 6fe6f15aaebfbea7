"""status_page: write how all courses stand on all clusters as one HTML page and as JSON."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from . import status, status_page
from .errors import GoldenJobsError
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
        try:
            replace(Path(args["html"]), status_page.html(found))
            replace(Path(args["json"]), json.dumps(found, indent=1, ensure_ascii=False) + "\n")
        except OSError as error:
            raise GoldenJobsError(f"The status page {error.filename or args['html']} cannot be written: {error.strerror}.") from None
    return {"counts": found["counts"], "lines": status.table(found["rows"], now_s)}


def replace(path: Path, content: str, mode: int = 0o644) -> None:
    """Write a file at once, so that nobody ever reads half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as file:
        file.write(content)
    new.replace(path)
