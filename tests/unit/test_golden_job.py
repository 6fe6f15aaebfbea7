"""The plan: which Golden Job comes, which stays, which goes, for every state that an interrupted run can leave."""

from __future__ import annotations

import itertools

import pytest
from ansible.module_utils.golden_jobs import golden_job
from ansible.module_utils.golden_jobs.errors import GoldenJobsError
from ansible.module_utils.golden_jobs.golden_job import TAG_CURRENT, plan

OLD, NEW = "aaaaaaaa", "bbbbbbbb"
CURRENT = ["golden-job:OOB3", TAG_CURRENT]
PLAIN = ["golden-job:OOB3"]


def job(name, state="RUNNING", tags=(), at=1, execution="START", user="op"):
    return {"name": name, "state": state, "tags": list(tags), "submissionTime": at, "executionType": execution, "username": user}


def old(tags=CURRENT, **more):
    return job(f"golden-OOB3-{OLD}-1", tags=tags, **more)


def new(tags=PLAIN, at=2, **more):
    return job(f"golden-OOB3-{NEW}-1", tags=tags, at=at, **more)


def wanted(*jobs):
    return plan("OOB3", jobs, NEW, "op")


def test_an_empty_cluster_gets_number_one():
    result = wanted()
    assert (result["action"], result["name"], result["candidate"]) == ("submit", f"golden-OOB3-{NEW}-1", f"golden-OOB3-{NEW}-1")
    assert (result["live"], result["retire"], result["demote"], result["promoted"]) == (None, [], [], False)


def test_the_wanted_one_alone_is_left_alone():
    result = wanted(new(tags=CURRENT), old(tags=PLAIN, state="STOPPED"))
    assert (result["action"], result["candidate"], result["retire"], result["demote"]) == ("none", None, [], [])


def test_another_revision_is_replaced_and_stays_until_then():
    result = wanted(old())
    assert (result["action"], result["live"], result["retire"]) == ("submit", f"golden-OOB3-{OLD}-1", [f"golden-OOB3-{OLD}-1"])


@pytest.mark.parametrize("state", ["WAITING", "RUNNING", "UNKNOWN"])
@pytest.mark.parametrize("tags", [[], PLAIN])
def test_a_submitted_job_is_resumed_and_never_doubled(state, tags):
    result = wanted(old(), new(state=state, tags=tags))
    assert (result["action"], result["name"], result["promoted"]) == ("resume", f"golden-OOB3-{NEW}-1", False)
    assert result["live"] == f"golden-OOB3-{OLD}-1"
    assert result["retire"] == [f"golden-OOB3-{OLD}-1"]


@pytest.mark.parametrize(
    ("state", "execution"),
    [("SUCCEEDED", "START"), ("FAILED", "START"), ("STOPPED", "STOP"), ("STOPPING", "STOP"), ("RUNNING", "STOP"), ("WAITING", "STOP")],
)
def test_a_job_that_ended_or_was_asked_to_is_not_used_again(state, execution):
    result = wanted(old(), new(state=state, execution=execution))
    assert (result["action"], result["name"]) == ("submit", f"golden-OOB3-{NEW}-2")
    assert result["retire"] == [f"golden-OOB3-{OLD}-1"]


def test_the_number_follows_the_highest_one_of_any_state():
    jobs = [new(state="FAILED"), job(f"golden-OOB3-{NEW}-10", state="STOPPED"), job(f"golden-OOB3-{OLD}-99", state="STOPPED")]
    assert wanted(*jobs)["name"] == f"golden-OOB3-{NEW}-11"


def test_both_current_after_a_crash_between_two_tag_calls_the_later_one_counts():
    result = wanted(old(), new(tags=CURRENT))
    assert (result["action"], result["name"], result["promoted"], result["live"]) == ("resume", f"golden-OOB3-{NEW}-1", True, None)
    assert result["retire"] == [f"golden-OOB3-{OLD}-1"]


def test_an_untagged_old_one_that_still_runs_is_retired():
    result = wanted(old(tags=PLAIN), new(tags=CURRENT))
    assert (result["action"], result["promoted"], result["retire"]) == ("resume", True, [f"golden-OOB3-{OLD}-1"])


def test_a_stopped_one_that_is_still_tagged_current_loses_the_tag():
    result = wanted(old(state="STOPPED"), new(tags=CURRENT))
    assert (result["action"], result["demote"], result["retire"]) == ("resume", [f"golden-OOB3-{OLD}-1"], [])


