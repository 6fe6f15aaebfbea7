"""How every course stands on every cluster, in seven words. Pure.

A state says what somebody has to do, worst first:

- `unreachable`: the cluster gives no answer; nothing is known;
- `missing`: no Golden Job of the course has ever been live there;
- `failed`: the live Golden Job ended by itself or does not run;
- `drifted`: by hand, somebody stopped, retagged or replaced a Golden Job, or moved its image's tag in the registry;
- `outdated`: it runs, but the project has a newer revision;
- `held`: it runs, and a hold or a bad revision keeps rollouts away;
- `current`: it runs and is what the project says.

`rollout.yml` repairs what is missing, failed, drifted or outdated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from . import golden_job, protocol

#: Best first: the order of legends and counts.
STATES = ("current", "held", "outdated", "drifted", "failed", "missing", "unreachable")
#: In these states nobody has to do anything.
CALM = ("current", "held")
#: Entries of a row's history that are shown.
HISTORY_SHOWN = 10
#: Clusters that the terminal names beside one reason; the table has them all.
NAMES_SHOWN = 6

Job = dict[str, Any]


def unreachable(course: str, cluster: str, problem: str) -> dict[str, Any]:
    """The row of a course on a cluster that could not be asked."""
    return {**_row(course, cluster), "state": "unreachable", "reason": problem}


def assess(
    course: str, cluster: str, jobs: Iterable[Job], user: str | None = None, wanted: Mapping[str, Any] | None = None, hold: str = ""
) -> dict[str, Any]:
    """One row: `{course, cluster, state, reason, name, revision, image, tag, since_ms, url, by, wanted, history}`.

    `jobs`: items of a listing, any state; the live one with `tasks` and, to be checked, `config`.
    `wanted`: `{revision, job, repository, tags, problem}`: what a rollout would bring, and the digest of every tag that the
    registry has in `repository`. Without `revision` and `tags` the registry could not be asked, and `problem` says why.
    `hold`: a reason from the inventory, beside what the jobs' tags say.
    `reason`: a clause for people, empty for `current`; `by`: who submitted the live one; `wanted`: the wanted revision.
    """
    wanted = wanted or {}
    mine = golden_job.jobs_of(course, jobs, user)
    past = golden_job.history(course, mine, user)
    live = golden_job.current_job(course, mine, user)
    row = {**_row(course, cluster), "history": past[:HISTORY_SHOWN], "wanted": wanted.get("revision")}
    if live:
        row.update(
            name=live["name"],
            revision=(golden_job.parse_name(live["name"]) or {}).get("revision"),
            since_ms=live.get("submissionTime") or live.get("createdTime"),
            url=golden_job.task_url(live.get("tasks") or []),
            image=image_of(live),
            by=golden_job.tag_value(live, golden_job.TAG_BY) or live.get("username"),
        )
        row["tag"] = protocol.image_tag(row["image"] or "")
        state, reason = _live(course, live, mine, wanted)
    else:
        state, reason = _without(past)
        if state == "missing" and wanted.get("problem"):
            reason += f"; {wanted['problem']}"
    if state in ("current", "outdated"):
        kept = _kept(course, mine, user, wanted, hold)
        if kept:
            state, reason = "held", "; ".join(filter(None, [kept, reason]))
    return {**row, "state": state, "reason": reason}


def _row(course: str, cluster: str) -> dict[str, Any]:
    empty = dict.fromkeys(("name", "revision", "image", "tag", "since_ms", "url", "by", "wanted"))
    return {"course": course, "cluster": cluster, **empty, "history": []}


def image_of(job: Mapping[str, Any]) -> str | None:
    """The image of a job that was listed with its config."""
    prerequisites = (job.get("config") or {}).get("prerequisites") or []
    return next((item.get("uri") for item in prerequisites if isinstance(item, dict) and item.get("type") == "dockerimage"), None)


def _live(course: str, live: Job, mine: list[Job], wanted: Mapping[str, Any]) -> tuple[str, str]:
    """State and reason of a course whose live Golden Job is active."""
    if live["state"] != "RUNNING":
        return "failed", f"{live['name']} is {live['state']} and does not run"
    by_hand = _by_hand(course, live, mine, wanted) or _moved(live, wanted)
    if by_hand:
        return "drifted", by_hand
    if not golden_job.parse_name(live["name"]):
        return "outdated", f"{live['name']} was made by hand and adopted"
    if not wanted.get("revision"):
        return "current", f"not compared: {wanted['problem']}" if wanted.get("problem") else ""
    beside = [job for job in mine if golden_job.is_active(job) and job is not live]
    if _revision(live) == wanted["revision"]:
        return ("outdated", f"{', '.join(job['name'] for job in beside)} is left beside it") if beside else ("current", "")
    waiting = next((job["name"] for job in beside if _revision(job) == wanted["revision"]), None)
    return "outdated", f"{waiting} has not taken over yet" if waiting else f"revision {wanted['revision']} is not here yet"


def _by_hand(course: str, live: Job, mine: list[Job], wanted: Mapping[str, Any]) -> str:
    """What somebody did to the jobs that no playbook does, or nothing."""
    name = live["name"]
    if golden_job.TAG_JOB + course not in (live.get("tags") or []):
        return f"the tag {golden_job.TAG_JOB}{course} was taken from {name}"
    also = [
        job["name"] for job in mine if job is not live and golden_job.is_active(job) and golden_job.TAG_CURRENT in (job.get("tags") or [])
    ]
    if also:
        return f"{name} and {', '.join(also)} are both tagged as current"
    if not golden_job.parse_name(name) and any(golden_job.parse_name(job["name"]) for job in mine):
        return f"{name} was put in the place of a Golden Job by hand"
    # Only the wanted revision can be checked: a config shows no names of secrets, and these are part of a revision.
    if _revision(live) == wanted.get("revision") and live.get("config") and wanted.get("job") and not _same(wanted["job"], live["config"]):
        return f"{name} does not run what its name says: it was submitted by hand"
    return ""


def _moved(live: Job, wanted: Mapping[str, Any]) -> str:
    """Does the registry still have the image that was verified when the job was made?"""
    image, tags = image_of(live) or "", wanted.get("tags")
    tag = protocol.image_tag(image)
    if tags is None or not tag or image != f"{wanted['repository']}:{tag}":
        return ""  # the registry could not be asked, or it is another one
    verified, now = golden_job.tag_value(live, golden_job.TAG_DIGEST), tags.get(tag)
    if now is None:
        return f"the registry has no {image} any more"
    if verified and verified != now:
        return f"the registry's tag {tag} moved: it was {verified[:19]}… and is {now[:19]}… now"
    return ""


def _without(past: list[dict[str, Any]]) -> tuple[str, str]:
    """State and reason of a course without an active Golden Job that is tagged as current."""
    ended = next((entry for entry in past if golden_job.TAG_CURRENT in entry["tags"]), None)
    if ended and ended["state"] in ("SUCCEEDED", "FAILED"):
        return "failed", f"{ended['name']} ended as {ended['state']}"
    if ended:
        return "drifted", f"{ended['name']} was stopped by hand"
    live = next((entry for entry in past if entry["active"]), None)
    if live and live["promoted_s"]:
        return "drifted", f"the tag {golden_job.TAG_CURRENT} was taken from {live['name']}"
    if any(entry["promoted_s"] for entry in past):
        return "drifted", "no Golden Job is tagged as current, although there was one"
    return _never_live(past)


def _never_live(past: list[dict[str, Any]]) -> tuple[str, str]:
    """State and reason of a course that has never had a live Golden Job on the cluster."""
    live = next((entry for entry in past if entry["active"]), None)
    if live:
        return "missing", f"{live['name']} has not taken over yet"
    failed = next((entry for entry in past if entry["failed"] or entry["state"] == "FAILED"), None)
    if failed:
        return "failed", f"{failed['name']} did not take over{': ' + failed['failed'] if failed['failed'] else ''}"
    return "missing", "no Golden Job yet"


def _kept(course: str, mine: list[Job], user: str | None, wanted: Mapping[str, Any], hold: str) -> str:
    """What keeps rollouts from this course on this cluster, or nothing."""
    found = golden_job.hold_of(course, mine, user)
    if found:
        return f"held by {found['by']}: {found['reason']}"
    if hold:
        return f"held by the inventory: {hold}"
    if wanted.get("revision") and wanted["revision"] in golden_job.bad_revisions(course, mine, user):
        return f"revision {wanted['revision']} is marked bad here"
    return ""


def _same(wanted: dict[str, Any], config: dict[str, Any]) -> bool:
    """The same job, its name apart."""
    return protocol.same_job({**wanted, "name": ""}, {**config, "name": ""})


def _revision(job: Job) -> str | None:
    return (golden_job.parse_name(job["name"]) or {}).get("revision")


# ----------------------------------------------------------------------------------------------------------------------- for people


def counts(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many rows are in each state, best first; states without a row are left out."""
    found = [row["state"] for row in rows]
    return {state: found.count(state) for state in STATES if state in found}


