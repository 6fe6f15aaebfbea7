"""How long a rebuild with nothing to do takes, against an empty ansible-playbook run, in one run.

Needs the local platform (`make up`) with OOB3 live (`make demo`). Prints a table; exits 1 if the rebuild changed something.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 5
GOAL = 10.0

EMPTY_PLAY = "- {name: Nothing, hosts: localhost, gather_facts: false, connection: local}\n"


def seconds(*argv: str, must_say: str | None = None) -> float:
    """Wall time of one command."""
    started = time.monotonic()
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    elapsed = time.monotonic() - started
    if done.returncode != 0 or (must_say and must_say not in done.stdout):
        sys.exit(f"{' '.join(argv)} did not do what is measured:\n{done.stdout[-2000:]}{done.stderr[-1000:]}")
    if must_say and any(f"changed={count}" in done.stdout for count in range(1, 100)):
        sys.exit("The rebuild had something to do: run it again.")
    return elapsed


def main() -> None:
    empty = ROOT / "reports" / "empty.yml"
    empty.parent.mkdir(exist_ok=True)
    empty.write_text(EMPTY_PLAY)
    rebuild = ["ansible-playbook", "rebuild.yml", "-e", "course=OOB3"]
    floor, noop = [], []
    for _ in range(ROUNDS):  # alternating, so that a noisy machine disturbs both alike
        floor.append(seconds("ansible-playbook", str(empty)))
        noop.append(seconds(*rebuild, must_say="PLAY RECAP"))
    ratio = statistics.median(noop) / statistics.median(floor)
    print(f"{os.cpu_count()} cores, medians of {ROUNDS} alternating rounds")
    print(f"{'empty ansible-playbook':32}{statistics.median(floor):8.2f} s")
    print(f"{'rebuild.yml, nothing changed':32}{statistics.median(noop):8.2f} s")
    print(f"{'ratio':32}{ratio:8.1f}   goal: at most {GOAL:.0f}{'' if ratio <= GOAL else '  MISSED'}")


if __name__ == "__main__":
    main()
