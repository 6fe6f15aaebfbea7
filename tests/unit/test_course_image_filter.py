"""What playbooks/find.yml says of a Golden Job, and the catalogue's two courses with one image name."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from tests.support import ROOT


@pytest.fixture(scope="module")
def plugin() -> Any:
    spec = importlib.util.spec_from_file_location("course_image_filter", ROOT / "plugins" / "filter" / "course_image.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


ROW = {"url": "/static/logo/logo.png", "sha256": "a" * 64, "origin": "ours", "software": "jupyter"}
JOB = {"golden_job": {"name": "golden-OOB1-12345678-1"}}


@pytest.mark.parametrize(
    ("answer", "checksum", "line"),
    [
        ({"status": 200}, "a" * 64, "/static/logo/logo.png  ours, sha256 aaaaaaaaaaaa"),
        ({"status": 200}, "b" * 64, "/static/logo/logo.png  other bytes than the image has, sha256 bbbbbbbbbbbb"),
        ({"status": 404}, "", "/static/logo/logo.png  HTTP 404"),
        (
            {"status": -1, "msg": "Status code was -1 and not [200]: Connection failure: Connection reset by peer"},
            "",
            "/static/logo/logo.png  no answer: Connection reset by peer",
        ),
        ({"status": -1, "msg": "Request failed"}, "", "/static/logo/logo.png  no answer: Request failed"),
        ({"skipped": True}, "", "/static/logo/logo.png  the job has no port for jupyter"),
    ],
)
def test_each_address_is_a_line_whatever_it_answers(plugin: Any, answer: dict[str, Any], checksum: str, line: str):
    answers = {"results": [{**answer, "served_file": ROW}]}
    stats = {"results": [{"stat": {"checksum": checksum}}]}
    lines = plugin.served_lines(answers, stats, JOB, "OOB1", "pai-a")
    assert [one.strip() for one in lines] == ["OOB1 on pai-a: golden-OOB1-12345678-1", line]


def test_a_course_without_a_golden_job_is_said(plugin: Any):
    assert plugin.served_lines({}, {}, {"golden_job": None}, "OOB1", "pai-a") == ["  OOB1 on pai-a: no Golden Job runs"]


def test_two_courses_may_have_one_image_name_on_two_registries_only(plugin: Any):
    courses = {name: {"course_image": "shaiic/x", "course_registry": "hub"} for name in ("OOB1", "OOB2")}
    courses["OOB3"] = {"course_image": "shaiic/y", "course_registry": "hub"}
    assert "OOB2 and OOB1 have one image name, shaiic/x" in plugin.twin(list(courses), courses, ["OOB3", "OOB2"])
    assert plugin.twin(list(courses), courses, ["OOB3"]) == ""
    courses["OOB2"]["course_registry"] = "mirror"
    assert plugin.twin(list(courses), courses, ["OOB1", "OOB2"]) == ""