def test_a_current_one_stopped_by_hand_is_replaced():
    result = wanted(new(tags=CURRENT, state="STOPPED"))
    assert (result["action"], result["name"], result["live"]) == ("submit", f"golden-OOB3-{NEW}-2", None)
    assert result["demote"] == [f"golden-OOB3-{NEW}-1"]


@pytest.mark.parametrize("state", ["WAITING", "UNKNOWN"])
def test_a_current_one_that_restarts_is_proven_again_but_not_disposable(state):
    result = wanted(new(tags=CURRENT, state=state))
    assert (result["action"], result["promoted"], result["retire"]) == ("resume", True, [])


def test_a_lost_course_tag_is_given_again():
    assert wanted(new(tags=[TAG_CURRENT]))["action"] == "resume"


def test_the_live_one_is_stopped_last():
    stray = job("golden-OOB3-cccccccc-1", at=5, tags=PLAIN)
    assert wanted(old(), stray)["retire"] == ["golden-OOB3-cccccccc-1", f"golden-OOB3-{OLD}-1"]


def test_two_jobs_of_the_wanted_revision_end_as_one():
    second = job(f"golden-OOB3-{NEW}-2", tags=PLAIN, at=3)
    result = wanted(new(tags=CURRENT), second)
    assert (result["name"], result["retire"]) == (f"golden-OOB3-{NEW}-2", [f"golden-OOB3-{NEW}-1"])


def test_one_that_runs_something_else_under_a_name_of_the_wanted_revision_is_replaced():
    planned = plan("OOB3", [new(tags=CURRENT)], NEW, "op", strange=[f"golden-OOB3-{NEW}-1"])
    assert (planned["action"], planned["name"], planned["retire"]) == ("submit", f"golden-OOB3-{NEW}-2", [f"golden-OOB3-{NEW}-1"])
    assert "it does not run what its name says" in planned["reason"]


def test_a_later_job_of_another_revision_is_replaced_by_one_that_is_later_still_and_not_by_an_older_one():
    planned = plan("OOB3", [old(), new()], OLD, "op")
    assert (planned["action"], planned["name"], planned["live"]) == ("submit", f"golden-OOB3-{OLD}-2", f"golden-OOB3-{OLD}-1")
    assert planned["retire"] == [f"golden-OOB3-{NEW}-1", f"golden-OOB3-{OLD}-1"]


def test_one_that_was_given_up_is_not_used_again_and_replaces_nothing():
    gone = new(tags=[*PLAIN, "golden-failed:no answer"])
    assert wanted(old(), gone)["name"] == f"golden-OOB3-{NEW}-2"
    kept = plan("OOB3", [old(), gone], OLD, "op")
    assert (kept["action"], kept["name"], kept["promoted"], kept["retire"]) == ("resume", old()["name"], True, [gone["name"]])


def test_going_back_makes_a_job_that_is_newer_than_the_one_it_replaces():
    result = plan("OOB3", [old(tags=PLAIN), new(tags=CURRENT)], OLD, "op")
    assert (result["action"], result["name"], result["live"]) == ("submit", f"golden-OOB3-{OLD}-2", f"golden-OOB3-{NEW}-1")
    assert result["retire"] == [f"golden-OOB3-{OLD}-1", f"golden-OOB3-{NEW}-1"]


@pytest.mark.parametrize(
    "other",
    [
        job(f"golden-OOB31-{NEW}-1", tags=["golden-job:OOB31", TAG_CURRENT]),
        job(f"golden-OOB3-x-{NEW}-1", tags=[TAG_CURRENT]),
        job(f"my-golden-OOB3-{NEW}-1", tags=[TAG_CURRENT]),
        job(f"golden-OOB3-{NEW}-1_4f3a2b1c", tags=[]),
        job(f"golden-OOB3-{NEW}-1", tags=CURRENT, user="alice"),
    ],
)
def test_what_a_substring_search_finds_too_is_not_touched(other):
    result = wanted(other)
    assert (result["action"], result["name"], result["retire"], result["live"]) == ("submit", f"golden-OOB3-{NEW}-1", [], None)


def test_a_course_with_hyphens_is_read_back_from_its_name():
    name = golden_job.job_name("py-intro-2", NEW, 7)
    assert golden_job.parse_name(name) == {"course": "py-intro-2", "revision": NEW, "n": 7}


