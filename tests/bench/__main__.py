"""`make bench`: what a rebuild and a rollout cost, beside a script by hand and beside a peer's playbook.

Needs the local platform (`make up`). Writes docs/bench/ and the tables of the README; with `--only`, what is not run keeps its figures.
"""

from __future__ import annotations

import argparse
import time

from tests.bench import chart, growth, measure, results
from tests.bench.ground import ground
from tests.bench.scenarios import SCENARIOS, Samples, run_scenarios

PARTS = (*SCENARIOS, "growth-courses", "growth-clusters")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", default="", help=f"names with commas, of {', '.join(PARTS)}; `four` stands for four and four-noop")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    wanted = _wanted(parser, options.only)
    measure.clean_up_when_terminated()
    started = time.monotonic()
    print(measure.machine(), flush=True)
    found = results.load()

    def keep(samples: Samples) -> None:
        results.add_scenarios(found, samples)
        results.save(found)

    with ground() as here:
        run_scenarios(here, wanted, options.rounds, keep)
        if "growth-courses" in wanted:
            results.add_growth(found, "courses", growth.courses(here, min(options.rounds, growth.ROUNDS)))
            results.save(found)
        if "growth-clusters" in wanted:
            results.add_growth(found, "clusters", growth.fleets(min(options.rounds, growth.ROUNDS)))
    results.save(found)
    chart.draw(found)
    tables = results.markdown(found)
    results.write_readme(tables)
    print(f"\n{tables}\n\nThis took {(time.monotonic() - started) / 60:.0f} minutes.")


def _wanted(parser: argparse.ArgumentParser, only: str) -> set[str]:
    names = [name.strip() for name in only.split(",") if name.strip()]
    found = {part for part in PARTS if not names or any(part == name or part.startswith(f"{name}-") for name in names)}
    unknown = [name for name in names if not any(part == name or part.startswith(f"{name}-") for part in PARTS)]
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(PARTS)}")
    return found


if __name__ == "__main__":
    main()
