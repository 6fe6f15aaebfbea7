"""The steps of a rollout against one PAI sandbox in this process: undo, drift, two operators at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.golden_jobs import golden_job, pai_wait
from ansible.module_utils.golden_jobs.errors import GoldenJobsError
from ansible.module_utils.golden_jobs.golden_rollout import Rollout
from ansible.module_utils.golden_jobs.pai_client import PaiClient

from tests.clusters import JOB
from tests.sandbox import Sandbox, sandbox
from tests.support import ROOT

STEPS = ("submit", "await_running", "probe", "bake", "probe", "promote", "retire")


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    monkeypatch.setattr(pai_wait, "SETTLE_S", 0.2)
    (tmp_path / "job.yaml").write_text(JOB.replace("COMMAND", "serve"))
    with sandbox(tmp_path / "sandbox") as running:
        yield running


class Operator:
    """Rolls out as rollout.yml does, and notes what it was told."""

    def __init__(self, cluster: Sandbox, folder: Path, name: str = "alice", courses: tuple[str, ...] = ("OOB3",)) -> None:
        self.cluster, self.folder, self.name, self.courses = cluster, folder, name, courses
        self.said: list[str] = []
        self.failure = ""

    def options(self, image: int, **more: Any) -> dict[str, Any]:
        course = {"template": str(self.folder / "job.yaml"), "image": f"r:5/a/b:v1-{image:012x}", "registry": {"address": "r:5"}}
        course["branding"] = {"logo": str(ROOT / "branding" / "logo.png")}
        return {
            "cluster": "c",
            "connection": {"address": self.cluster.url, "token": self.cluster.token()},
            "courses": [{"name": name, **course} for name in self.courses],
            "operator": self.name,
            "bake_s": 0.0,
            "probe_timeout_s": 2.0,
            "start_timeout_s": 15.0,
            "patience_s": 10.0,
            **more,
        }

    def rollout(self, image: int, *, steps: tuple[str, ...] = STEPS, plan: str = "plan", **more: Any) -> None:
        self.failure = ""
        with Rollout(self.options(image, **more), self.said.append) as work:
            plans = [one for one in getattr(work, plan)() if one["candidate"]]
            try:
                for step in steps if plans else ():
                    plans = getattr(work, step)(plans)
            except GoldenJobsError as error:
                self.failure = " ".join([str(error), *work.undo(plans, str(error))])


def jobs(cluster: Sandbox, course: str = "OOB3") -> list[dict[str, Any]]:
    with PaiClient(cluster.url, token=cluster.token()) as client:
        return golden_job.jobs_of(course, client.list_jobs()[0])


def current(cluster: Sandbox, course: str = "OOB3") -> str:
    """The one Golden Job: active, tagged, alone."""
    found = jobs(cluster, course)
    active = [job for job in found if golden_job.is_active(job)]
    assert [job for job in found if golden_job.TAG_CURRENT in job["tags"]] == active, found
    assert len(active) == 1, found
    return str(active[0]["name"])


@pytest.mark.parametrize("done", range(len(STEPS) + 1))
def test_a_run_that_ended_after_any_step_is_completed_with_no_second_job(cluster: Sandbox, tmp_path: Path, done: int):
    operator = Operator(cluster, tmp_path, courses=("OOB3", "OOB4"))
    operator.rollout(1)
    operator.rollout(2, steps=STEPS[:done])
    operator.rollout(2)
    for course in ("OOB3", "OOB4"):
        current(cluster, course)
        assert len(jobs(cluster, course)) == 2
    before = jobs(cluster)
    operator.rollout(2)
    assert jobs(cluster) == before


@pytest.mark.parametrize("turn", range(4))
def test_two_operators_at_once_end_with_one_of_them_live_and_the_other_told(cluster: Sandbox, tmp_path: Path, turn: int):
    first = Operator(cluster, tmp_path, "alice")
    first.rollout(1)
    second = Operator(cluster, tmp_path, "bob")
    same = turn % 4 == 0
    threads = [threading.Thread(target=one.rollout, args=(2 if same else 2 + number,)) for number, one in enumerate((first, second))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    live = current(cluster)
    told = {one.name: one.failure + " ".join(one.said) for one in (first, second)}
    assert not (first.failure and second.failure), told
    for one in (first, second):
        if one.failure:
            assert "has started golden-OOB3-" in one.failure, told
            assert "stays current" in one.failure or f"{live} is about to take over" in one.failure, told
    if same:
        assert len(jobs(cluster)) == 2, "the same revision was made twice"


def test_the_old_one_that_is_gone_comes_back_from_its_own_config(cluster: Sandbox, tmp_path: Path):
    operator = Operator(cluster, tmp_path)
    operator.rollout(1)
    old = current(cluster)
    with Rollout(operator.options(2), operator.said.append) as work:
        plans = work.await_running(work.submit(work.plan()))
        work.client.stop(old)
        work.client.stop(plans[0]["name"])
        [sentence] = work.undo(plans, "a reason")
    assert f"{old} was gone and is back as {old[:-1]}2" in sentence
    assert current(cluster) == f"{old[:-1]}2"
    assert golden_job.history("OOB3", jobs(cluster))[1]["failed"] == "a reason"


@pytest.mark.parametrize("drift", ["stopped", "untagged", "another one tagged", "its image moved"])
def test_drift_is_repaired_by_the_next_rollout(cluster: Sandbox, tmp_path: Path, drift: str):
    operator = Operator(cluster, tmp_path)
    operator.rollout(1)
    operator.rollout(2)
    before = current(cluster)
    with PaiClient(cluster.url, token=cluster.token()) as client:
        if drift == "stopped":
            client.stop(before)
        elif drift == "untagged":
            client.remove_tag(before, golden_job.TAG_CURRENT)
        elif drift == "another one tagged":
            client.add_tag(jobs(cluster)[1]["name"], golden_job.TAG_CURRENT)
    if drift == "its image moved":
        client_tag = f"{golden_job.TAG_DIGEST}sha256:{'0' * 64}"
        with PaiClient(cluster.url, token=cluster.token()) as client:
            client.add_tag(before, client_tag)
        options = operator.options(2)
        options["courses"][0]["digest"] = "sha256:" + "1" * 64
        operator.rollout(2, courses=options["courses"])
    else:
        operator.rollout(2)
    replaced = drift in ("stopped", "its image moved")
    assert (current(cluster) == before) is not replaced
    assert golden_job.parse_name(current(cluster))["revision"] == golden_job.parse_name(before)["revision"]  # type: ignore[index]


def test_a_name_that_somebody_has_used_for_something_else_is_passed_over(cluster: Sandbox, tmp_path: Path):
    operator = Operator(cluster, tmp_path)
    with Rollout(operator.options(1), operator.said.append) as work:
        plans = work.plan()
        other = JOB.replace("COMMAND", "other").replace("name: golden", f"name: {plans[0]['name']}")
        work.client.post_job(other)
        work.client.stop(plans[0]["name"])
        plans = work.submit(plans)
        assert plans[0]["name"].endswith("-2")
        work.retire(work.promote(work.await_running(plans)))
    assert current(cluster).endswith("-2")


def test_an_unhealthy_one_is_stopped_and_the_old_one_stays(cluster: Sandbox, tmp_path: Path):
    operator = Operator(cluster, tmp_path)
    operator.rollout(1)
    old = current(cluster)
    operator.rollout(2, probes=[{"path": "/", "url": "http://127.0.0.1:1"}])
    assert "is error: http://127.0.0.1:1/ cannot be asked: Connection refused" in operator.failure
    assert f"{old} stays current but is error" in operator.failure
    assert current(cluster) == old


def test_a_rollback_brings_back_the_old_config_and_marks_the_other_one_bad(cluster: Sandbox, tmp_path: Path):
    operator = Operator(cluster, tmp_path)
    operator.rollout(1)
    old = current(cluster)
    operator.rollout(2)
    operator.rollout(2, plan="plan_back")
    assert current(cluster) == f"{old[:-1]}2"
    again = jobs(cluster)
    operator.rollout(2, plan="plan_back")
    assert jobs(cluster) == again
    with Rollout(operator.options(2), operator.said.append) as work:
        assert work.plan()[0]["action"] == "refused"
        assert work.hold(["OOB3"], "exams") == ["OOB3 on c is held: exams"]
        assert work.hold(["OOB3"], "exams") == []
    with Rollout(operator.options(3), operator.said.append) as work:
        assert work.plan()[0]["reason"] == "held by alice: exams"
        assert work.hold(["OOB3"], "") == ["OOB3 on c is no longer held (exams)"]
        assert work.plan()[0]["action"] == "submit"


class _StockLogo(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"stock")

    def log_message(self, *_args: object) -> None:
        pass


@contextmanager
def answering(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address of a server beside the jobs."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_another_logo_stops_a_rollout_and_no_rollback_to_an_image_of_its_time(cluster: Sandbox, tmp_path: Path):
    with answering(_StockLogo) as url:
        probes = [{"path": "/static/logo/logo.png", "branding": "logo", "url": url}]
        operator = Operator(cluster, tmp_path)
        operator.rollout(1)
        operator.rollout(2)
        live = current(cluster)
        operator.rollout(3, probes=probes)
        assert "is unhealthy: " in operator.failure
        assert "serves other bytes than our logo" in operator.failure
        assert operator.failure.endswith(f"{live} stays current.")
        operator.rollout(3, probes=probes, plan="plan_back")
        assert operator.failure == ""
        assert current(cluster) != live


@pytest.mark.parametrize(("bake_s", "times"), [(0.0, 1), (0.1, 2)])
def test_a_new_one_is_probed_again_when_it_has_baked(cluster: Sandbox, tmp_path: Path, bake_s: float, times: int):
    asked: list[str] = []

    class Answer(_StockLogo):
        def do_GET(self) -> None:
            asked.append(self.path)
            super().do_GET()

    with answering(Answer) as url:
        operator = Operator(cluster, tmp_path)
        operator.rollout(1, steps=("submit", "prove", "take_over"), probes=[{"path": "/api", "url": url}], bake_s=bake_s)
    assert operator.failure == ""
    assert asked == ["/api"] * times
    current(cluster)


def test_one_that_ends_at_once_does_not_take_over_because_something_else_answers(
    cluster: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pai_wait, "SETTLE_S", 5.0)
    operator = Operator(cluster, tmp_path)
    with answering(_StockLogo) as url:
        cluster.rules({"run_s": 0.5, "exit_code": 1})
        operator.rollout(1, steps=("submit", "prove", "take_over"), probes=[{"path": "/api", "url": url}])
    assert "ended as FAILED" in operator.failure
    assert not [job for job in jobs(cluster) if golden_job.TAG_CURRENT in job["tags"]]


def test_one_that_was_submitted_by_hand_under_a_golden_name_is_replaced(cluster: Sandbox, tmp_path: Path):
    operator = Operator(cluster, tmp_path)
    operator.rollout(1)
    before = current(cluster)
    by_hand = before[:-1] + "2"
    with PaiClient(cluster.url, token=cluster.token()) as client:
        client.post_job(JOB.replace("COMMAND", "something else").replace("name: golden", f"name: {by_hand}"))
        for tag in (*golden_job.course_tags("OOB3"), golden_job.TAG_CURRENT):
            client.add_tag(by_hand, tag)
        client.stop(before)
    operator.rollout(1)
    assert current(cluster) == before[:-1] + "3"


def test_a_bad_revision_that_is_forced_is_good_again(cluster: Sandbox, tmp_path: Path):
    operator = Operator(cluster, tmp_path)
    operator.rollout(1)
    operator.rollout(2)
    bad = golden_job.parse_name(current(cluster))["revision"]  # type: ignore[index]
    operator.rollout(2, plan="plan_back")
    assert golden_job.bad_revisions("OOB3", jobs(cluster)) == {bad}
    operator.rollout(2)
    assert golden_job.parse_name(current(cluster))["revision"] != bad  # type: ignore[index]
    operator.rollout(2, force=True)
    assert golden_job.parse_name(current(cluster))["revision"] == bad  # type: ignore[index]
    assert golden_job.bad_revisions("OOB3", jobs(cluster)) == set()


def test_one_that_is_started_anew_while_it_bakes_does_not_take_over(cluster: Sandbox, tmp_path: Path):
    operator = Operator(cluster, tmp_path)
    operator.rollout(1)
    live = current(cluster)
    (tmp_path / "job.yaml").write_text(JOB.replace("COMMAND", "serve") + "jobRetryCount: 5\n")
    cluster.rules({"run_s": 1.0, "exit_code": 1})
    operator.rollout(2, bake_s=20.0)
    assert "ended while it baked: it is " in operator.failure
    assert current(cluster) == live


def test_an_adopted_job_is_retired_as_one_that_was_live_and_not_as_one_that_was_given_up(cluster: Sandbox, tmp_path: Path):
    with PaiClient(cluster.url, token=cluster.token()) as client:
        client.post_job(JOB.replace("COMMAND", "serve").replace("name: golden", "name: jupyter_v3"))
        for tag in (*golden_job.course_tags("OOB3"), golden_job.TAG_CURRENT):
            client.add_tag("jupyter_v3", tag)
    Operator(cluster, tmp_path).rollout(1)
    assert current(cluster).startswith("golden-OOB3-")
    adopted = next(job for job in jobs(cluster) if job["name"] == "jupyter_v3")
    assert (adopted["state"], adopted["tags"]) == ("STOPPED", golden_job.course_tags("OOB3"))
