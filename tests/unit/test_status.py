"""How a course stands on a cluster, for everything that people and clusters do to it."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from ansible.module_utils.golden_jobs import cluster_status, golden_job, status
from ansible.module_utils.golden_jobs.golden_job import TAG_CURRENT

OLD, NEW = "aaaaaaaa", "bbbbbbbb"
DIGEST, OTHER = "sha256:" + "1" * 64, "sha256:" + "2" * 64
REPOSITORY = "reg.example/ai-edu"
TAG = "v1.0-0123456789ab"
PLAIN = ["golden-job:OOB3", "golden-by:alice@desk", f"golden-digest:{DIGEST}"]
PROMOTED = [*PLAIN, "golden-promoted:1700000000"]
CURRENT = [*PROMOTED, TAG_CURRENT]
CONFIG = {"name": "any", "prerequisites": [{"type": "dockerimage", "uri": f"{REPOSITORY}:{TAG}"}], "secrets": "******"}
WANTED = {
    "revision": NEW,
    "job": {**CONFIG, "name": "template", "secrets": {"a": "b"}},
    "repository": REPOSITORY,
    "tags": {TAG: DIGEST, "v1.0": DIGEST},
}


def job(
    name: str = f"golden-OOB3-{NEW}-1", tags: list[str] | None = None, state: str = "RUNNING", at: int = 1, **more: Any
) -> dict[str, Any]:
    tasks = [{"state": "RUNNING", "urls": {"http": "http://10.0.0.1:8000"}}]
    base = {"name": name, "tags": CURRENT if tags is None else tags, "state": state, "submissionTime": at * 1000, "executionType": "START"}
    return {**base, "username": "op", "tasks": tasks, "config": CONFIG, **more}


def old(**more: Any) -> dict[str, Any]:
    return job(name=f"golden-OOB3-{OLD}-1", **more)


def stands(*jobs: dict[str, Any], hold: str = "", **wanted: Any) -> tuple[str, str]:
    row = status.assess("OOB3", "pai-a", jobs, "op", {**WANTED, **wanted}, hold)
    return row["state"], row["reason"]


def test_the_wanted_revision_alone_is_current_with_address_image_and_who():
    row = status.assess("OOB3", "pai-a", [job(), old(tags=PROMOTED, state="STOPPED", at=0)], "op", WANTED)
    assert (row["state"], row["reason"], row["url"], row["tag"]) == ("current", "", "http://10.0.0.1:8000", TAG)
    assert (row["name"], row["revision"], row["by"], row["since_ms"]) == (f"golden-OOB3-{NEW}-1", NEW, "alice@desk", 1000)
    assert [entry["name"] for entry in row["history"]] == [f"golden-OOB3-{NEW}-1", f"golden-OOB3-{OLD}-1"]


@pytest.mark.parametrize(
    ("jobs", "state", "words"),
    [
        ([], "missing", "no Golden Job yet"),
        ([job(tags=PLAIN)], "missing", "has not taken over yet"),
        ([old()], "outdated", f"revision {NEW} is not here yet"),
        ([old(), job(tags=PLAIN, at=2)], "outdated", "has not taken over yet"),
        ([job(at=2), old(tags=PROMOTED)], "outdated", "is left beside it"),
        # by hand
        ([job(state="STOPPED", executionType="STOP")], "drifted", "was stopped by hand"),
        ([job(executionType="STOP")], "drifted", "was stopped by hand"),
        ([job(tags=PROMOTED)], "drifted", f"the tag {TAG_CURRENT} was taken"),
        ([job(tags=[TAG_CURRENT])], "drifted", "the tag golden-job:OOB3 was taken"),
        ([job(tags=PROMOTED, state="STOPPED", executionType="STOP")], "drifted", "no Golden Job is tagged as current"),
        ([job(), old()], "drifted", "are both tagged as current"),
        ([job(name="my-own"), old(tags=PROMOTED, state="STOPPED")], "drifted", "was put in the place of a Golden Job"),
        ([job(config={**CONFIG, "jobRetryCount": 3})], "drifted", "does not run what its name says"),
        # by itself
        ([job(state="FAILED")], "failed", "ended as FAILED"),
        ([job(state="SUCCEEDED")], "failed", "ended as SUCCEEDED"),
        ([job(state="WAITING")], "failed", "is WAITING"),
        ([job(tags=[*PLAIN, "golden-failed:HTTP 500"], state="STOPPED")], "failed", "did not take over: HTTP 500"),
        # made before this project
        ([job(name="my-own")], "outdated", "made by hand and adopted"),
    ],
)
def test_every_state_has_its_reason(jobs: list[dict[str, Any]], state: str, words: str):
    found, reason = stands(*jobs)
    assert found == state
    assert words in reason


def test_a_tag_that_moved_in_the_registry_is_drift():
    assert stands(job(), tags={TAG: OTHER})[0] == "drifted"
    assert "moved" in stands(job(), tags={TAG: OTHER})[1]
    assert "no reg.example/ai-edu:v1.0-0123456789ab any more" in stands(job(), tags={})[1]
    assert stands(old(), tags={TAG: OTHER})[0] == "drifted"


def test_a_registry_that_cannot_be_asked_is_said_and_no_drift():
    assert stands(job(), revision=None, tags=None, problem="no answer") == ("current", "not compared: no answer")


def test_a_course_without_an_image_says_what_to_do_first():
    assert stands(revision=None, problem="no image yet; build it") == ("missing", "no Golden Job yet; no image yet; build it")


def test_an_image_of_a_mirror_is_not_compared_with_the_registry():
    config = {**CONFIG, "prerequisites": [{"type": "dockerimage", "uri": f"mirror.example/ai-edu:{TAG}"}]}
    assert stands(job(config=config), job=config, tags={})[0] == "current"


def test_a_hold_is_shown_with_who_and_why_unless_something_is_wrong():
    hold = golden_job.hold_tag("OOB3", "bob@desk", 1_700_000_000, "exam, until Friday")
    assert stands(job(tags=[*CURRENT, hold])) == ("held", "held by bob@desk: exam, until Friday")
    assert stands(old(tags=[*CURRENT, hold]))[0] == "held"
    assert f"revision {NEW} is not here yet" in stands(old(tags=[*CURRENT, hold]))[1]
    assert stands(job(tags=[*CURRENT, hold], state="STOPPED"))[0] == "drifted"
    assert stands(job(), hold="move of the machine room")[0] == "held"


def test_a_revision_that_is_marked_bad_keeps_the_one_that_is_live():
    bad = job(tags=[*PROMOTED, "golden-bad:bob:1700000000"], state="STOPPED", executionType="STOP")
    assert stands(old(at=2), bad)[0] == "held"
    assert f"revision {NEW} is marked bad here" in stands(old(at=2), bad)[1]


def test_jobs_of_others_and_of_other_courses_do_not_count():
    assert stands(job(username="mallory"), job(name=f"golden-OOB3x-{NEW}-1", tags=[TAG_CURRENT]))[0] == "missing"


def test_the_terminal_says_each_reason_once_and_the_sum():
    rows = [
        status.assess("OOB3", "pai-a", [job()], "op", WANTED),
        status.assess("OOB3", "pai-b", [old()], "op", WANTED),
        *(status.unreachable(course, "pai-c", "Connection refused.") for course in ("OOB3", "OOB4")),
    ]
    lines = status.table(rows, now_s=61.0)
    assert lines[0].split() == ["COURSE", "CLUSTER", "STATE", "REVISION", "IMAGE", "TAG", "AGE", "URL"]
    assert lines[1].split() == ["OOB3", "pai-a", "current", NEW, TAG, "1", "min", "http://10.0.0.1:8000"]
    assert f"  OOB3 on pai-b: outdated: revision {NEW} is not here yet" in lines
    assert [line for line in lines if "pai-c: unreachable" in line] == ["  pai-c: unreachable: Connection refused."]
    assert lines[-1] == "1 current, 1 outdated, 2 unreachable"


def test_the_terminal_names_some_of_many_clusters_with_the_same_reason():
    rows = [status.assess(course, f"pai-{number}", [], "op", WANTED) for course in ("OOB3", "OOB4") for number in range(1, 10)]
    named = "pai-1, pai-2, pai-3, pai-4, pai-5, pai-6 and 3 more"
    assert f"  OOB3 on {named}; OOB4 on {named}: missing: no Golden Job yet" in status.table(rows, now_s=1.0)


@pytest.mark.parametrize("login", [{"token": "t0ken"}, {"username": "op", "password": "a-password"}])
def test_a_cluster_that_hangs_is_waited_for_once(monkeypatch: pytest.MonkeyPatch, login: dict[str, str]):
    monkeypatch.setattr(cluster_status, "TIMEOUT_S", 0.4)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # connects, and says nothing
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        found = cluster_status.cluster_rows("pai-a", {"address": address, **login}, [{"name": "OOB3"}], {}, "", lambda _template: {})
    assert found["problem"] == f"The cluster {address} did not answer within 0.4 s."
    assert [(row["state"], row["reason"]) for row in found["rows"]] == [("unreachable", found["problem"])]
    assert found["seconds"] < 1.2
