"""What may be deleted: old images and leftovers of Golden Jobs. Pure; nothing is deleted that might be live.

Kept are: what runs on any cluster, what a rollback may need (the newest promoted revisions of each cluster), the newest images
of each course, whatever the moving tag names, and every tag that is not immutable.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from . import golden_job, registry_api


def rollback_names(course: str, jobs: Iterable[dict[str, Any]], user: str | None, depth: int) -> list[str]:
    """Golden Jobs whose images a rollback may need: the newest `depth` promoted revisions beside the live one, bad ones too."""
    past = golden_job.history(course, jobs, user)
    names: dict[str, str] = {}
    for entry in sorted((one for one in past if one["promoted_s"]), key=lambda one: one["promoted_s"], reverse=True):
        names.setdefault(str(entry["revision"] or entry["name"]), entry["name"])
    return list(names.values())[: depth + 1]


def leftovers(course: str, jobs: Iterable[dict[str, Any]], user: str | None, now_s: float, idle_s: float) -> list[dict[str, Any]]:
    """`{name, why, stop, untag}`: what interrupted runs have left of a course, only where another Golden Job is live.

    `stop`: an active one that never took over, submitted longer than `idle_s` ago. `untag`: an ended one that is still tagged as
    current.
    """
    mine = golden_job.jobs_of(course, jobs, user)
    live = golden_job.current_job(course, mine, user)
    found = []
    for job in mine:
        tags = job.get("tags") or []
        if live is None or job is live or golden_job.parse_name(job["name"]) is None:
            continue
        if not golden_job.is_active(job):
            if golden_job.TAG_CURRENT in tags:
                found.append({"name": job["name"], "why": "has ended and is still tagged as current", "stop": False, "untag": True})
        elif golden_job.TAG_CURRENT not in tags and now_s - (job.get("submissionTime") or now_s * 1000) / 1000 > idle_s:
            found.append({"name": job["name"], "why": "runs beside the live one and never took over", "stop": True, "untag": False})
    return found


def choose(repository: str, found: Mapping[str, Any], used: Iterable[str], newest: int) -> list[dict[str, Any]]:
    """What happens to each immutable tag of a repository: `{repository, tag, digest, created, size_bytes, keep}`, newest first.

    `repository`: with the registry's address. `found`: as `registry_api.images_of` describes it. `used`: image references that
    are live or that a rollback may need, by whatever registry (a mirror has the same path and tag). `keep`: why it is kept,
    empty for what may be deleted. A registry deletes digests: one that any kept tag names is kept.
    """
    tags, images = found["tags"], found["images"]
    path = repository.partition("/")[2]
    needed = {reference.rpartition(":")[2] for reference in used if _path(reference) == path}
    digests_needed = {reference.rpartition("@")[2] for reference in used if "@" in reference}
    mine = sorted(registry_api.immutable(tags).items(), key=lambda item: (images[item[1]]["created"], item[0]), reverse=True)
    rows = []
    for place, (tag, digest) in enumerate(mine):
        moving = next((name for name, named in tags.items() if named == digest and not registry_api.IMMUTABLE_TAG.fullmatch(name)), None)
        keep = ""
        if tag in needed or digest in digests_needed:
            keep = "live or needed for a rollback"
        elif moving:
            keep = f"{moving} names it"
        elif place < newest:
            keep = f"one of the newest {newest}"
        row = {"repository": repository, "tag": tag, "digest": digest, "keep": keep}
        rows.append({**row, "created": images[digest]["created"], "size_bytes": images[digest]["size_bytes"]})
    kept = {row["digest"]: row["tag"] for row in rows if row["keep"]}
    for row in rows:
        if not row["keep"] and row["digest"] in kept:
            row["keep"] = f"the same image as {kept[row['digest']]}"
    return rows


def _path(reference: str) -> str:
    """`a/b` of `host:5000/a/b:tag`."""
    name = reference.partition("@")[0]
    first, slash, rest = name.partition("/")
    name = rest if slash and ("." in first or ":" in first or first == "localhost") else name
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def engine_tags(
    images: Iterable[Mapping[str, Any]], repositories: Iterable[str], keep: Iterable[str], made_before_s: float
) -> list[dict[str, Any]]:
    """`{reference, id, size_bytes}` of an engine's images (its listing) that may go: old immutable tags of these repositories that are
    not in `keep`. One that was made after `made_before_s` may be on its way to the registry.
    """
    mine, kept = set(repositories), set(keep)
    found = []
    for image in images:
        if image["Created"] >= made_before_s:
            continue
        for reference in image.get("RepoTags") or []:
            repository, _colon, tag = reference.rpartition(":")
            if repository in mine and registry_api.IMMUTABLE_TAG.fullmatch(tag) and reference not in kept:
                found.append({"reference": reference, "id": image["Id"], "size_bytes": int(image.get("Size") or 0)})
    return sorted(found, key=lambda one: one["reference"])


def lines(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """For people: what is kept and why, what goes."""
    cells = [
        [
            "keep" if row["keep"] else "delete",
            f"{row['repository']}:{row['tag']}",
            row["created"][:16],
            f"{row['size_bytes'] / 1e6:.0f} MB",
            row["keep"],
        ]
        for row in rows
    ]
    return golden_job.table(cells, ["", "IMAGE", "MADE", "SIZE", "WHY"]) if cells else ["no images"]
