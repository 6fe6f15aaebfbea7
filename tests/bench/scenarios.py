"""The scenarios of `make bench`: each round, the contenders take turns, and each goes through all of them."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.contenders import Contender, Hand, Ours, Peer, live
from tests.bench.ground import COURSES, ONE, PACE, Ground, patient
from tests.bench.measure import turn
from tests.bench.resources import Sample, run
from tests.clusters import Clusters, clusters
from tests.pusher import Pusher
from tests.support import VENV_BIN, ansible_environment

#: Samples by scenario and contender.
Samples = dict[str, dict[str, list[Sample]]]

FLEETS = (2, 10, 50)


@dataclass(frozen=True)
class Goal:
    """At most so many times a contender's median, `more` seconds more than it, or `seconds` in all."""

    against: str
    ratio: float = 0.0
    more: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True)
class Scenario:
    """`text` is what the table says."""

    text: str
    goals: tuple[Goal, ...] = ()


def _goals(hand: float, peer: float) -> tuple[Goal, ...]:
    return Goal("hand", ratio=hand), Goal("peer", ratio=peer)


SCENARIOS = {
    "cold": Scenario("cold rebuild, to live on two clusters", _goals(0.4, 0.4)),
    "noop": Scenario("nothing changed, one course", (Goal("hand", seconds=4), Goal("peer", ratio=0.5), Goal("empty", ratio=10))),
    "logo": Scenario("logo changed", (Goal("hand", more=6), Goal("peer", ratio=0.6))),
    "notebook": Scenario("one notebook changed", (Goal("hand", more=6), Goal("peer", ratio=0.6))),
    "requirement": Scenario("one requirement changed", _goals(0.3, 0.3)),
    "fresh": Scenario("fresh build server, warm registry", _goals(0.1, 0.1)),
    "four": Scenario("four courses at once, cold", _goals(0.35, 0.4)),
    "four-noop": Scenario("four courses, nothing changed", (Goal("hand", seconds=6), Goal("peer", ratio=0.4))),
    "clusters-2": Scenario("one course to 2 clusters, one wave"),
    "clusters-10": Scenario("one course to 10 clusters, one wave"),
    "clusters-50": Scenario("one course to 50 clusters, one wave", _goals(1.0, 0.3)),
    "status": Scenario("status of 50 clusters"),
}
CONTENDERS = ("hand", "peer", "ours")
EMPTY_PLAY = "- {name: Nothing, hosts: localhost, gather_facts: false, connection: local}\n"


class Rounds:
    """Takes the samples of the scenarios that are wanted, and says each as soon as it is there."""

    def __init__(self, wanted: set[str], rounds: int, keep: Callable[[Samples], None]) -> None:
        """`keep` is called after each round: what an interrupted benchmark has measured is not lost."""
        self.wanted, self.rounds, self.round, self.keep = wanted, rounds, 0, keep
        self.samples: Samples = {}

    def wants(self, *scenarios: str) -> bool:
        return any(one in self.wanted for one in scenarios)

    def __iter__(self) -> Iterator[int]:
        for number in range(self.rounds):
            self.round = number
            yield number
            self.keep(self.samples)

    def take(self, scenario: str, contender: str, action: Callable[[], Sample]) -> None:
        """Run it if it is wanted."""
        if scenario in self.wanted:
            self.add(scenario, contender, action())

    def add(self, scenario: str, contender: str, sample: Sample) -> None:
        self.samples.setdefault(scenario, {}).setdefault(contender, []).append(sample)
        named = {"hand": "by hand", "peer": "peer playbook", "ours": "ours", "empty": "an empty ansible-playbook"}[contender]
        where = f"round {self.round + 1} of {self.rounds}"
        print(
            f"{SCENARIOS[scenario].text}, {named}, {where}: {sample.wall_s:.1f} s, processor {sample.cpu_s:.1f} s, "
            f"{sample.peak_mb:.0f} MB, {sample.sent_mb:.1f} MB sent",
            flush=True,
        )


def run_scenarios(ground: Ground, wanted: set[str], rounds: int, keep: Callable[[Samples], None]) -> None:
    taken = Rounds(wanted, rounds, keep)
    contenders: list[Contender] = [Hand(ground), Peer(ground), Ours(ground)]
    if taken.wants("cold", "noop", "logo", "notebook", "requirement", "fresh", "four", "four-noop"):
        for number in taken:
            for contender in turn(contenders, number):
                _courses(taken, contender)
    if taken.wants("clusters-2", "clusters-10", "clusters-50", "status"):
        with _fifty(ground) as fleet:
            for number in taken:
                for contender in turn(contenders, number):
                    _clusters(taken, contender, fleet)