def test_a_course_that_no_job_name_can_carry_is_refused():
    with pytest.raises(GoldenJobsError, match="cannot be part of a job name"):
        golden_job.job_name("OOB 3", NEW, 1)


class Cluster:
    """The steps of a rollout on a cluster of dicts, able to die before any of its calls."""

    def __init__(self, jobs):
        self.jobs = {item["name"]: item for item in jobs}
        self.clock = 100
        self.budget = 10**9
        self.calls = 0

    def call(self):
        if self.budget == 0:
            raise KeyboardInterrupt
        self.budget -= 1
        self.calls += 1

    def tag(self, name, tag):
        if tag not in self.jobs[name]["tags"]:
            self.call()
            self.jobs[name]["tags"].append(tag)

    def retire(self, name):
        if TAG_CURRENT in self.jobs[name]["tags"]:
            self.call()
            self.jobs[name]["tags"].remove(TAG_CURRENT)
        if self.jobs[name]["executionType"] == "START":
            self.call()
            self.jobs[name]["executionType"] = "STOP"
        self.call()
        self.jobs[name]["state"] = "STOPPED"

    def rollout(self, revision):
        todo = plan("OOB3", list(self.jobs.values()), revision, "op")
        if todo["action"] == "none":
            return todo
        name = todo["name"]
        if todo["action"] == "submit":
            assert name not in self.jobs
            self.call()
            self.clock += 1
            self.jobs[name] = job(name, state="WAITING", at=self.clock)
        for tag in todo["tags"]:
            self.tag(name, tag)
        self.call()
        self.jobs[name]["state"] = "RUNNING"
        self.tag(name, TAG_CURRENT)
        for gone in todo["demote"]:
            self.call()
            self.jobs[gone]["tags"].remove(TAG_CURRENT)
        for other in todo["retire"]:
            self.retire(other)
        return todo

    def live(self):
        return [item for item in self.jobs.values() if golden_job.is_active(item) and TAG_CURRENT in item["tags"]]


STARTS = {
    "empty": [],
    "one live": [old()],
    "live, and the successor of an earlier run failed": [old(), new(state="FAILED")],
    "two revisions half-way": [old(), job("golden-OOB3-cccccccc-1", tags=PLAIN, at=3)],
    "stopped by hand": [old(state="STOPPED")],
    "the successor was given up and still runs": [old(), new(tags=[*PLAIN, "golden-failed:no answer"])],
    "back to what is current while another one is half-way": [new(tags=CURRENT, at=1), job("golden-OOB3-cccccccc-1", tags=PLAIN, at=3)],
}


@pytest.mark.parametrize("start", STARTS)
def test_killed_before_any_call_and_run_again_there_is_one_live_job_and_none_too_many(start):
    def fresh():
        return Cluster([{**item, "tags": list(item["tags"])} for item in STARTS[start]])

    whole = fresh()
    whole.rollout(NEW)
    assert len(whole.live()) == 1
    for first in range(whole.calls + 1):
        # A second kill, in the run that repairs the first.
        for second in itertools.count():
            cluster = fresh()
            had_live = bool(cluster.live())
            killed = []
            for budget in (first, second, 10**9):
                cluster.budget = budget
                try:
                    cluster.rollout(NEW)
                    killed.append(False)
                except KeyboardInterrupt:
                    killed.append(True)
                    assert not had_live or cluster.live(), "nothing answers for the course"
            active = [item for item in cluster.jobs.values() if golden_job.is_active(item)]
            assert [item["name"] for item in active] == [item["name"] for item in cluster.live()]
            assert len(active) == 1
            assert golden_job.parse_name(active[0]["name"])["revision"] == NEW
            assert len(cluster.jobs) == len(whole.jobs), "a second job was submitted"
            assert sum(TAG_CURRENT in item["tags"] for item in cluster.jobs.values()) == 1
            assert cluster.rollout(NEW)["action"] == "none"
            if not killed[1]:
                break


@pytest.mark.parametrize(("seconds", "text"), [(5, "5 s"), (59, "59 s"), (61, "1 min"), (7300, "2 h"), (200_000, "2 d")])
def test_an_age_is_written_for_people(seconds, text):
    assert golden_job.age(1000, 1 + seconds) == text


def test_a_table_has_columns_and_no_empty_cells():
    assert golden_job.table([["a", None], ["bbb", "x"]], ["C", "URL"]) == ["C    URL", "a    -", "bbb  x"]