def words(numbers: Mapping[str, int]) -> str:
    """`3 current, 1 outdated`."""
    return ", ".join(f"{number} {state}" for state, number in numbers.items()) or "no courses"


def table(rows: list[dict[str, Any]], now_s: float) -> list[str]:
    """What the terminal shows: a line per course and cluster, then one per row that has a reason, then the sum."""
    cells = [
        [row["course"], row["cluster"], row["state"], row["revision"], row["tag"], golden_job.age(row["since_ms"], now_s), row["url"]]
        for row in rows
    ]
    lines = golden_job.table(cells, ["COURSE", "CLUSTER", "STATE", "REVISION", "IMAGE TAG", "AGE", "URL"])
    told: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["reason"]:
            told.setdefault(f"{row['state']}: {row['reason']}", []).append(row)
    notes = [f"  {_where(places)}: {text}" for text, places in told.items()]
    return [*lines, *(["", *notes] if notes else []), "", words(counts(rows))]


def _where(rows: list[Mapping[str, Any]]) -> str:
    """`OOB3 on pai-a, pai-b; OOB4 on pai-a`. A cluster that is down is down for all its courses."""
    courses: dict[str, list[str]] = {}
    for row in rows:
        courses.setdefault("" if row["state"] == "unreachable" else row["course"], []).append(row["cluster"])
    parts = []
    for course, clusters in courses.items():
        names = list(dict.fromkeys(clusters))
        more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
        parts.append(f"{course} on {', '.join(names[:NAMES_SHOWN])}{more}".removeprefix(" on "))
    return "; ".join(parts)
