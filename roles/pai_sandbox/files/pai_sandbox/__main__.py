"""Start sandboxes: ``python -m pai_sandbox --config FILE``, or one with ``--name``, ``--port``, ``--state-dir``, ``--users-file``."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from pathlib import Path

from .config import read_config
from .server import Sandboxes
from .settings import BASIC, OIDC, Settings

_SETTLE_WITHOUT_CONTAINERS_S = 0.02


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pai_sandbox", description=__doc__)
    parser.add_argument("--config", type=Path, help="YAML file with several clusters; no other option then")
    parser.add_argument("--name", help="name of the cluster, part of container names and labels")
    parser.add_argument("--port", type=int, default=Settings.port, help="TCP port on 127.0.0.1")
    parser.add_argument("--state-dir", type=Path, help="folder that keeps everything")
    parser.add_argument("--users-file", type=Path, help="JSON file with the users")
    parser.add_argument("--no-containers", action="store_true", help="tasks run without containers, by the rules")
    parser.add_argument("--cpus", type=int, default=Settings.cpus, help="CPUs of the cluster; jobs that want more wait")
    parser.add_argument("--memory-mb", type=int, default=Settings.memory_mb, help="memory of the cluster; jobs that want more wait")
    parser.add_argument("--gpus", type=int, default=Settings.gpus, help="GPUs of the cluster; jobs that want more wait")
    parser.add_argument("--authn", choices=[BASIC, OIDC], default=Settings.authn, help="OIDC: no login with a password")
    parser.add_argument("--faults", type=Path, help="YAML file with a schedule of faults")
    parser.add_argument("--rules", type=Path, help="YAML file with rules for jobs without containers")
    parser.add_argument("--tls-cert", type=Path, help="certificate file; https instead of http")
    parser.add_argument("--tls-key", type=Path, help="key of the certificate")
    parser.add_argument("--settle-seconds", type=float, help="rest between a request and its effect (0.3, 0.02 without containers)")
    parser.add_argument("--cleanup-seconds", type=float, default=Settings.cleanup_after_s, help="after that STOP of an ended job is a 500")
    parser.add_argument("--login-token-seconds", type=int, default=Settings.login_token_s, help="life of a login token")
    parser.add_argument("--requests-per-minute", type=int, default=Settings.requests_per_minute, help="of one address; 0 is no limit")
    parser.add_argument("--lists-per-minute", type=int, default=Settings.lists_per_minute, help="GET /jobs of one user; 0 is no limit")
    parser.add_argument("--submits-per-hour", type=int, default=Settings.submits_per_hour, help="POST /jobs of one user; 0 is no limit")
    return parser


def _settings(arguments: list[str] | None) -> list[Settings]:
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.config:
        return read_config(given.config)
    if not (given.name and given.state_dir and given.users_file):
        parser.error("--config, or --name, --state-dir and --users-file are needed")
    if bool(given.tls_cert) != bool(given.tls_key):
        parser.error("--tls-cert and --tls-key belong together")
    settle_s = _SETTLE_WITHOUT_CONTAINERS_S if given.no_containers else Settings.settle_s
    one = Settings(
        name=given.name,
        port=given.port,
        state_dir=given.state_dir.resolve(),
        users_file=given.users_file,
        containers=not given.no_containers,
        cpus=given.cpus,
        memory_mb=given.memory_mb,
        gpus=given.gpus,
        authn=given.authn,
        faults_file=given.faults,
        rules_file=given.rules,
        tls_cert=given.tls_cert,
        tls_key=given.tls_key,
        settle_s=settle_s if given.settle_seconds is None else given.settle_seconds,
        cleanup_after_s=given.cleanup_seconds,
        login_token_s=given.login_token_seconds,
        requests_per_minute=given.requests_per_minute,
        lists_per_minute=given.lists_per_minute,
        submits_per_hour=given.submits_per_hour,
    )
    return [one]


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("pai_sandbox").setLevel(logging.INFO)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        with Sandboxes(_settings(arguments)):
            stop.wait()
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
