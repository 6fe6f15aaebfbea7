"""The long side of the rollout's promises: killed after each step in turn, two operators at once, every fault and threshold."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.golden_jobs import golden_job

from tests.clusters import Clusters, clusters
from tests.integration.test_rollout import (
    test_a_cluster_in_passing_trouble_gets_its_job_and_only_one as passing_trouble,
)
from tests.support import power_failure

FIVE = ["c1", "c2", "c3", "c4", "c5"]
COMMITTED = {"committed": True, "method": "POST", "path": "/api/v2/jobs"}
#: What the run has just said when it is killed, and for the how manieth time.
STEPS = {
    "submit": (": submitted", 1),
    "RUNNING": (": runs", 1),
    "probe": (": healthy", 1),
    "bake": (": baking", 1),
    "second probe": (": healthy", 2),
    "promote": (": is current", 1),
    "retire": (": stopped", 1),
}


def running(folder: Path, count: int) -> Iterator[Clusters]:
    with clusters(folder, count) as found:
        assert found.run().returncode == 0
        yield found


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clusters]:
    yield from running(tmp_path_factory.mktemp("five"), 5)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clusters]:
    yield from running(tmp_path_factory.mktemp("two"), 2)


def fresh_image(found: Clusters) -> None:
    found.image(int(found.images["OOB3"].rpartition("-")[2], 16) + 1)


@pytest.mark.parametrize(
    "fault",
    [
        {"do": "error", "status": 500, **COMMITTED},
        {"do": "restart", "seconds": 3, "method": "PUT", "path": ".*/tag", "skip": 1},
    ],
    ids=["a submit that is answered with 500", "gone in the middle"],
)
def test_more_passing_trouble(five: Clusters, fault: dict[str, Any]):
    passing_trouble(five, fault)


@pytest.mark.parametrize("since", ["Select the courses", "c3 golden-OOB3-.*: submitted"], ids=["the plan", "the submit"])
def test_a_cluster_that_answers_500_for_a_minute_is_waited_for(five: Clusters, since: str):
    fresh_image(five)
    before = {name: len(five.jobs(name)) for name in FIVE}
    deadlines = '{"golden_job_patience_s": 120, "golden_job_start_timeout_s": 600, "golden_job_probe_timeout_s": 180}'
    with five.start("rollout", "-e", deadlines) as run:
        assert run.stdout is not None
        output, healing = "", None
        for line in run.stdout:
            output += line
            if healing is None and re.search(since, line):
                five.faults("c3", {"do": "error", "status": 500, "times": 0})
                healing = threading.Timer(60, five.faults, ["c3"])
                healing.start()
        assert healing is not None, output
        healed = not healing.is_alive()
        healing.join()
    assert run.returncode == 0, output
    assert healed, "the run has ended before the minute was over"
    assert {name: len(five.jobs(name)) - before[name] for name in FIVE} == dict.fromkeys(FIVE, 1)
    assert len({five.revision(name) for name in FIVE}) == 1


@pytest.mark.parametrize(("threshold", "rest"), [(0, False), (50, True)])
def test_when_one_of_a_later_wave_fails_the_rest_follow_the_threshold(five: Clusters, threshold: int, rest: bool):
    fresh_image(five)
    old = {name: five.current(name)["name"] for name in FIVE}
    five.rules("c3", {"run_s": 0, "exit_code": 3})
    done = five.run("rollout", "-e", '{"rollout_serial": [1, 2, "100%"]}', "-e", f"rollout_max_fail_percentage={threshold}")
    assert done.returncode != 0
    assert [five.current(name)["name"] != old[name] for name in FIVE] == [True, True, False, rest, rest], done.stdout
    five.rules("c3")
    assert five.run().returncode == 0
    assert all(five.current(name)["name"] != old[name] for name in FIVE)


def test_a_rollback_to_a_named_revision_and_to_one_that_never_was(five: Clusters):
    fresh_image(five)
    assert five.run().returncode == 0
    here = five.revision("c1")
    unknown = five.run("rollback", "-e", "revision=00000000", "-e", "cluster=c1")
    assert unknown.returncode != 0
    assert "revision 00000000 never was current here; known: " in unknown.stdout
    revisions = list(dict.fromkeys(job["name"].split("-")[2] for job in five.jobs("c1") if any("promoted" in tag for tag in job["tags"])))
    target = revisions[-1]
    assert target != here
    done = five.run("rollback", "-e", f"revision={target}", "-e", "cluster=c1")
    assert done.returncode == 0, done.stdout
    assert five.revision("c1") == target
    assert five.revision("c2") == here
    assert five.run("rollback", "-e", f"revision={here}", "-e", "rollout_force=true", "-e", "cluster=c1").returncode == 0


@pytest.mark.parametrize("step", STEPS)
def test_a_run_that_is_killed_is_completed_by_the_same_command_with_no_second_job(two: Clusters, step: str):
    fresh_image(two)
    two.vars["golden_job_bake_s"] = 2
    before = {name: len(two.jobs(name)) for name in two.names}
    text, left = STEPS[step]
    with two.start() as run:
        assert run.stdout is not None
        for line in run.stdout:
            left -= text in line
            if left == 0:
                break
        else:
            pytest.fail("the run has ended before it could be killed")
        power_failure(run)
    done = two.run()
    assert done.returncode == 0, done.stdout
    assert {name: len(two.jobs(name)) - before[name] for name in two.names} == dict.fromkeys(two.names, 1)
    assert len({two.revision(name) for name in two.names}) == 1
    assert "changed=0" in two.run("rollout", "-e", "cluster=c1").stdout


@pytest.mark.parametrize("turn", range(20))
def test_two_operators_at_once_end_with_one_of_them_live_and_the_other_told_why(two: Clusters, turn: int):
    two.vars["golden_job_bake_s"] = 0
    same = turn % 4 == 0
    images = [f"r.example:5/a/course:v1-{1000 + 2 * turn + (0 if same else number):012x}" for number in range(2)]
    known = {job["name"].split("-")[2] for job in two.jobs("c1")}
    runs = []
    for name, image in zip(("alice", "bob"), images, strict=True):
        runs.append(two.start("rollout", "-e", "cluster=c1", "-e", f"course_image_reference={image}", "-e", f"golden_job_operator={name}"))
    outputs = [run.communicate(timeout=180)[0] for run in runs]
    codes = [run.returncode for run in runs]
    print(*outputs, codes, sep="\n")  # shown when what follows fails
    assert 0 in codes, outputs
    live = two.current("c1")
    for code, output, other in zip(codes, outputs, reversed(outputs), strict=True):
        if code != 0:
            assert "has started golden-OOB3-" in output or "was given up by another run" in output, output
        elif live["name"] not in output:  # it was live for a moment
            [name] = set(re.findall(r"(golden-OOB3-\S+): is current", output))
            assert f"{name}: stopped" in other, other
    assert [job["name"] for job in two.jobs("c1") if golden_job.is_active(job)] == [live["name"]]
    revisions = {job["name"].split("-")[2] for job in two.jobs("c1")} - known
    assert len(revisions) <= (1 if same else 2)
    assert live["name"].split("-")[2] in revisions
