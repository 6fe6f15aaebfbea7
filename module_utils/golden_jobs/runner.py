"""What every module of this project does around its one call."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any, NoReturn

from . import detached, run_lock
from .errors import GoldenJobsError
from .progress import Progress

#: Set by the action plugin `live`, not by users.
PROGRESS_SPEC: dict[str, Any] = {"_progress_file": {"type": "path"}}

Work = Callable[[Any, Progress], dict[str, Any]]


def run(module: Any, work: Work, ends_run: Callable[[dict[str, Any]], bool] = lambda result: False) -> NoReturn:
    """Call `work(module, progress)` and end the module with its result, or with one sentence.

    A module with the option `lock` works under it (`run_lock`); `ends_run(result)` says whether the run then has no more use for it.

    Started by the action plugin `live`, the work outlives the connection (`detached`).
    SIGTERM and SIGINT end the work as an exception, so that it takes its children and containers with it.
    """
    path = module.params.get("_progress_file")
    if path:
        detached.run(path, lambda: _work(module, work, path, ends_run), module.fail_json)
    _work(module, work, None, ends_run)


def _work(module: Any, work: Work, path: str | None, ends_run: Callable[[dict[str, Any]], bool]) -> NoReturn:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    progress = Progress(path, getattr(module, "_verbosity", 0))
    result: dict[str, Any] = {}
    try:
        with run_lock.held(module.params, progress, lambda: ends_run(result)):
            result = work(module, progress)
    except GoldenJobsError as error:
        module.fail_json(msg=str(error), **error.details)
    except KeyboardInterrupt:
        module.fail_json(msg="Interrupted: what it had started is ended; the same command again completes it.")
    module.exit_json(**result)
    raise AssertionError("exit_json does not return")


def _interrupt(number: int, frame: object) -> None:
    # A second signal must not interrupt the clean-up that the first one began.
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt
