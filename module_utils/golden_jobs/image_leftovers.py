"""Containers of tests whose process was killed: what marks them, and their removal by the next test."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping

from . import process_identity
from .engine import ENGINE_ERRORS, Engine
from .errors import GoldenJobsError
from .progress import Progress

with contextlib.suppress(ImportError):  # engine.Engine says in one sentence what is missing
    import docker.errors

#: On every container of image_test; its value is the image's reference.
LABEL = "golden-jobs.image-test"
#: The process that removes the container (`process_identity`), and when (seconds since 1970) its test is over in any case.
OWNER_LABEL = "golden-jobs.image-test.owner"
UNTIL_LABEL = "golden-jobs.image-test.until"

#: Added to the deadlines of a test for what has none: a slow engine, clocks of hosts that differ.
_SPARE_S = 3600


def labels(image: str, longest_s: float) -> dict[str, str]:
    """For the container of a test by this process. `longest_s`: the test's own deadlines added up."""
    return {LABEL: image, OWNER_LABEL: process_identity.identity(), UNTIL_LABEL: str(int(time.time() + longest_s) + _SPARE_S)}


def is_left_over(marked: Mapping[str, str]) -> bool:
    """Whether nobody will remove the container with these labels any more."""
    alive = process_identity.is_alive(marked[OWNER_LABEL])
    if alive is None:  # of another machine, or of before a restart: until its time is over it may be somebody's
        until = marked.get(UNTIL_LABEL, "")
        return until.isdecimal() and int(until) < time.time()
    return not alive


def remove_leftovers(engine: Engine, progress: Progress) -> None:
    """Remove what killed tests have left over; never the container of a test that may still run."""
    for container in engine.call(
        "The engine does not list its containers", engine.api.containers, all=True, filters={"label": OWNER_LABEL}
    ):
        if is_left_over(container["Labels"]):
            progress.say(f"removing the container of {container['Labels'].get(LABEL)}: a test that was killed has left it")
            remove(engine, container["Id"])


def remove(engine: Engine, name: str) -> None:
    """Remove a container with its anonymous volumes, whatever its state; nothing happens where there is none."""
    try:
        engine.api.remove_container(name, v=True, force=True)
    except docker.errors.NotFound:
        return
    except ENGINE_ERRORS as error:
        if getattr(error, "status_code", None) == 409:
            return  # its removal is under way
        raise GoldenJobsError(f"The container {name} cannot be removed, the next image_test on this engine will do it: {error}.") from error
