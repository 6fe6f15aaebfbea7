"""What rollout.yml, rollback.yml and hold.yml promise, on five PAI sandboxes: after each run the clusters are asked.

The long ones (every point of a SIGKILL, the race twenty times) are in `tests/scenarios`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.clusters import Clusters, clusters
from tests.sandbox import PASSWORD

FIVE = ["c1", "c2", "c3", "c4", "c5"]
SECRET = "a-secret-of-one-cluster"
HOLD = '{"reason": "exam week, until Friday"}'


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clusters]:
    with clusters(tmp_path_factory.mktemp("clusters"), 5) as running:
        done = running.run()
        assert done.returncode == 0, done.stdout + done.stderr
        yield running


@pytest.fixture(autouse=True)
def as_before(five: Clusters) -> Iterator[None]:
    yield
    for name in FIVE:
        five.faults(name)
        five.rules(name)


def changed(output: str) -> int:
    return sum(int(count) for count in re.findall(r"changed=(\d+)", output))


def fresh_image(five: Clusters) -> None:
    five.image(int(five.images["OOB3"].rpartition("-")[2], 16) + 1)


def test_a_healthy_rollout_reaches_every_cluster_the_first_one_alone(five: Clusters):
    fresh_image(five)
    before = {name: five.current(name) for name in FIVE}
    done = five.run()
    assert done.returncode == 0, done.stdout
    submitted = [line.split()[0] for line in done.stdout.splitlines() if re.search(r": submitted$", line)]
    assert submitted[0] == "c1"
    assert sorted(submitted) == FIVE
    assert done.stdout.index("c1 " + five.current("c1")["name"] + ": is current") < done.stdout.index("c2 golden")
    for name in FIVE:
        old, new = before[name], five.current(name)
        assert new["submissionTime"] > old["submissionTime"]
        assert next(job for job in five.jobs(name) if job["name"] == old["name"])["state"] == "STOPPED"


def test_a_second_run_changes_nothing(five: Clusters):
    before = {name: five.jobs(name) for name in FIVE}
    done = five.run()
    assert (done.returncode, changed(done.stdout)) == (0, 0), done.stdout
    assert {name: five.jobs(name) for name in FIVE} == before


def test_a_canary_that_fails_leaves_the_others_untouched(five: Clusters):
    fresh_image(five)
    before = {name: five.jobs(name) for name in FIVE}
    old = five.current("c3")["name"]
    five.rules("c3", {"run_s": 0, "exit_code": 3, "log": "out of luck"})
    done = five.run("rollout", "-e", '{"rollout_first": ["c3"]}')
    assert done.returncode != 0
    assert "its last line was: out of luck" in done.stdout
    assert done.stdout.count("The run ends here: no further wave and no further play begins.") == 1
    assert f"{old} stays current" in done.stdout
    assert five.current("c3")["name"] == old
    assert [name for name in FIVE if five.jobs(name) != before[name]] == ["c3"]


def test_a_cluster_that_is_down_stops_the_run_before_anything_is_touched_or_counts_as_failed(five: Clusters):
    fresh_image(five)
    five.host_vars["c4"] = {"pai_address": "http://127.0.0.1:1"}
    before = {name: five.jobs(name) for name in FIVE}
    try:
        stopped = five.run()
        assert stopped.returncode != 0
        assert "http://127.0.0.1:1 cannot be reached" in stopped.stdout
        assert {name: five.jobs(name) for name in FIVE} == before
        went_on = five.run("rollout", "-e", "rollout_max_fail_percentage=50")
        assert went_on.returncode != 0
        assert [five.jobs(name) != before[name] for name in FIVE] == [True, True, True, False, True]
    finally:
        five.host_vars["c4"] = {}
    assert five.run().returncode == 0
    assert len({five.revision(name) for name in FIVE}) == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"do": "reset", "committed": True, "method": "POST", "path": "/api/v2/jobs"},
    ],
    ids=["a submit whose answer is lost"],
)
def test_a_cluster_in_passing_trouble_gets_its_job_and_only_one(five: Clusters, fault: dict[str, object]):
    fresh_image(five)
    before = {name: len(five.jobs(name)) for name in FIVE}
    five.faults("c2", fault)
    done = five.run("rollout", "-e", "golden_job_patience_s=60")
    five.faults("c2")
    assert done.returncode == 0, done.stdout
    assert {name: len(five.jobs(name)) - before[name] for name in FIVE} == dict.fromkeys(FIVE, 1)
    assert len({five.revision(name) for name in FIVE}) == 1


def test_a_cluster_whose_variables_are_wrong_fails_alone(five: Clusters):
    fresh_image(five)
    before = five.jobs("c2")
    five.host_vars["c2"] = {"golden_job_bake_s": "soon"}
    five.host_vars["c4"] = {"pai_address": "{{ nobody_has_said_it }}"}
    try:
        done = five.run("rollout", "-e", "rollout_max_fail_percentage=50")
    finally:
        five.host_vars["c2"] = five.host_vars["c4"] = {}
    assert done.returncode != 0
    assert re.search(r"failed +c2: [^\n]*\n[^\n]*golden_job_bake_s|failed +c2: [^\n]*\n[^\n]*bake_s", done.stdout), done.stdout
    assert re.search(r"failed +c4: [^\n]*\n[^\n]*'nobody_has_said_it' is undefined", done.stdout), done.stdout
    assert five.jobs("c2") == before
    assert len({five.revision(name) for name in ("c1", "c3", "c5")}) == 1
    assert five.run().returncode == 0


def test_a_rollback_returns_once_marks_the_revision_bad_and_a_rollout_refuses_it_unless_forced(five: Clusters):
    old = {name: five.revision(name) for name in FIVE}
    fresh_image(five)
    assert five.run().returncode == 0
    bad = {name: five.revision(name) for name in FIVE}
    image, five.images["OOB3"] = five.images["OOB3"], ""  # the clusters' history is all that it takes
    back = five.run("rollback")
    assert back.returncode == 0, back.stdout
    assert {name: five.revision(name) for name in FIVE} == old
    again = five.run("rollback")
    five.images["OOB3"] = image
    assert (again.returncode, changed(again.stdout)) == (0, 0), again.stdout
    assert f"to which a rollback has brought it from revision {bad['c1']}" in again.stdout
    assert {name: five.revision(name) for name in FIVE} == old
    refused = five.run()
    assert refused.returncode != 0
    assert f"revision {bad['c1']} is marked bad" in refused.stdout
    assert {name: five.revision(name) for name in FIVE} == old
    forced = five.run("rollout", "-e", "rollout_force=true")
    assert forced.returncode == 0, forced.stdout
    assert {name: five.revision(name) for name in FIVE} == bad


def test_a_hold_is_respected_said_and_lifted(five: Clusters):
    assert five.run("hold", "-e", HOLD, "-e", "cluster=c2").returncode == 0
    assert changed(five.run("hold", "-e", HOLD, "-e", "cluster=c2").stdout) == 0
    old = five.current("c2")["name"]
    fresh_image(five)
    done = five.run("rollout", "-e", "rollout_force=true")
    assert done.returncode == 0, done.stdout
    assert "OOB3 on c2: held by " in done.stdout
    assert "exam week, until Friday" in done.stdout
    assert five.current("c2")["name"] == old
    assert len({five.revision(name) for name in FIVE if name != "c2"}) == 1
    assert five.run("hold", "-e", "state=absent", "-e", "cluster=c2").returncode == 0
    assert five.run().returncode == 0
    assert len({five.revision(name) for name in FIVE}) == 1


def test_check_mode_shows_the_effective_job_against_the_live_one_and_touches_nothing(five: Clusters):
    before = {name: five.jobs(name) for name in FIVE}
    five.host_vars["c3"] = {"golden_job_resources": {"memoryMB": 96}, "golden_job_sku": "K80", "golden_job_secrets": {"key": SECRET}}
    try:
        done = five.run("rollout", "--check", "--diff", "-vvv")
    finally:
        five.host_vars["c3"] = {}
    assert done.returncode == 0, done.stdout
    for line in ("-      memoryMB: 64", "+      memoryMB: 96", "+        skuType: K80", "+secrets:", "OOB3 on c3: submit "):
        assert line in done.stdout, done.stdout
    assert SECRET not in done.stdout + done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    assert {name: five.jobs(name) for name in FIVE} == before


@pytest.mark.parametrize("wrong", ["soon", "-1", "inf"])
def test_a_time_that_is_none_is_refused_by_its_name_in_the_inventory_before_anything_is_touched(five: Clusters, wrong: str):
    before = {name: five.jobs(name) for name in FIVE}
    done = five.run("rollout", "-e", "course=OOB3", "-e", f"golden_job_bake_s={wrong}")
    assert done.returncode != 0
    assert f"The bake_s '{wrong}' (the variable golden_job_bake_s) is not allowed: seconds, 0 or more." in " ".join(done.stdout.split())
    assert {name: five.jobs(name) for name in FIVE} == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("-e", "cluster=c2,c9"), "Unknown cluster c9: give -e cluster=NAME, several with commas, or leave it out for all; known: c1, c2"),
        (("-e", "course=OOB9", "--limit", "c2"), "Unknown course OOB9: give -e course=NAME"),
        (("--limit", "c2"), "This run knows no image of OOB3, as --limit c2 leaves out the courses: give -e cluster=NAME instead"),
    ],
)
def test_what_would_roll_out_nothing_is_refused_in_one_sentence(five: Clusters, options: tuple[str, ...], words: str):
    image, five.images["OOB3"] = five.images["OOB3"], ""
    done = five.run("rollout", *options)
    five.images["OOB3"] = image
    assert done.returncode != 0
    assert words in " ".join(done.stdout.split()), done.stdout
