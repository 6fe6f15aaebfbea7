"""What the record of a run keeps, what it never shows, and its page."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.golden_jobs import report

STEP = {
    "at_s": 1_700_000_010.0,
    "host": "OOB3",
    "on": "build-1",
    "course": "OOB3",
    "cluster": "",
    "task": "Push the image",
    "outcome": "changed",
    "seconds": 4.2,
    "message": "",
    "details": {"registry_digest": "sha256:" + "1" * 64},
}
RECORD = {
    "playbook": "rebuild",
    "outcome": "failed",
    "began_s": 1_700_000_000.0,
    "seconds": 75.4,
    "by": "alice@desk",
    "commit": "0123456789abcdef",
    "dirty": True,
    "command": "ansible-playbook rebuild.yml -e course=OOB3",
    "check": False,
    "inputs": {"course": "OOB3"},
    "golden_jobs": [],
    "steps": [STEP, {**STEP, "task": "Roll out", "outcome": "failed", "message": "It <broke> & fell."}],
    "hosts": {},
}


def test_inputs_are_shown_and_secrets_among_them_are_known_by_name_and_by_form():
    token = "ghp_" + "a" * 36
    given = {
        "course": "OOB3",
        "serial": [1, "100%"],
        "force": True,
        "registry_password": "pw-one",
        "report_webhook_url": "https://hooks.example/?key=abc",
        "vault_anything": "pw-two",
        "nested": {"api_token": "pw-three", "size": 3},
        "vault_pai_tokens": {"pai-a": "pw-five"},
        "golden_job_secrets": {"key": "pw-six", "reference": "{{ vault_key }}"},
        "note": f"with {token}",
        "ansible_become_password": "pw-four",
    }
    shown, secrets = report.masked_inputs(given)
    assert (shown["course"], shown["serial"], shown["force"], shown["nested"]["size"]) == ("OOB3", [1, "100%"], True, 3)
    assert [shown[name] for name in ("registry_password", "report_webhook_url", "vault_anything", "note")] == [report.MASK] * 4
    assert set(secrets) == {f"pw-{n}" for n in ("one", "two", "three", "four", "five", "six")} | {
        "https://hooks.example/?key=abc",
        f"with {token}",
    }
    assert "ansible_become_password" not in shown
    assert shown["golden_job_secrets"] == {"key": report.MASK, "reference": "{{ vault_key }}"}


def test_a_secret_is_masked_wherever_it_stands_and_texts_that_look_like_one_as_well():
    value = {"a": ["the login pw-one-two failed"], "b": {"c": "https://u:hunter22@reg.example/"}, "n": 3, "none": None}
    assert report.without(["pw-one-two", ""], value) == {
        "a": [f"the login {report.MASK} failed"],
        "b": {"c": report.MASK},
        "n": 3,
        "none": None,
    }


def test_a_course_and_cluster_is_one_row_with_the_seconds_of_each_step():
    known: list[dict[str, Any]] = []
    base = {"course": "OOB3", "cluster": "pai-a", "outcome": "ok", "revision": "aaaaaaaa", "reason": "submit it"}
    report.remember(known, [{**base, "step": "plan", "seconds": 0.1}, {**base, "cluster": "pai-b", "step": "plan", "seconds": 0.2}])
    report.remember(known, [{**base, "step": "probe", "seconds": 1.0, "digest": "sha256:1"}])
    report.remember(known, [{**base, "step": "probe", "seconds": 2.0}, "no entry"])
    assert [(row["cluster"], row["steps"]) for row in known] == [("pai-a", {"plan": 0.1, "probe": 3.0}), ("pai-b", {"plan": 0.2})]
    assert (known[0]["digest"], known[0]["outcome"], known[0]["reason"]) == ("sha256:1", "ok", "submit it")


def test_what_is_cleaned_up_after_a_failure_does_not_hide_it():
    known: list[dict[str, Any]] = []
    base = {"course": "OOB3", "cluster": "pai-a"}
    report.remember(known, [{**base, "step": "probe", "seconds": 1, "outcome": "failed", "reason": "HTTP 500"}])
    report.remember(known, [{**base, "step": "undo", "seconds": 2, "outcome": "ok", "reason": "undone"}])
    assert (known[0]["outcome"], known[0]["reason"], known[0]["steps"]) == ("failed", "HTTP 500", {"probe": 1, "undo": 2})


@pytest.mark.parametrize(
    ("host", "name", "message", "course"),
    [
        ("OOB3", "", "", "OOB3"),
        ("pai-a", "golden-OOB4-aaaaaaaa-1", "", "OOB4"),
        ("pai-a", "", "The job 'golden-my-course-aaaaaaaa-12' failed.", "my-course"),
        ("pai-a", "env-OOB3-alice-1", "Connection refused.", ""),
    ],
)
def test_the_course_of_a_step_is_its_host_or_that_of_the_job_it_names(host: str, name: str, message: str, course: str):
    assert report.subject(host, name, message, ["OOB3"]) == course


def test_the_outcome_of_a_check_is_never_changed_and_a_failed_host_is_never_ok():
    assert report.outcome([STEP], [], check=False) == "changed"
    assert report.outcome([STEP], [], check=True) == "ok"
    assert report.outcome([], [], check=False) == "ok"
    assert report.outcome([STEP], ["pai-a"], check=False) == report.outcome([], ["pai-a"], check=True) == "failed"


def test_one_sentence_says_what_who_how_long_and_why():
    assert report.sentence(RECORD) == "rebuild (OOB3): failed after 75 s, by alice@desk: It <broke> & fell."
    assert (
        report.sentence({**RECORD, "outcome": "ok", "check": True, "steps": []}) == "rebuild (OOB3): ok after 75 s, a check, by alice@desk"
    )


def test_the_page_shows_who_when_commit_inputs_digests_and_escapes_what_it_is_given():
    golden = {"course": "OOB3", "cluster": "pai-a", "outcome": "failed", "steps": {"plan": 0.01, "probe": 3.25}, "reason": "<script>"}
    page = report.html({**RECORD, "golden_jobs": [golden]})
    for text in ("alice@desk", "0123456789abcdef", "and changes", "2023-11-14 22:13 UTC", "-e course", "1" * 64, "3.3 s (probe 3.2)"):
        assert text in page, text
    assert "It &lt;broke&gt; &amp; fell." in page
    assert "<script" not in page
