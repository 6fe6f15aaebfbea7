"""How long a rollout to 50 clusters takes against one to a single cluster, and one with nothing to do against a trivial module.

Starts 50 PAI sandboxes without containers in this process. Prints a table; exits 1 if a goal is missed.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ansible.module_utils

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
ansible.module_utils.__path__.append(str(ROOT / "module_utils"))

from tests.clusters import Clusters, clusters  # noqa: E402
from tests.support import ansible_environment  # noqa: E402

CLUSTERS = 50
ROUNDS = 3
GOAL_WAVE, GOAL_NOTHING = 3.0, 2.0
ONE_WAVE = ("-e", '{"rollout_serial": ["100%"]}')


def timed(found: Clusters, *options: str) -> float:
    """Seconds of one rollout, which has to succeed."""
    started = time.monotonic()
    done = found.run("rollout", *options, timeout_s=900)
    elapsed = time.monotonic() - started
    if done.returncode != 0:
        sys.exit(f"The rollout failed:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
    return elapsed


def floor(found: Clusters) -> float:
    """Seconds of a play of one trivial module on every cluster."""
    play = found.folder / "floor.yml"
    play.write_text("- {hosts: pai_clusters, gather_facts: false, tasks: [{ansible.builtin.ping: }]}\n")
    argv = ["ansible-playbook", "-i", str(found.inventory()), str(play)]
    started = time.monotonic()
    subprocess.run(argv, cwd=ROOT, env=ansible_environment(), check=True, capture_output=True)
    return time.monotonic() - started


def main() -> None:
    one, wave, nothing, trivial = [], [], [], []
    with tempfile.TemporaryDirectory() as folder, clusters(Path(folder) / "clusters", CLUSTERS) as found:
        timed(found, *ONE_WAVE)
        for turn in range(ROUNDS):
            found.image(100 + turn)
            one.append(timed(found, *ONE_WAVE, "--limit", "c1"))
            found.image(200 + turn)
            wave.append(timed(found, *ONE_WAVE))
            nothing.append(timed(found, *ONE_WAVE))
            trivial.append(floor(found))
    rows = [
        ("rollout to one cluster", one),
        (f"rollout to {CLUSTERS} clusters in one wave", wave),
        (f"one trivial module on {CLUSTERS} hosts", trivial),
        (f"rollout to {CLUSTERS} clusters, nothing to do", nothing),
    ]
    print(f"{os.cpu_count()} cores, medians of {ROUNDS} rounds")
    for name, values in rows:
        print(f"{name:44}{statistics.median(values):8.2f} s")
    missed = False
    for name, value, goal in (
        ("one wave / one cluster", statistics.median(wave) / statistics.median(one), GOAL_WAVE),
        ("nothing to do / trivial module", statistics.median(nothing) / statistics.median(trivial), GOAL_NOTHING),
    ):
        missed = missed or value > goal
        print(f"{name:44}{value:8.1f}   goal: at most {goal:.0f}{'' if value <= goal else '  MISSED'}")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
