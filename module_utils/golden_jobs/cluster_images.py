"""Which images one cluster runs or may need again. Raises when anything cannot be asked: what is not known must not be deleted."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from . import cluster_status, golden_job, prune
from .errors import GoldenJobsError
from .pai_client import PaiClient
from .threads import at_once

#: Everything that is not over for good, of anybody: students' environments run these images, too.
UNFINISHED = ["WAITING", "RUNNING", "STOPPING", "UNKNOWN"]

SPEC: dict[str, Any] = {
    "connection": {"type": "dict", "required": True},
    "courses": {"type": "list", "elements": "str", "required": True},
    "rollback_depth": {"type": "int", "default": 3},
    "idle_s": {"type": "int", "default": 86400},
}


def run(args: dict[str, Any], _host: str, _check: bool) -> dict[str, Any]:
    """golden_job_images: what `used_images` returns."""
    try:
        return used_images(cluster_status.given(args["connection"]), args["courses"], args["rollback_depth"], args["idle_s"])
    except GoldenJobsError as error:
        raise GoldenJobsError(f"{error} Nothing is deleted anywhere while it is not known what this cluster runs.") from None


def used_images(connection: Mapping[str, Any], courses: list[str], depth: int, idle_s: float) -> dict[str, Any]:
    """`{images, leftovers}`: references that run or that a rollback may need, and `prune.leftovers` of all courses."""
    with PaiClient(**connection) as client:
        running, _total = client.list_jobs(state=UNFINISHED)
        jobs = cluster_status.golden_jobs(client, courses)
        wanted = {(job["username"], job["name"]) for job in running}
        for course in courses:
            wanted |= {(client.user, name) for name in prune.rollback_names(course, jobs, client.user, depth)}

        def images(of: tuple[str, str]) -> list[str]:
            config = client.get_config(of[1], of[0])
            if config is None:
                raise GoldenJobsError(f"The config of the job {of[1]!r} of {of[0]} on {client.address} cannot be read.")
            return [
                str(one["uri"]) for one in config.get("prerequisites") or [] if isinstance(one, dict) and one.get("type") == "dockerimage"
            ]

        found = at_once(images, sorted(wanted), cluster_status.AT_ONCE)
        now_s = time.time()
        left = [
            one
            for course in courses
            for one in prune.leftovers(course, jobs, client.user, now_s, idle_s)
            if golden_job.hold_of(course, jobs) is None
        ]
    return {"images": sorted({image for each in found for image in each}), "leftovers": left}
