"""Remove the containers of a sandbox: ``python -m pai_sandbox.remove_containers --name pai-a --state-dir DIR``.

Prints the id of each container that it removed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .engine import Engine, EngineError


def main(arguments: list[str] | None = None) -> int:
    """Remove what carries the labels of this sandbox and state folder, and nothing else."""
    parser = argparse.ArgumentParser(prog="pai_sandbox.remove_containers", description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--state-dir", type=Path, required=True)
    given = parser.parse_args(arguments)
    engine = Engine(given.name, given.state_dir)
    try:
        containers = list(engine.own())
    except EngineError as error:
        # An engine that does not run has no running containers; a second stop must not fail for that.
        sys.stderr.write(f"the engine does not answer: {error}\n")
        return 0
    for container_id in containers:
        engine.remove(container_id)
        sys.stdout.write(f"{container_id}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
