"""Start a sandbox: ``python -m pai_sandbox --name pai-a --port 9186 --state-dir DIR --users-file FILE``."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import uvicorn

from .app import create_app
from .settings import HOST, Settings


def _arguments(arguments: list[str] | None) -> Settings:
    parser = argparse.ArgumentParser(prog="pai_sandbox", description=__doc__)
    parser.add_argument("--name", required=True, help="name of the cluster, part of container names and labels")
    parser.add_argument("--port", type=int, default=Settings.port, help="TCP port on 127.0.0.1")
    parser.add_argument("--state-dir", type=Path, required=True, help="folder that keeps everything")
    parser.add_argument("--users-file", type=Path, required=True, help="JSON file with the users")
    parser.add_argument("--no-containers", action="store_true", help="tasks run without containers")
    parser.add_argument("--gpus", type=int, default=Settings.gpus, help="GPUs of the cluster; jobs that want more wait")
    parser.add_argument("--settle-seconds", type=float, help="rest between a request and its effect (0.3, 0.02 without containers)")
    parser.add_argument("--cleanup-seconds", type=float, default=Settings.cleanup_after_s, help="after that STOP of an ended job is a 500")
    parser.add_argument("--requests-per-minute", type=int, default=Settings.requests_per_minute, help="of one address; 0 is no limit")
    parser.add_argument("--lists-per-minute", type=int, default=Settings.lists_per_minute, help="GET /jobs of one user; 0 is no limit")
    parser.add_argument("--submits-per-hour", type=int, default=Settings.submits_per_hour, help="POST /jobs of one user; 0 is no limit")
    given = parser.parse_args(arguments)
    settle_s = 0.02 if given.no_containers else Settings.settle_s
    return Settings(
        name=given.name,
        port=given.port,
        state_dir=given.state_dir.resolve(),
        users_file=given.users_file,
        containers=not given.no_containers,
        gpus=given.gpus,
        settle_s=settle_s if given.settle_seconds is None else given.settle_seconds,
        cleanup_after_s=given.cleanup_seconds,
        requests_per_minute=given.requests_per_minute,
        lists_per_minute=given.lists_per_minute,
        submits_per_hour=given.submits_per_hour,
    )


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM."""
    settings = _arguments(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("pai_sandbox").setLevel(logging.INFO)
    try:
        app = create_app(settings)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    # The access log of uvicorn is off: a token may stand in a path.
    uvicorn.run(app, host=HOST, port=settings.port, log_config=None, access_log=False, timeout_graceful_shutdown=2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
