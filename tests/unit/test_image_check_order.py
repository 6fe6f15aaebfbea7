"""When the checks of an image run, and in which order their rows come."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from ansible.module_utils.golden_jobs import image_checks
from ansible.module_utils.golden_jobs.image_check_order import AT_ONCE, CheckOrder

WAIT_S = 30


def check(name: str, **options: Any) -> dict[str, Any]:
    return {**dict.fromkeys(image_checks.CHECK_SPEC), "name": name, "timeout_s": 60, **({"command": "true"} | options)}


def log_check(name: str) -> dict[str, Any]:
    return check(name, command=None, log_without="x")


def names(checks: list[dict[str, Any]], row: Callable[[Any], dict[str, Any]]) -> list[str]:
    return [row["name"] for row in CheckOrder(checks, row).rows()]


def test_checks_that_wait_for_each_other_pass_and_no_more_than_a_few_run_at_the_same_time():
    together = threading.Barrier(AT_ONCE)
    running, most = [], []

    def row(check: dict[str, Any]) -> dict[str, Any]:
        running.append(check)
        together.wait(WAIT_S)
        most.append(len(running))
        together.wait(WAIT_S)
        running.remove(check)
        return {"name": check["name"]}

    checks = [check(str(number)) for number in range(3 * AT_ONCE)]
    assert names(checks, row) == [check["name"] for check in checks]
    assert max(most) == AT_ONCE


def test_rows_come_in_the_order_in_which_the_checks_are_written_whichever_ends_first():
    ended: list[str] = []
    second_has_ended = threading.Event()

    def row(check: dict[str, Any]) -> dict[str, Any]:
        if check["name"] == "first":
            assert second_has_ended.wait(WAIT_S)
        ended.append(check["name"])
        if check["name"] == "second":
            second_has_ended.set()
        return {"name": check["name"]}

    assert names([check("first"), check("second")], row) == ["first", "second"]
    assert ended == ["second", "first"]


def test_the_log_is_looked_at_after_all_others_wherever_that_is_written():
    ended: list[str] = []

    def row(check: dict[str, Any]) -> dict[str, Any]:
        ended.append(check["name"])
        return {"name": check["name"]}

    checks = [log_check("log"), check("before"), log_check("log again"), check("after")]
    assert names(checks, row) == ["log", "before", "log again", "after"]
    assert ended[2:] == ["log", "log again"]


def test_what_needs_no_server_begins_before_it_is_ready_and_runs_once():
    begun: list[str] = []
    early = threading.Event()

    def row(check: dict[str, Any]) -> dict[str, Any]:
        begun.append(check["name"])
        early.set()
        return {"name": check["name"]}

    order = CheckOrder([check("asks the server", needs_server=True), check("any"), check("early", needs_server=False)], row)
    order.begin_without_server()
    assert early.wait(WAIT_S)
    assert begun == ["early"]
    assert [row["name"] for row in order.rows()] == ["asks the server", "any", "early"]
    assert sorted(begun) == ["any", "asks the server", "early"]


def test_an_error_of_our_own_is_raised_and_nothing_is_waited_for():
    never = threading.Event()

    def row(check: dict[str, Any]) -> dict[str, Any]:
        if check["name"] == "hangs":
            never.wait()
        raise ZeroDivisionError

    try:
        with pytest.raises(ZeroDivisionError):
            names([check("fails"), check("hangs")], row)
    finally:
        never.set()
