"""How long a rebuild with nothing to do takes, against an empty ansible-playbook run, in one run.

Needs the local platform (`make up`) with OOB3 live (`make demo`). Prints a table; exits 1 if the rebuild changed something.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench.measure import ROOT, changed, command, goal, machine, medians, row, seconds, take_turns

ROUNDS = 5
GOAL = 10.0

EMPTY_PLAY = "- {name: Nothing, hosts: localhost, gather_facts: false, connection: local}\n"


def rebuild() -> None:
    """Ends the benchmark if there was something to do."""
    output = command(["ansible-playbook", "rebuild.yml", "-e", "course=OOB3"])
    if "PLAY RECAP" not in output or changed(output):
        sys.exit("The rebuild had something to do: run it again.")


def measure() -> dict[str, Any]:
    """Medians in seconds and their ratio."""
    empty = ROOT / "reports" / "empty.yml"
    empty.parent.mkdir(exist_ok=True)
    empty.write_text(EMPTY_PLAY)
    times = take_turns(
        {
            "empty_s": lambda _round: seconds(lambda: command(["ansible-playbook", str(empty)])),
            "noop_s": lambda _round: seconds(rebuild),
        },
        ROUNDS,
    )
    took = medians(times)
    return {**took, "ratio": took["noop_s"] / took["empty_s"]}


def main() -> None:
    result = measure()
    print(machine())
    row(f"empty ansible-playbook, median of {ROUNDS}", f"{result['empty_s']:.2f} s")
    row("rebuild.yml, nothing changed", f"{result['noop_s']:.2f} s")
    goal("ratio", result["ratio"], at_most=GOAL)


if __name__ == "__main__":
    main()
