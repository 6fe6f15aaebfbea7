"""What one sandbox is told at its start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
BASIC, OIDC = "basic", "OIDC"


@dataclass(frozen=True)
class Node:
    """A worker of the cluster. All nodes are this host; their figures only decide what is started and what waits."""

    name: str
    cpus: int
    memory_mb: int
    gpus: int = 0


@dataclass(frozen=True)
class Storage:
    """A shared folder that jobs may name, as clusters show it: NFS, granted to everybody. Nothing is mounted."""

    name: str
    server: str = "storage.example"
    path: str = "/"
    share: bool = True
    read_only: bool = False
    default: bool = False


@dataclass(frozen=True)
class Settings:
    """Settings of one sandbox.

    A limit of 0 switches that rate limit off. ``settle_s`` is how long a request rests before the cluster acts on it:
    the real server answers from its database before Kubernetes has heard of the job. Without ``nodes`` the cluster has
    one, named like the sandbox, with ``cpus``, ``memory_mb`` and ``gpus``.
    """

    name: str
    state_dir: Path
    users_file: Path
    port: int = 9186
    containers: bool = True
    cpus: int = 1024
    memory_mb: int = 4 * 1024 * 1024
    gpus: int = 0
    nodes: tuple[Node, ...] = ()
    storages: tuple[Storage, ...] = ()
    authn: str = BASIC
    log_manager: bool = True
    faults_file: Path | None = None
    rules_file: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    settle_s: float = 0.3
    poll_s: float = 0.25
    cleanup_after_s: float = 120.0
    refuse_after_s: float = 120.0
    longest_retry_wait_s: float = 30.0
    stop_timeout_s: int = 3
    login_token_s: int = 7 * 24 * 3600
    requests_per_minute: int = 600
    lists_per_minute: int = 120
    submits_per_hour: int = 3600

    @property
    def workers(self) -> tuple[Node, ...]:
        """The nodes of the cluster, never none."""
        return self.nodes or (Node(self.name, self.cpus, self.memory_mb, self.gpus),)
