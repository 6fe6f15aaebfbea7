"""How courses are spread over build servers."""

from __future__ import annotations

from collections import Counter

import pytest
from ansible.module_utils.golden_jobs.build_farm import choose
from ansible.module_utils.golden_jobs.errors import GoldenJobsError

COURSES = [f"OOB{number}" for number in range(1000)]
SERVERS = ["vm01", "vm02", "vm03"]


def test_courses_are_spread_evenly_and_always_the_same_way():
    first = {course: choose(course, SERVERS) for course in COURSES}
    assert first == {course: choose(course, list(reversed(SERVERS))) for course in COURSES}
    assert all(280 < count < 390 for count in Counter(first.values()).values())


def test_a_new_server_takes_courses_and_moves_none_between_the_others():
    before = {course: choose(course, SERVERS) for course in COURSES}
    after = {course: choose(course, [*SERVERS, "vm04"]) for course in COURSES}
    moved = {course for course in COURSES if before[course] != after[course]}
    assert 180 < len(moved) < 320
    assert {after[course] for course in moved} == {"vm04"}


def test_a_server_that_is_down_is_passed_over_and_the_others_keep_theirs():
    before = {course: choose(course, SERVERS) for course in COURSES}
    after = {course: choose(course, SERVERS, down=["vm02"]) for course in COURSES}
    assert {course for course in COURSES if before[course] != after[course]} == {course for course in COURSES if before[course] == "vm02"}
    assert set(after.values()) == {"vm01", "vm03"}


def test_a_server_of_twice_the_weight_gets_twice_as_much():
    counts = Counter(choose(course, SERVERS, {"vm01": 2}) for course in COURSES)
    assert 430 < counts["vm01"] < 570
    assert choose("OOB3", SERVERS, {"vm01": 0, "vm02": 0}) == "vm03"


@pytest.mark.parametrize(
    ("servers", "weights", "down", "says"),
    [
        ([], {}, [], "has no build server"),
        (["vm01"], {}, ["vm01"], "No build server can build OOB3: vm01"),
        (["vm01"], {"vm01": "much"}, [], "build_server_weight of vm01 is 'much': a number, 0 or more"),
        (["vm01"], {"vm01": -1}, [], "a number, 0 or more"),
    ],
)
def test_what_cannot_be_is_one_sentence(servers: list[str], weights: dict[str, object], down: list[str], says: str):
    with pytest.raises(GoldenJobsError, match=says):
        choose("OOB3", servers, weights, down)
