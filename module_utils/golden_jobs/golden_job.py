"""Golden Jobs of a course on one cluster: what is there, and what has to be done. Pure.

The cluster's jobs, their names and their tags are the only memory:

- the name `golden-<course>-<revision>-<n>` says what a job runs; OpenPAI never frees a name, so `n` counts up;
- the tag `golden-job:<course>` marks the Golden Jobs of a course, for people and for searches;
- the tag `golden-current` marks the one that answers for the course now;
- further tags (`TAG_…` below) say who made it, when it was promoted, why it failed, what is bad and what is held.

The order of a rollout's steps makes every interruption readable from these: submit, tag as Golden Job, (probe,
bake, probe), tag as current, then for each other one: untag, stop. So an active job of the wanted revision
without `golden-current` has yet to prove itself; with it, it has answered twice; and of two that carry it, the one
that was submitted later has taken over.

Submitted later counts everywhere: a job is stopped for the sake of one that was submitted after it, never the other way
round, so two runs cannot stop each other's. Of two operators at once, the one who submitted last goes on, and the other
gives way. A job that was given up (`golden-failed`) is out of this contest and replaces nothing.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterable
from typing import Any

from .errors import GoldenJobsError

#: States that never change again.
FINAL_STATES = ("SUCCEEDED", "FAILED", "STOPPED")
#: Every Golden Job's name begins so: the keyword of the one search per cluster.
NAME_PREFIX = "golden-"
#: `golden-job:<course>` marks a Golden Job of that course.
TAG_JOB = "golden-job:"
#: The one that students' environments are cloned from.
TAG_CURRENT = "golden-current"
#: `golden-by:<who>`: who submitted it.
TAG_BY = "golden-by:"
#: `golden-digest:sha256:<64 hex>`: the registry's digest of its image when it was submitted.
TAG_DIGEST = "golden-digest:"
#: `golden-promoted:<epoch s>`: it has answered twice and became current then; stays when it is retired.
TAG_PROMOTED = "golden-promoted:"
#: `golden-failed:<reason>`: it was undone.
TAG_FAILED = "golden-failed:"
#: `golden-bad:<who>:<epoch s>`: its revision must not come back, until somebody forces it.
TAG_BAD = "golden-bad"
#: `golden-back-from:<revision>`: it was made by a rollback from that revision.
TAG_BACK = "golden-back-from:"
#: `golden-hold:<scope>:<who>:<epoch s>:<reason>`: no rollout until it is lifted; the scope is a course or `*` for the cluster.
TAG_HOLD = "golden-hold:"
#: OpenPAI's limit for a tag.
TAG_LIMIT = 512

COURSE_NAME = re.compile(r"[A-Za-z0-9_-]{1,200}")
_NAME = re.compile(r"golden-(?P<course>[A-Za-z0-9_-]+)-(?P<revision>[0-9a-f]{8})-(?P<n>[1-9][0-9]*)")


def job_name(course: str, revision: str, n: int) -> str:
    """`golden-<course>-<revision>-<n>`; GoldenJobsError for a course that OpenPAI could not carry in a name."""
    check_course(course)
    return f"{NAME_PREFIX}{course}-{revision}-{n}"


def check_course(course: str) -> None:
    """Raise GoldenJobsError for a course that OpenPAI could not carry in a name."""
    if not COURSE_NAME.fullmatch(course):
        raise GoldenJobsError(f"The course name {course!r} cannot be part of a job name; allowed: 1 to 200 of A-Z a-z 0-9 _ and -.")


def parse_name(name: str) -> dict[str, Any] | None:
    """`{course, revision, n}`, or None for any other job."""
    match = _NAME.fullmatch(name)
    return {"course": match["course"], "revision": match["revision"], "n": int(match["n"])} if match else None


def course_tags(course: str) -> list[str]:
    """The tags that every Golden Job of the course has."""
    return [TAG_JOB + course]


def encode(text: str) -> str:
    """Free text as part of a tag, which may have no comma; `:` separates the parts."""
    return urllib.parse.quote(text, safe=" /.@+-_()'!?;=")


def decode(text: str) -> str:
    """The text that `encode` was given."""
    return urllib.parse.unquote(text)


def tag_value(job: dict[str, Any], prefix: str) -> str | None:
    """What follows `prefix` in the job's first such tag, decoded; None without one."""
    return next((decode(tag[len(prefix) :]) for tag in job.get("tags") or [] if tag.startswith(prefix)), None)


