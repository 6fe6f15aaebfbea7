"""How long a rollout to 50 clusters takes against one to a single cluster, and one with nothing to do against a trivial module.

Starts 50 PAI sandboxes without containers in this process.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench import measure
from tests.bench.measure import command, goal, machine, row, seconds

# ruff: isort: split
# After the import that makes the modules' code importable.
from tests.clusters import Clusters, clusters
from tests.support import ansible_environment

CLUSTERS = 50
ROUNDS = 3
ONE_WAVE = ("-e", '{"rollout_serial": ["100%"]}')


def rollout(found: Clusters, *options: str, changes: bool = True) -> float:
    """Seconds of one rollout, which has to succeed."""
    said: list[str] = []
    elapsed_s = seconds(lambda: said.append(command(found.command("rollout", *ONE_WAVE, *options), env=ansible_environment())))
    if bool(measure.changed(said[0])) != changes:
        sys.exit(f"The rollout did not do what it should:\n{said[0][-3000:]}")
    return elapsed_s


def trivial(found: Clusters) -> float:
    """Seconds of a play of one trivial module on every cluster."""
    play = found.folder / "trivial.yml"
    play.write_text("- {hosts: pai_clusters, gather_facts: false, tasks: [{ansible.builtin.ping: }]}\n")
    return seconds(lambda: command(["ansible-playbook", "-i", str(found.inventory()), str(play)], env=ansible_environment()))


def main() -> None:
    times: dict[str, list[float]] = {"one": [], "wave": [], "nothing": [], "trivial": []}
    with tempfile.TemporaryDirectory() as folder, clusters(Path(folder) / "clusters", CLUSTERS) as found:
        rollout(found)
        for turn in range(ROUNDS):
            found.image(100 + turn)
            times["one"].append(rollout(found, "-e", "cluster=c1"))
            found.image(200 + turn)
            times["wave"].append(rollout(found))
            times["nothing"].append(rollout(found, changes=False))
            times["trivial"].append(trivial(found))
    median = {name: statistics.median(values) for name, values in times.items()}
    print(f"{machine()}, medians of {ROUNDS} rounds")
    row("rollout to one cluster", f"{median['one']:.2f} s")
    row(f"rollout to {CLUSTERS} clusters in one wave", f"{median['wave']:.2f} s")
    row(f"one trivial module on {CLUSTERS} hosts", f"{median['trivial']:.2f} s")
    row(f"rollout to {CLUSTERS} clusters, nothing to do", f"{median['nothing']:.2f} s")
    goal("one wave / one cluster", median["wave"] / median["one"], at_most=3)
    goal("nothing to do / trivial module", median["nothing"] / median["trivial"], at_most=2)


if __name__ == "__main__":
    main()
