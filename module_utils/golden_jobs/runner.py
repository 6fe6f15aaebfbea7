"""What every module of this project does around its one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .errors import GoldenJobsError
from .progress import Progress

#: Set by the action plugin `live`, not by users.
PROGRESS_SPEC: dict[str, Any] = {"_progress_file": {"type": "path"}}


def run(module: Any, work: Callable[[Any, Progress], dict[str, Any]]) -> None:
    """Call `work(module, progress)` and end the module with its result, or with one sentence."""
    try:
        result = work(module, Progress(module.params.get("_progress_file")))
    except GoldenJobsError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(**result)
