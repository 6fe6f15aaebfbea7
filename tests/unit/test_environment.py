"""Which job is a student's environment, and what the next one is called."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.golden_jobs import environment
from ansible.module_utils.golden_jobs.errors import GoldenJobsError

GOLDEN = {"name": "golden-OOB3-0123abcd-1"}


def job(name: str, state: str = "RUNNING", execution: str = "START") -> dict[str, Any]:
    return {"name": name, "state": state, "executionType": execution}


def plan(*jobs: dict[str, Any], course: str = "OOB3", student: str = "alice", golden: dict[str, Any] | None = GOLDEN) -> dict[str, Any]:
    return environment.plan(course, student, jobs, golden)


def test_the_first_one_is_cloned_from_the_golden_job():
    assert plan() == {"name": "env-OOB3-alice-1", "clone_from": GOLDEN["name"], "stop": [], "problem": ""}


@pytest.mark.parametrize("state", ["WAITING", "RUNNING", "UNKNOWN"])
def test_one_that_is_there_is_kept_also_without_a_golden_job(state: str):
    assert plan(job("env-OOB3-alice-3", state), golden=None) == {
        "name": "env-OOB3-alice-3",
        "clone_from": None,
        "stop": ["env-OOB3-alice-3"],
        "problem": "",
    }


@pytest.mark.parametrize(("state", "execution"), [("STOPPED", "STOP"), ("FAILED", "START"), ("SUCCEEDED", "START"), ("RUNNING", "STOP")])
def test_one_that_has_ended_or_will_is_followed_by_the_next_number(state: str, execution: str):
    found = plan(job("env-OOB3-alice-9", state, execution), job("env-OOB3-alice-10", state, execution))
    assert (found["name"], found["stop"]) == ("env-OOB3-alice-11", [])


def test_of_two_the_later_one_counts_and_both_are_stopped():
    found = plan(job("env-OOB3-alice-2"), job("env-OOB3-alice-10"))
    assert (found["name"], found["stop"]) == ("env-OOB3-alice-10", ["env-OOB3-alice-10", "env-OOB3-alice-2"])


def test_jobs_of_others_are_not_touched():
    names = [
        "env-OOB3-alice-x-1",
        "env-OOB3-alicex-1",
        "env-OOB33-alice-1",
        "xenv-OOB3-alice-1",
        "env-OOB3-alice-01",
        "env-OOB3-alice-",
        "golden-OOB3-1",
    ]
    assert plan(*(job(name) for name in names))["name"] == "env-OOB3-alice-1"


def test_every_name_is_one_courses_and_one_students():
    assert plan(job("env-a-b-c-1"), course="a-b", student="c")["stop"] == ["env-a-b-c-1"]
    with pytest.raises(GoldenJobsError, match="The student 'b-c' cannot be part of a job name; allowed: 1 to 40 of A-Z a-z 0-9 and _"):
        plan(job("env-a-b-c-1"), course="a", student="b-c")


@pytest.mark.parametrize("student", ["", "a b", "a~b", "../x", "a" * 41, "ü", "a\n"])
def test_a_student_who_cannot_be_part_of_a_name_is_refused(student: str):
    with pytest.raises(GoldenJobsError, match="cannot be part of a job name"):
        plan(student=student)


def test_without_a_golden_job_there_is_nothing_to_clone():
    assert plan(golden=None)["problem"] == "the course OOB3 has no running Golden Job to clone"


def test_the_source_is_read_from_the_tags():
    assert environment.source_of(["a", "environment-of:golden-OOB3-0123abcd-1"]) == "golden-OOB3-0123abcd-1"
    assert environment.source_of(["a"]) == ""
