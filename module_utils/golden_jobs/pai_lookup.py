"""What the module `pai_job_info` does: look jobs up, describe them and the cluster."""

from __future__ import annotations

from typing import Any

from . import golden_job, pai_detail, protocol
from .errors import GoldenJobsError
from .pai_client import CONNECTION_SPEC, PaiClient, client_of
from .progress import Progress

#: States that the server knows.
STATES = ("WAITING", "RUNNING", "STOPPING", "STOPPED", "SUCCEEDED", "FAILED", "UNKNOWN")

INFO_SPEC: dict[str, Any] = {
    **CONNECTION_SPEC,
    "name": {"type": "list", "elements": "str"},
    "course": {"type": "str"},
    "user": {"type": "str"},
    "states": {"type": "list", "elements": "str"},
    "virtual_cluster": {"type": "str"},
    "tags": {"type": "list", "elements": "str"},
    "tags_absent": {"type": "list", "elements": "str"},
    "keyword": {"type": "str", "no_log": False},
    "limit": {"type": "int"},
    "offset": {"type": "int", "default": 0},
    "config": {"type": "bool", "default": False},
    "detail": {"type": "bool", "default": False},
    "describe_cluster": {"type": "bool", "default": False},
    "require_virtual_cluster": {"type": "str"},
}


def look_up(module: Any, _progress: Progress) -> dict[str, Any]:
    """The jobs that were asked for, and the cluster. Reads only."""
    params = module.params
    states = _states(params["states"])
    for key, least in (("limit", 1), ("offset", 0)):
        if params[key] is not None and params[key] < least:
            raise GoldenJobsError(f"The option {key} is {params[key]}; allowed are whole numbers from {least} on.")
    with client_of(params) as client:
        if params["require_virtual_cluster"]:
            client.require_virtual_cluster(params["require_virtual_cluster"])
        owner = params["user"] or client.user
        if params["course"]:
            jobs, total = _golden_jobs(client, params["course"], owner)
        elif params["name"]:
            found = [client.get_job(*_split(name, owner)) for name in params["name"]]
            jobs = [_described(job) for job in found if job is not None]
            total = len(jobs)
        else:
            jobs, total = client.list_jobs(
                limit=params["limit"],
                offset=params["offset"],
                username=None if owner == "*" else owner,
                state=states,
                vc=params["virtual_cluster"],
                tagsContain=params["tags"],
                tagsNotContain=params["tags_absent"],
                keyword=params["keyword"],
            )
        for job in jobs:
            _complete(client, job, params)
        result = {"changed": False, "cluster": _cluster(client, params), "jobs": jobs, "total_count": total}
        if params["course"]:
            result["golden_job"] = _golden(jobs[0]) if jobs else None
        return result


def _states(wanted: list[str] | None) -> list[str]:
    states = [state.upper() for state in wanted or []]
    unknown = [state for state in states if state not in STATES]
    if unknown:
        raise GoldenJobsError(f"The option states has {unknown[0]}, which is no state of a job; allowed: {', '.join(STATES)}.")
    return states


def _split(name: str, owner: str) -> tuple[str, str | None]:
    """Name and user of `NAME` or `USER~NAME`."""
    user, _tilde, short = name.rpartition("~")
    return short, user or (None if owner == "*" else owner)


def _golden_jobs(client: PaiClient, course: str, owner: str) -> tuple[list[dict[str, Any]], int]:
    """The running Golden Job of the course with its tasks, alone in a list; two requests."""
    golden_job.check_course(course)
    mine, _total = client.list_jobs(
        username=None if owner == "*" else owner, state=["RUNNING"], tagsContain=[golden_job.TAG_CURRENT], keyword=golden_job.NAME_PREFIX
    )
    live = golden_job.current_job(course, mine)
    job = client.get_job(live["name"], live["username"]) if live else None
    return ([_described(job)], 1) if job else ([], 0)


def _described(job: dict[str, Any]) -> dict[str, Any]:
    return {**pai_detail.as_item(job), "tasks": pai_detail.tasks_of(job)}


def _complete(client: PaiClient, job: dict[str, Any], params: dict[str, Any]) -> None:
    """Add what was asked for in addition, one request each."""
    if params["detail"] and "tasks" not in job and job["state"] == "RUNNING":
        job["tasks"] = pai_detail.tasks_of(client.get_job(job["name"], job["username"]))
    if params["config"]:
        config = client.get_config(job["name"], job["username"])
        job["config"] = config and protocol.masked(config)


def _golden(job: dict[str, Any]) -> dict[str, Any]:
    """Where the Golden Job answers: what people look up in the portal by hand."""
    task: dict[str, Any] = next((task for task in job["tasks"] if task["state"] == "RUNNING" and task["urls"]), {})
    return {
        "name": job["name"],
        "user": job["username"],
        "revision": (golden_job.parse_name(job["name"]) or {}).get("revision"),
        "ip": task.get("ip"),
        "ports": task.get("ports") or {},
        "port": next(iter((task.get("ports") or {}).get("http") or []), None),
        "urls": task.get("urls") or {},
        "url": golden_job.task_url(job["tasks"]),
    }


def _cluster(client: PaiClient, params: dict[str, Any]) -> dict[str, Any]:
    """Address and user; with `describe_cluster` what else the cluster says about itself and the user."""
    cluster: dict[str, Any] = {"address": client.address, "user": client.user}
    if params["describe_cluster"]:
        info, me = client.info(), client.whoami()
        cluster.update(
            version=info.get("version"), authn=info.get("authnMethod"), admin=me["admin"], virtual_clusters=me["virtual_clusters"]
        )
    return cluster