def submit_tags(course: str, who: str, digest: str = "", back_from: str = "") -> list[str]:
    """The tags that a Golden Job gets right after its submission."""
    tags = [*course_tags(course), TAG_BY + encode(who)]
    return [*tags, *([TAG_DIGEST + digest] if digest else []), *([TAG_BACK + back_from] if back_from else [])]


def failed_tag(reason: str) -> str:
    """The tag of a Golden Job that did not take over; the reason is cut to what a tag can hold."""
    while len(TAG_FAILED + encode(reason)) > TAG_LIMIT:
        reason = reason[:-10]
    return TAG_FAILED + encode(reason)


def bad_tag(who: str, now_s: float) -> str:
    """The tag of every job of a revision that must not come back."""
    return f"{TAG_BAD}:{encode(who)}:{int(now_s)}"


def is_bad_tag(tag: str) -> bool:
    """Does `bad_tag` make such a tag?"""
    return tag.startswith(TAG_BAD + ":")


def hold_tag(scope: str, who: str, now_s: float, reason: str) -> str:
    """The tag that holds a course, or with `*` every course, on the cluster whose Golden Jobs carry it."""
    tag = f"{TAG_HOLD}{scope}:{encode(who)}:{int(now_s)}:{encode(reason)}"
    if len(tag) > TAG_LIMIT:
        raise GoldenJobsError(f"The reason of a hold is too long for a tag of OpenPAI ({len(tag)} of {TAG_LIMIT} characters); shorten it.")
    return tag


def read_hold(tag: str) -> dict[str, Any] | None:
    """`{scope, by, at_s, reason, tag}` of a tag that `hold_tag` made, None for any other."""
    parts = tag.split(":", 4)
    if not tag.startswith(TAG_HOLD) or len(parts) != 5 or not parts[3].isdigit():
        return None
    return {"scope": parts[1], "by": decode(parts[2]), "at_s": int(parts[3]), "reason": decode(parts[4]), "tag": tag}


def hold_of(course: str, jobs: Iterable[dict[str, Any]], user: str | None = None) -> dict[str, Any] | None:
    """The newest hold that is in force for the course, of its own or of the whole cluster: `{scope, by, at_s, reason, tag}`."""
    found = [
        hold
        for job in jobs
        if user is None or job.get("username", user) == user
        for hold in map(read_hold, job.get("tags") or [])
        if hold and hold["scope"] in (course, "*")
    ]
    return max(found, key=lambda hold: hold["at_s"], default=None)


def is_final(job: dict[str, Any]) -> bool:
    """Has the job ended for good?"""
    return job["state"] in FINAL_STATES


def is_active(job: dict[str, Any]) -> bool:
    """Does the job run, or will it, with nobody having asked it to stop?"""
    return not is_final(job) and job["state"] != "STOPPING" and job.get("executionType") != "STOP"


def is_given_up(job: dict[str, Any]) -> bool:
    """Was it undone, or is it about to be?"""
    return any(tag.startswith(TAG_FAILED) for tag in job.get("tags") or [])


def was_current(job: dict[str, Any]) -> bool:
    """Has it ever been the current one? One that was adopted carries no time of its promotion."""
    return any(tag == TAG_CURRENT or tag.startswith(TAG_PROMOTED) for tag in job.get("tags") or [])


def jobs_of(course: str, jobs: Iterable[dict[str, Any]], user: str | None = None) -> list[dict[str, Any]]:
    """The user's Golden Jobs of exactly this course, newest first (the server's own search is a substring search)."""
    mine = [
        job
        for job in jobs
        if (user is None or job.get("username", user) == user)
        and ((parse_name(job["name"]) or {}).get("course") == course or TAG_JOB + course in (job.get("tags") or []))
    ]
    return sorted(mine, key=age_key, reverse=True)


def age_key(job: dict[str, Any]) -> tuple[int, int, str]:
    """Sorts jobs by when they were submitted; the same for everybody who asks."""
    return job.get("submissionTime") or job.get("createdTime") or 0, (parse_name(job["name"]) or {"n": 0})["n"], job["name"]


