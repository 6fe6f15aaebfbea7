"""Asks one cluster how all courses stand on it: one login, two listings, and two requests per live Golden Job, several at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from . import effective_job, golden_job, pai_detail, protocol, status
from .errors import GoldenJobsError
from .pai_client import PaiClient
from .threads import at_once

#: Whoever looks does not wait for a cluster that is down as a rollout does.
TIMEOUT_S = 8.0
#: Requests to one cluster at the same time.
AT_ONCE = 4

SPEC: dict[str, Any] = {
    "connection": {"type": "dict", "required": True},
    "courses": {"type": "list", "elements": "dict", "required": True},
    "settings": {"type": "dict", "options": effective_job.SETTINGS_SPEC, "default": {}},
    "hold": {"type": "str", "default": ""},
    "root": {"type": "path", "required": True},
}


def run(args: dict[str, Any], host: str, _check: bool) -> dict[str, Any]:
    """golden_job_status: what `cluster_rows` returns."""
    loaded: dict[str, dict[str, Any]] = {}

    def load(template: str) -> dict[str, Any]:
        if template not in loaded:
            loaded[template] = protocol.load_file(str(Path(args["root"]) / template), template)[0]
        return loaded[template]

    return cluster_rows(host, given(args["connection"]), args["courses"], args["settings"], args["hold"], load)


def given(connection: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a connection that are not left empty."""
    return {key: value for key, value in connection.items() if value not in (None, "")}


def cluster_rows(
    cluster: str,
    connection: Mapping[str, Any],
    courses: list[dict[str, Any]],
    settings: Mapping[str, Any],
    hold: str,
    load: Callable[[str], dict[str, Any]],
) -> dict[str, Any]:
    """`{name, address, user, problem, seconds, rows}`: one row per course, as `status.assess` makes them. Never raises for a cluster that is down.

    `courses`: as for `effective_job`, and `template` (a path for `load`), `repository`, `tags` (None: the registry could not be
    asked, and `problem` says why), `hold`. `settings`: the cluster's, as for `effective_job`. `hold`: why it is left alone.
    """
    started = time.monotonic()
    names = [course["name"] for course in courses]
    answer: dict[str, Any] = {"name": cluster, "address": str(connection.get("address") or ""), "user": None, "problem": ""}
    try:
        with PaiClient(**{**connection, "timeout_s": TIMEOUT_S}, hasty=True) as client:
            answer.update(address=client.address, user=client.user)
            jobs = golden_jobs(client, names)
            wants = [wanted(course, settings, load) for course in courses]
            live = [(golden_job.current_job(name, jobs, client.user), want) for name, want in zip(names, wants)]
            complete(client, [(job, want) for job, want in live if job])
    except GoldenJobsError as error:
        rows = [status.unreachable(name, cluster, str(error)) for name in names]
        return {**answer, "problem": str(error), "rows": rows, "seconds": round(time.monotonic() - started, 2)}
    rows = [
        status.assess(
            course["name"],
            cluster,
            jobs,
            answer["user"],
            want,
            hold=hold or str(course.get("hold") or ""),
        )
        for course, want in zip(courses, wants)
    ]
    return {**answer, "rows": rows, "seconds": round(time.monotonic() - started, 2)}


def golden_jobs(client: PaiClient, courses: Iterable[str]) -> list[dict[str, Any]]:
    """My Golden Jobs by name, and what else somebody has tagged as one; any state."""
    tags = [golden_job.TAG_CURRENT, *(golden_job.TAG_JOB + course for course in courses)]
    named, _total = client.list_jobs(username=client.user, keyword=golden_job.NAME_PREFIX)
    tagged, _total = client.list_jobs(username=client.user, tagsContain=tags)
    return list({job["name"]: job for job in [*tagged, *named]}.values())


def complete(client: PaiClient, jobs: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    """Give live jobs their `tasks` and their `config` (secrets masked). Each comes with what is wanted in its place.

    A job that a playbook has submitted (it says who) runs what its name says: of the wanted revision, the config is known.
    """

    def ask(pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
        job, want = pair
        job["tasks"] = pai_detail.tasks_of(client.get_job(job["name"]))
        ours = golden_job.tag_value(job, golden_job.TAG_BY) is not None
        if ours and want["revision"] and (golden_job.parse_name(job["name"]) or {}).get("revision") == want["revision"]:
            job["config"] = protocol.masked(want["job"])
        else:
            config = client.get_config(job["name"])
            job["config"] = config and protocol.masked(config)

    at_once(ask, jobs, AT_ONCE)


def wanted(course: Mapping[str, Any], settings: Mapping[str, Any], load: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """What a rollout would bring the course to on a cluster with these settings, as `status.assess` takes it."""
    found = {"repository": course["repository"], "tags": course.get("tags"), "problem": course.get("problem") or "", "revision": None}
    if not course.get("image"):
        return found
    try:
        effective = effective_job.effective_job(load(course["template"]), dict(course), dict(settings))
    except GoldenJobsError as error:
        return {**found, "problem": str(error)}
    return {**found, "revision": effective["revision"], "job": effective["job"]}