# ----------------------------------------------------------------------------------------------- images


def _courses(taken: Rounds, contender: Contender) -> None:
    """One after the other, as each begins where the one before it has ended."""
    if taken.wants("cold", "noop", "logo", "notebook", "requirement", "fresh"):
        _one_course(taken, contender)
    if taken.wants("four", "four-noop"):
        _four_courses(taken, contender)


def _one_course(taken: Rounds, contender: Contender) -> None:
    key = contender.key
    if taken.wants("cold", "fresh"):
        contender.fresh()
    if ONE in contender.unbuilt:
        sample = contender.rebuild(ONE)
        if taken.wants("cold"):
            taken.add("cold", key, sample)
        if taken.wants("fresh") and not isinstance(contender, Ours):
            taken.add("fresh", key, sample)  # neither asks the registry, so a fresh server does the same as a cold one
    if key == "ours" and taken.wants("noop"):
        taken.add("noop", "empty", _empty(contender))
    taken.take("noop", key, lambda: contender.rebuild(ONE, changes=False))
    for scenario, change in (
        ("logo", contender.new_logo),
        ("notebook", contender.new_notebook),
        ("requirement", contender.new_requirement),
    ):
        if taken.wants(scenario):
            change(ONE)
            taken.add(scenario, key, contender.rebuild(ONE))
    if isinstance(contender, Ours) and taken.wants("fresh"):
        contender.forget_build_server()
        taken.add("fresh", key, contender.rebuild(ONE, changes=False))


def _empty(contender: Contender) -> Sample:
    """What Ansible takes to start and end, in our version of it."""
    project = contender.ground.project
    play = project / "empty.yml"
    play.write_text(EMPTY_PLAY)
    return run([str(VENV_BIN / "ansible-playbook"), play.name], cwd=project, env=ansible_environment(project))[0]


def _four_courses(taken: Rounds, contender: Contender) -> None:
    key, by_hand = contender.key, isinstance(contender, Hand)
    # By hand they are built one after another, and this round's cold rebuild is the first of them.
    total = taken.samples["cold"][key][taken.round] if by_hand and taken.wants("cold") else None
    if taken.wants("four") and total is None:
        contender.fresh()
    batches = [[course] for course in contender.unbuilt] if by_hand else [contender.unbuilt]
    for batch in filter(None, batches):
        sample = contender.rebuild(*batch)
        total = total + sample if total else sample
    if taken.wants("four") and total:
        taken.add("four", key, total)
    taken.take("four-noop", key, lambda: contender.rebuild(*COURSES, changes=False))


# --------------------------------------------------------------------------------------------- clusters


@contextmanager
def _fifty(ground: Ground) -> Iterator[Clusters]:
    """Clusters without containers; the course's image is in the registry."""
    with (
        tempfile.TemporaryDirectory(prefix="golden-jobs-bench-") as folder,
        clusters(Path(folder) / "fleet", max(FLEETS), **PACE) as fleet,
    ):
        patient(fleet)
        fleet.registry = {"registry_address": ground.registry.address, **ground.registry.login}
        fleet.course_vars["OOB3"] = {"course_image": "bench/rolled-out"}
        yield fleet


def new_image(ground: Ground, fleet: Clusters, number: int) -> None:
    """An image of a few bytes with that number in its tag, which the course is from now on."""
    fleet.image(number)
    pusher = Pusher(ground.registry.address, (ground.registry.username, ground.registry.password))
    pusher.image("bench/rolled-out", fleet.images["OOB3"].rpartition(":")[2], "v1", label=str(number))


def _clusters(taken: Rounds, contender: Contender, fleet: Clusters) -> None:
    every = list(fleet.names)
    for count in FLEETS:
        if taken.wants(f"clusters-{count}") or (count == max(FLEETS) and taken.wants("status") and taken.round == 0):
            fleet.names = every[:count]
            new_image(contender.ground, fleet, 1000 * taken.round + count)
            sample = contender.rollout(fleet, count)
            taken.take(f"clusters-{count}", contender.key, lambda sample=sample: sample)  # type: ignore[misc]
            if any(len(names) != 1 for names in live(fleet, f"{contender.prefix}-OOB3-")):
                sys.exit(f"{contender.name}: not exactly one job on each of {count} clusters")
    fleet.names = every
    taken.take("status", contender.key, lambda: contender.status(fleet))