def history(course: str, jobs: Iterable[dict[str, Any]], user: str | None = None) -> list[dict[str, Any]]:
    """What the cluster remembers of a course, newest first.

    Each `{name, revision, n, state, active, current, promoted_s, bad, failed, by, submitted_ms, completed_ms, digest, back_from, tags}`:
    `revision` and `n` are null for a job that has another name, `promoted_s` for one that never was current,
    `failed` (the reason) for one that was not undone.
    """
    mine = jobs_of(course, jobs, user)
    current = current_job(course, mine)
    return [_remembered(job, current) for job in mine]


def _remembered(job: dict[str, Any], current: dict[str, Any] | None) -> dict[str, Any]:
    parsed = parse_name(job["name"]) or {"revision": None, "n": None}
    tags = job.get("tags") or []
    promoted = [float(tag[len(TAG_PROMOTED) :]) for tag in tags if re.fullmatch(TAG_PROMOTED + r"[0-9]+", tag)]
    return {
        "name": job["name"],
        "revision": parsed["revision"],
        "n": parsed["n"],
        "state": job["state"],
        "active": is_active(job),
        "current": job is current,
        "promoted_s": max(promoted, default=None),
        "bad": any(map(is_bad_tag, tags)),
        "failed": tag_value(job, TAG_FAILED),
        "by": tag_value(job, TAG_BY),
        "submitted_ms": job.get("submissionTime") or job.get("createdTime"),
        "completed_ms": job.get("completedTime"),
        "digest": tag_value(job, TAG_DIGEST),
        "back_from": tag_value(job, TAG_BACK),
        "tags": list(tags),
    }


def bad_revisions(course: str, jobs: Iterable[dict[str, Any]], user: str | None = None) -> set[str]:
    """Revisions of the course that were left by a rollback and must not come back."""
    return {item["revision"] for item in history(course, jobs, user) if item["bad"] and item["revision"]}


def previous(course: str, jobs: Iterable[dict[str, Any]], user: str | None = None) -> dict[str, Any] | None:
    """The entry of the history that a rollback goes to: the newest that was current once, was not given up after all, and is of
    another revision that is not bad."""
    jobs = list(jobs)
    known = history(course, jobs, user)
    bad = {item["revision"] for item in known if item["bad"]}
    here = next((item["revision"] for item in known if item["current"]), None)
    here = here or next((item["revision"] for item in known if item["promoted_s"]), None)
    proven = [
        item for item in known if item["promoted_s"] and not item["failed"] and item["revision"] and item["revision"] not in bad | {here}
    ]
    return max(proven, key=lambda item: item["promoted_s"], default=None)


def newer_rival(course: str, jobs: Iterable[dict[str, Any]], name: str, user: str | None = None) -> dict[str, Any] | None:
    """The newest Golden Job that was submitted after the job `name` and goes on: that of another run, which replaces ours."""
    mine = jobs_of(course, jobs, user)
    ours = next((job for job in mine if job["name"] == name), None)
    newest = _newest(mine)
    return newest if ours is not None and newest is not None and age_key(newest) > age_key(ours) else None


def to_retire(course: str, jobs: Iterable[dict[str, Any]], name: str, user: str | None = None) -> list[str]:
    """Once `name` is current: the active jobs that were submitted before it or were given up, and ended ones that still carry
    the tag; the one that was current before as the last.

    What somebody has submitted after it is the business of that run.
    """
    mine = jobs_of(course, jobs, user)
    ours = next((job for job in mine if job["name"] == name), None)
    going = [
        job
        for job in mine
        if job is not ours
        and (
            (is_active(job) and (is_given_up(job) or (ours is not None and age_key(job) < age_key(ours))))
            or (not is_active(job) and TAG_CURRENT in (job.get("tags") or []))
        )
    ]
    return [job["name"] for job in sorted(going, key=lambda job: TAG_CURRENT in (job.get("tags") or []))]


def contender(course: str, jobs: Iterable[dict[str, Any]], user: str | None = None) -> dict[str, Any] | None:
    """The job that is the current one in the end if it proves healthy, or is it already; None when none is on its way."""
    return _newest(jobs_of(course, jobs, user))


