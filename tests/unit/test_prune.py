"""What prune.yml keeps and what it lets go, of images and of Golden Jobs that interrupted runs have left."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.golden_jobs import prune
from ansible.module_utils.golden_jobs.golden_job import TAG_CURRENT

REPOSITORY = "reg.example:5000/lab/course"
OLD, NEW, OTHER = "aaaaaaaa", "bbbbbbbb", "cccccccc"


def tag(number: int) -> str:
    return f"v1-{number:012x}"


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def found(*numbers: int, **more: str) -> dict[str, Any]:
    """A registry with these images, made in this order; `more`: further tags and their digests."""
    images = {digest(number): {"created": f"2026-01-{number:02d}T00:00:00Z", "size_bytes": 1, "labels": {}} for number in numbers}
    return {"tags": {**{tag(number): digest(number) for number in numbers}, **more}, "images": images}


def kept(registry: dict[str, Any], used: list[str], newest: int = 1) -> dict[str, str]:
    return {row["tag"]: row["keep"] for row in prune.choose(REPOSITORY, registry, used, newest)}


def test_the_newest_the_used_and_what_a_moving_tag_names_stay():
    registry = found(1, 2, 3, 4, 5, v1=digest(3))
    assert kept(registry, [f"{REPOSITORY}:{tag(1)}"]) == {
        tag(5): "one of the newest 1",
        tag(4): "",
        tag(3): "v1 names it",
        tag(2): "",
        tag(1): "live or needed for a rollback",
    }


@pytest.mark.parametrize(
    "reference",
    [
        f"mirror.example/lab/course:{tag(1)}",  # a mirror has the same path and tag
        f"lab/course:{tag(1)}",
        f"{REPOSITORY}@{digest(1)}",
        f"{REPOSITORY}:{tag(1)}@{digest(1)}",
    ],
)
def test_a_used_image_is_known_however_a_job_names_it(reference: str):
    assert kept(found(1, 2, 3), [reference])[tag(1)] == "live or needed for a rollback"


def test_the_same_tag_of_another_repository_keeps_nothing():
    assert kept(found(1, 2, 3), [f"reg.example:5000/lab/other:{tag(1)}"])[tag(1)] == ""


def test_a_digest_that_a_kept_tag_names_is_kept_as_the_registry_deletes_digests():
    registry = found(1, 2, 3)
    registry["tags"]["v1-aaaaaaaaaaaa"] = digest(1)
    assert kept(registry, [f"{REPOSITORY}:{tag(1)}"])["v1-aaaaaaaaaaaa"] == f"the same image as {tag(1)}"


def test_tags_that_are_not_immutable_are_never_chosen():
    assert set(kept(found(1, latest=digest(1), v2="sha256:" + "f" * 64), [])) == {tag(1)}


def test_an_engine_keeps_what_is_kept_what_is_young_and_what_is_not_ours():
    def image(number: int, name: str = REPOSITORY, made_s: int = 100) -> dict[str, Any]:
        return {"Id": digest(number), "Created": made_s, "RepoTags": [f"{name}:{tag(number)}"], "Size": 7}

    images = [image(1), image(2), image(3, made_s=900), image(4, "reg.example:5000/lab/other"), {"Id": "x", "Created": 1, "RepoTags": None}]
    chosen = prune.engine_tags(images, [REPOSITORY], [f"{REPOSITORY}:{tag(2)}"], made_before_s=500)
    assert chosen == [{"reference": f"{REPOSITORY}:{tag(1)}", "id": digest(1), "size_bytes": 7}]


def job(revision: str, *tags: str, at_s: int = 1, state: str = "RUNNING", execution: str = "START") -> dict[str, Any]:
    base = {"name": f"golden-OOB3-{revision}-1", "state": state, "executionType": execution, "username": "op"}
    return {**base, "tags": ["golden-job:OOB3", *tags], "submissionTime": at_s * 1000}


LIVE = job(NEW, TAG_CURRENT, "golden-promoted:5", at_s=5)


def left(*jobs: dict[str, Any], now_s: float = 1000.0, idle_s: float = 100.0) -> list[tuple[str, bool, bool]]:
    return [(one["name"], one["stop"], one["untag"]) for one in prune.leftovers("OOB3", jobs, "op", now_s, idle_s)]


def test_what_never_took_over_is_stopped_and_what_has_ended_loses_the_tag():
    assert left(LIVE, job(OTHER)) == [(f"golden-OOB3-{OTHER}-1", True, False)]
    assert left(LIVE, job(OLD, TAG_CURRENT, state="STOPPED", execution="STOP")) == [(f"golden-OOB3-{OLD}-1", False, True)]


@pytest.mark.parametrize(
    "jobs",
    [
        [LIVE],
        [job(OTHER)],  # nothing else is live
        [LIVE, job(OTHER, at_s=950)],  # a rollout may be at work on it
        [LIVE, job(OTHER, TAG_CURRENT)],  # drift is for a rollout to repair
        [LIVE, {**job(OTHER), "username": "mallory"}],
        [LIVE, {**job(OTHER), "name": "by-hand"}],
        [LIVE, job(OLD, state="STOPPED", execution="STOP")],
    ],
)
def test_whatever_may_still_be_needed_is_no_leftover(jobs: list[dict[str, Any]]):
    assert left(*jobs) == []


def test_a_rollback_needs_the_live_one_and_the_last_promoted_revisions():
    past = [job(f"{number:08x}", f"golden-promoted:{number}", at_s=number, state="STOPPED", execution="STOP") for number in range(1, 5)]
    never = job(OTHER, at_s=9, state="FAILED")
    assert prune.rollback_names("OOB3", [*past, never], "op", 2) == [f"golden-OOB3-{number:08x}-1" for number in (4, 3, 2)]
