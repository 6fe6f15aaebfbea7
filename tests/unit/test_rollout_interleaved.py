"""Two runs of a rollout on one cluster, call by call in a random but repeatable order, some of them cut off in the middle.

The steps are the real ones. The cluster is a dictionary, because only so every call of one run can be put between any two calls
of the other; the same races with real processes and PAI sandboxes are in `tests/scenarios/test_rollout.py`.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.golden_jobs import golden_job, pai_wait
from ansible.module_utils.golden_jobs.errors import GoldenJobsError
from ansible.module_utils.golden_jobs.golden_rollout import Rollout
from ansible.module_utils.golden_jobs.pai_client import PaiError

from tests.clusters import JOB

STEPS = ("submit", "prove", "take_over")
#: Schedules per combination.
SCHEDULES = 40


class Killed(BaseException):
    """The run ends here, as after a SIGKILL."""


class Turns:
    """Lets one of the threads make its next call, when all of them are about to make one."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._condition = threading.Condition()
        self._alive: set[int] = set()
        self._ready: set[int] = set()
        self._next: int | None = None

    def enter(self, names: list[int]) -> None:
        self._alive.update(names)

    def wait(self, name: int) -> None:
        with self._condition:
            self._ready.add(name)
            self._choose()
            self._condition.wait_for(lambda: self._next == name)
            self._ready.discard(name)
            self._next = None

    def leave(self, name: int) -> None:
        with self._condition:
            self._alive.discard(name)
            self._choose()

    def _choose(self) -> None:
        if self._alive and self._ready == self._alive:
            self._next = self.random.choice(sorted(self._ready))
            self._condition.notify_all()