def _newest(mine: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The active job that was submitted last and was not given up: the one that is current in the end."""
    return next((job for job in mine if is_active(job) and not is_given_up(job)), None)


def current_job(course: str, jobs: Iterable[dict[str, Any]], user: str | None = None) -> dict[str, Any] | None:
    """The Golden Job that answers for the course: active, tagged current, and the newest of these."""
    return next((job for job in jobs_of(course, jobs, user) if is_active(job) and TAG_CURRENT in (job.get("tags") or [])), None)


def plan(
    course: str,
    jobs: Iterable[dict[str, Any]],
    revision: str,
    user: str | None = None,
    *,
    digest: str = "",
    strange: Iterable[str] = (),
    force: bool = False,
    hold: str = "",
) -> dict[str, Any]:
    """What brings the course to `revision` on a cluster with these jobs (items of a job listing, any state).

    `digest`: what the registry says of the image now; a Golden Job that was made from another one under the same tag is
    replaced, and so is one of `strange`, names of jobs that do not run what their name says. `force`: a revision that is
    marked bad may come back. `hold`: the inventory's own reason to leave the course alone.

    Returns `{action, course, revision, name, url, candidate, promoted, live, retire, demote, tags, reason}`:

    - `action`: `none` (the wanted job is current, runs, and is alone), `submit` (a job `name` has to be made),
      `resume` (the job `name` exists and an earlier run did not bring it to its end), `held` or `refused` (nothing may be done);
    - `name`: the Golden Job that shall be current afterwards; `candidate`: the same while it has yet to get there, else null;
    - `url`: where `name` answers now, null while it does not run (needs jobs listed with detail);
    - `promoted`: the candidate is current already. It then never is to be stopped: nothing else may be left;
    - `live`: name of the job that is current now, if it is another one: the one that stays when the candidate fails;
    - `retire`: names of the other active Golden Jobs, to be stopped at the end, the live one last;
    - `demote`: names of ended jobs that still carry the tag of the current one;
    - `tags`: what the Golden Job of `name` is tagged with at once; `reason`: one line for people.
    """
    jobs = list(jobs)
    mine = jobs_of(course, jobs, user)
    active = [job for job in mine if is_active(job)]
    current = current_job(course, mine)
    chosen = _chosen(mine, revision, digest, set(strange))
    if chosen:
        name = chosen["name"]
    else:
        used = [parsed["n"] for job in mine if (parsed := parse_name(job["name"])) and parsed["revision"] == revision]
        name = job_name(course, revision, max(used, default=0) + 1)
    others = [job for job in active if job["name"] != name]
    promoted = chosen is not None and chosen is current
    live = None if promoted else current
    result = {
        "course": course,
        "revision": revision,
        "name": name,
        "url": task_url(chosen.get("tasks") or []) if chosen else None,
        "promoted": promoted,
        "live": live["name"] if live else None,
        "retire": [job["name"] for job in sorted(others, key=lambda job: job is live)],
        "demote": [job["name"] for job in mine if not is_active(job) and TAG_CURRENT in (job.get("tags") or [])],
        "tags": course_tags(course),
    }
    held = {"by": "the inventory", "reason": hold} if hold else hold_of(course, jobs, user)
    if promoted and chosen and _is_settled(chosen, course) and not others and not result["demote"]:
        result["action"], result["reason"] = "none", f"{name} is current"
    elif held:
        result["action"], result["reason"] = "held", f"held by {held['by']}: {held['reason']}"
    elif revision in bad_revisions(course, mine) and not force:
        result["action"] = "refused"
        result["reason"] = f"revision {revision} is marked bad here; roll out another image, or force it with -e rollout_force=true"
    elif chosen is None:
        result["action"], result["reason"] = "submit", f"submit {name} {_why(mine, live, revision, digest, set(strange))}"
    else:
        by = tag_value(chosen, TAG_BY)
        result["action"] = "resume"
        result["reason"] = f"complete what {'a run of ' + by if by else 'an earlier run'} began with {name}"
    result["candidate"] = name if result["action"] in ("submit", "resume") else None
    return result


def plan_back(
    course: str, jobs: Iterable[dict[str, Any]], revision: str = "", user: str | None = None, *, force: bool = False, hold: str = ""
) -> dict[str, Any]:
    """What brings the course back to an earlier revision, the previous one without a name: a `plan` with three keys more.

    `source`: name of the job whose own config is submitted again; `bad`: the revision that is left, empty when there is none;
    `stays`: an earlier rollback has brought the course here.
    A course that a rollback has brought back already is left there until a revision is named: twice the same command is
    not two steps back.
    """
    jobs = list(jobs)
    known = history(course, jobs, user)
    here = next((item for item in known if item["current"]), None) or next((item for item in known if item["promoted_s"]), None)
    proven = sorted((item for item in known if item["promoted_s"] and item["revision"]), key=lambda item: -item["promoted_s"])
    if revision:
        target = revision
        problem = "" if revision in {item["revision"] for item in proven} else f"revision {revision} never was current here"
    elif here and here["current"] and here["back_from"]:
        target, problem = here["revision"], ""
    else:
        before = previous(course, jobs, user)
        target = before["revision"] if before else ""
        problem = "" if before else "no earlier revision that was current and is not bad"
    if problem:
        revisions = ", ".join(dict.fromkeys(item["revision"] for item in proven)) or "none"
        return {
            **dict.fromkeys(("name", "url", "candidate", "live", "source")),
            **{"course": course, "revision": target, "promoted": False, "retire": [], "demote": [], "tags": [], "bad": ""},
            "action": "refused",
            "reason": f"{problem}; known: {revisions}",
        }
    planned = plan(course, jobs, target, user, force=force, hold=hold)
    stays = not revision and planned["action"] == "none"
    if stays and here:
        planned["reason"] = (
            f"stays at {here['name']}, to which a rollback has brought it from revision {here['back_from']}; -e revision=… names another"
        )
    return {
        **planned,
        "stays": stays,
        "source": next(item["name"] for item in proven if item["revision"] == target),
        "bad": here["revision"] if here and here["revision"] and here["revision"] != target else "",
    }


def _chosen(mine: list[dict[str, Any]], revision: str, digest: str, strange: set[str]) -> dict[str, Any] | None:
    """The active job that may become or stay the current one, None when another one has to be made.

    It is the newest or none: an older one would have to stop one that was submitted after it.
    """
    newest = _newest(mine)
    if newest is None or newest["name"] in strange or (parse_name(newest["name"]) or {}).get("revision") != revision:
        return None
    return None if digest and tag_value(newest, TAG_DIGEST) not in (None, digest) else newest


def _why(mine: list[dict[str, Any]], live: dict[str, Any] | None, revision: str, digest: str, strange: set[str]) -> str:
    """Why a job has to be made, for people."""
    ended = next((job for job in mine if not is_active(job) and TAG_CURRENT in (job.get("tags") or [])), None)
    if live is None:
        if ended:
            return f"as {ended['name']}, the current one, has ended (revision {revision})"
        return f"{'as none is current' if mine else 'as the first one'} (revision {revision})"
    if (parse_name(live["name"]) or {}).get("revision") != revision:
        return f"instead of {live['name']} (revision {revision})"
    if live["name"] in strange:
        return f"instead of {live['name']} (it does not run what its name says)"
    if digest and tag_value(live, TAG_DIGEST) not in (None, digest):
        return f"instead of {live['name']} (the registry has another image under its tag now)"
    return f"instead of {live['name']} (the same revision, as {(_newest(mine) or live)['name']} was submitted after it)"


def _is_settled(job: dict[str, Any], course: str) -> bool:
    return job["state"] == "RUNNING" and TAG_JOB + course in (job.get("tags") or [])


def task_url(tasks: Iterable[dict[str, Any]], label: str = "http") -> str | None:
    """The address of the first running task that has a port of this label, or None."""
    return next((task["urls"][label] for task in tasks if task["state"] == "RUNNING" and label in task["urls"]), None)


def age(since_ms: int | None, now_s: float) -> str:
    """`12 s`, `5 min`, `3 h` or `4 d`; `-` without a time."""
    if not since_ms:
        return "-"
    seconds = max(0, int(now_s - since_ms / 1000))
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def table(rows: list[list[Any]], head: list[str]) -> list[str]:
    """Lines of a plain text table, columns as wide as their longest cell; an empty cell is `-`."""
    cells = [head, *[["-" if value in (None, "") else str(value) for value in row] for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in cells]
