"""Which images one cluster runs or may need again. Raises when anything cannot be asked: what is not known must not be deleted."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from . import cluster_status, golden_job, prune
from .errors import GoldenJobsError
from .pai_client import PaiClient

#: Everything that is not over for good, of anybody: students' environments run these images, too.
UNFINISHED = ["WAITING", "RUNNING", "STOPPING", "UNKNOWN"]


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
                raise GoldenJobsError(f"The config of the job {of[1]!r} of {of[0]} on {client.address} cannot be read; nothing is deleted.")
            return [
                str(one["uri"]) for one in config.get("prerequisites") or [] if isinstance(one, dict) and one.get("type") == "dockerimage"
            ]

        found = cluster_status.at_once(images, sorted(wanted), cluster_status.AT_ONCE)
        now_s = time.time()
        left = [
            one
            for course in courses
            for one in prune.leftovers(course, jobs, client.user, now_s, idle_s)
            if golden_job.hold_of(course, jobs) is None
        ]
    return {"images": sorted({image for each in found for image in each}), "leftovers": left}