class Memory:
    """A cluster with one user. A job runs when it is looked at for the second time, or ends then when its image is `broken`."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.clock = itertools.count(1)
        self.broken: set[str] = set()
        self.gaps: list[str] = []
        self._had_one = False

    def live(self) -> list[str]:
        return [name for name, job in self.jobs.items() if golden_job.is_active(job) and golden_job.TAG_CURRENT in job["tags"]]

    def active(self) -> list[str]:
        return [name for name, job in self.jobs.items() if golden_job.is_active(job)]

    def check(self, call: str) -> None:
        answers = [name for name in self.live() if self.jobs[name]["state"] == "RUNNING"]
        self._had_one = self._had_one or bool(answers)
        if self._had_one and not answers:
            self.gaps.append(call)


class Client:
    """What `PaiClient` does, for one run; `before` is called before each call."""

    user, address = "op", "memory"

    def __init__(self, cluster: Memory, before: Callable[[], None]) -> None:
        self.cluster, self.before = cluster, before

    @contextlib.contextmanager
    def call(self, what: str) -> Iterator[dict[str, dict[str, Any]]]:
        self.before()
        yield self.cluster.jobs
        self.cluster.check(what)

    def close(self) -> None:
        pass

    def whoami(self) -> dict[str, Any]:
        return {}

    def require_virtual_cluster(self, name: str) -> None:
        pass

    def warnings(self, _name: str) -> list[dict[str, Any]]:
        return []

    def log_tail(self, _path: str) -> list[str]:
        return []

    def list_jobs(self, **filters: Any) -> tuple[list[dict[str, Any]], int]:
        with self.call("list") as jobs:
            wanted = filters.get("tagsContain")
            found = [{**job, "tags": list(job["tags"])} for job in jobs.values() if not wanted or set(wanted) & set(job["tags"])]
            return found, len(found)

    def get_job(self, name: str, *, once: bool = False) -> dict[str, Any] | None:
        with self.call(f"look at {name}") as jobs:
            job = jobs.get(name)
            if job is None:
                return None
            if job["state"] == "WAITING":
                job["looks"] += 1
                if job["looks"] > 1:
                    job["state"] = "FAILED" if job["image"] in self.cluster.broken else "RUNNING"
            elif job["state"] == "STOPPING":
                job["state"] = "STOPPED"
            status = {"state": job["state"], "executionType": job["executionType"]}
            tasks = [{"taskIndex": 0, "taskState": job["state"], "containerIp": "10.0.0.1", "containerPorts": {"http": "80"}}]
            return {"name": name, "jobStatus": status, "taskRoles": {"web": {"taskStatuses": tasks}}, "tags": list(job["tags"])}

    def get_config(self, name: str) -> dict[str, Any] | None:
        with self.call(f"config of {name}") as jobs:
            return jobs[name]["config"] if name in jobs else None

    def post_job(self, text: str) -> None:
        config = yaml.safe_load(text)
        with self.call(f"submit {config['name']}") as jobs:
            if config["name"] in jobs:
                raise PaiError("taken", status=409)
            at = next(self.cluster.clock)
            jobs[config["name"]] = {
                **{"name": config["name"], "username": "op", "state": "WAITING", "executionType": "START", "tags": []},
                **{"submissionTime": at, "looks": 0, "config": config, "image": config["prerequisites"][0]["uri"]},
            }

    def stop(self, name: str) -> None:
        with self.call(f"stop {name}") as jobs:
            jobs[name]["executionType"] = "STOP"
            if not golden_job.is_final(jobs[name]):
                jobs[name]["state"] = "STOPPING"

    def add_tag(self, name: str, tag: str) -> None:
        with self.call(f"tag {name} {tag}") as jobs:
            if tag not in jobs[name]["tags"]:
                jobs[name]["tags"].append(tag)

    def remove_tag(self, name: str, tag: str) -> None:
        with self.call(f"untag {name} {tag}") as jobs:
            if tag in jobs[name]["tags"]:
                jobs[name]["tags"].remove(tag)


class Operators:
    """Runs rollouts to numbered images on one `Memory`."""

    def __init__(self, template: Path, effective: dict[int, Any]) -> None:
        self.cluster = Memory()
        self.template, self.effective = template, effective

    def course(self, image: int) -> dict[str, Any]:
        return {"name": "OOB3", "template": str(self.template), "image": f"r:5/a/b:v1-{image:012x}", "registry": {"address": "r:5"}}

    def rollout(self, who: str, image: int, before: Callable[[], None] = lambda: None) -> str:
        """The failure, empty for none; `killed` when `before` has ended it."""
        options = {
            "connection": {"address": "http://memory", "token": "x"},
            "courses": [self.course(image)],
            "operator": who,
            **{"bake_s": 0.0, "probe_timeout_s": 1.0, "start_timeout_s": 5.0, "patience_s": 1.0},
        }
        work = Rollout(options, lambda _text: None)
        work.client = Client(self.cluster, before)  # type: ignore[assignment]
        work._effective = lambda _course: self.effective[image]  # type: ignore[method-assign]
        plans: list[dict[str, Any]] = []
        try:
            plans = [one for one in work.plan() if one["candidate"]]
            for step in STEPS if plans else ():
                plans = getattr(work, step)(plans)
        except Killed:
            return "killed"
        except GoldenJobsError as error:
            try:
                return " ".join([str(error), *work.undo(plans, str(error))])
            except Killed:
                return "killed"
        return ""

    def together(self, seed: int, images: list[int], killed_at: dict[int, int] | None = None) -> list[str]:
        """Both at once; `killed_at`: number of the operator to the call before which it dies."""
        turns, results = Turns(seed), [""] * len(images)
        turns.enter(list(range(len(images))))

        def work(number: int) -> None:
            calls = itertools.count()

            def before() -> None:
                turns.wait(number)
                if next(calls) == (killed_at or {}).get(number):
                    raise Killed

            try:
                results[number] = self.rollout(f"operator{number}", images[number], before)
            finally:
                turns.leave(number)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(len(images))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    def revision(self, name: str) -> str:
        return str((golden_job.parse_name(name) or {})["revision"])


@pytest.fixture(scope="module")
def effective(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[int, Any]]:
    template = tmp_path_factory.mktemp("template") / "job.yaml"
    template.write_text(JOB.replace("COMMAND", "serve"))
    made = {}
    for image in range(5):
        work = Rollout({"connection": {"address": "http://memory", "token": "x"}}, lambda _text: None)
        course = {"name": "OOB3", "template": str(template), "image": f"r:5/a/b:v1-{image:012x}", "registry": {"address": "r:5"}}
        made[image] = work._effective(course)
    return template, made


@pytest.fixture
def operators(effective: tuple[Path, dict[int, Any]], monkeypatch: pytest.MonkeyPatch) -> Callable[[], Operators]:
    monkeypatch.setattr(pai_wait, "SETTLE_S", 0.0)
    monkeypatch.setattr(time, "sleep", lambda _s: None)
    return lambda: Operators(*effective)


def start(operators: Callable[[], Operators]) -> Operators:
    """A cluster on which image 0 was live and image 1 is."""
    found = operators()
    assert found.rollout("first", 0) == ""
    assert found.rollout("first", 1) == ""
    return found


def alone(found: Operators) -> str:
    """The one Golden Job: active, tagged, and nothing else is either."""
    jobs = found.cluster.jobs
    [name] = found.cluster.active()
    assert [other for other, job in jobs.items() if golden_job.TAG_CURRENT in job["tags"]] == [name], jobs
    return name


#: What the two want; 1 is live at the start.
PAIRS = {"the same": [2, 2], "two others": [2, 3], "one wants what is live": [1, 2], "back and forth": [0, 2]}


@pytest.mark.parametrize("pair", PAIRS)
def test_in_whatever_order_two_runs_call_one_of_them_is_live_in_the_end_and_none_is_missing_on_the_way(
    operators: Callable[[], Operators], pair: str
):
    for seed in range(SCHEDULES):
        found = start(operators)
        results = found.together(seed, PAIRS[pair])
        name = alone(found)
        assert found.cluster.gaps == [], seed
        assert found.revision(name) in {found.effective[image]["revision"] for image in PAIRS[pair]}, (seed, results)
        assert "" in results, (seed, results)
        for image, result in zip(PAIRS[pair], results, strict=True):
            assert result == "" or "has started golden-OOB3-" in result or "was given up by another run" in result, (seed, image, result)


@pytest.mark.parametrize("pair", PAIRS)
def test_in_whatever_order_they_call_and_wherever_they_die_another_run_leaves_one(operators: Callable[[], Operators], pair: str):
    for seed in range(SCHEDULES):
        found = start(operators)
        chance = random.Random(seed)
        killed_at = {number: chance.randrange(45) for number in chance.choice([[0], [1], [0, 1]])}
        found.together(seed, PAIRS[pair], killed_at)
        assert found.cluster.gaps == [], (seed, killed_at)
        last = chance.choice(PAIRS[pair])
        assert found.rollout("last", last) == "", (seed, killed_at)
        assert found.revision(alone(found)) == found.effective[last]["revision"]
        assert found.cluster.gaps == [], (seed, killed_at)


@pytest.mark.parametrize("images", [[2, 2], [2, 3], [3, 2]])
def test_one_whose_image_is_broken_never_takes_the_live_one_with_it(operators: Callable[[], Operators], images: list[int]):
    for seed in range(SCHEDULES):
        found = start(operators)
        found.cluster.broken = {found.course(2)["image"]}
        before = found.cluster.live()
        found.together(seed, images)
        assert found.cluster.gaps == [], seed
        assert found.rollout("last", 3) == "", seed
        assert found.revision(alone(found)) == found.effective[3]["revision"], (seed, before)


def test_a_shared_job_that_one_run_gives_up_while_the_other_promotes_it_is_never_the_only_one(
    operators: Callable[[], Operators], monkeypatch: pytest.MonkeyPatch
):
    """One of two runs that share a job cannot reach it and undoes; the other finds it healthy."""
    probed = Rollout.probe

    def unlucky(self: Rollout, plans: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if self.options["operator"] == "operator1":
            raise GoldenJobsError("it cannot be asked from here")
        return probed(self, plans)

    monkeypatch.setattr(Rollout, "probe", unlucky)
    for seed in range(2 * SCHEDULES):
        found = start(operators)
        found.together(seed, [2, 2])
        assert found.cluster.gaps == [], seed
        assert found.rollout("last", 2) == "", seed
        alone(found)
        assert found.cluster.gaps == [], seed


def test_the_model_shows_a_gap_when_there_is_one(operators: Callable[[], Operators]):
    found = start(operators)
    Client(found.cluster, lambda: None).stop(found.cluster.live()[0])
    assert found.cluster.gaps != []
