"""What one sandbox is told at its start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Settings:
    """Settings of one sandbox.

    A limit of 0 switches that rate limit off. ``settle_s`` is how long a request rests before the cluster acts on it:
    the real server answers from its database before Kubernetes has heard of the job.
    """

    name: str
    state_dir: Path
    users_file: Path
    port: int = 9186
    containers: bool = True
    gpus: int = 0
    settle_s: float = 0.3
    poll_s: float = 0.25
    cleanup_after_s: float = 120.0
    stop_timeout_s: int = 3
    requests_per_minute: int = 600
    lists_per_minute: int = 120
    submits_per_hour: int = 3600
