"""What a command costs: wall time, processor time, memory, and what it sends to a registry."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_SAMPLE_S = 0.1
#: Sampling takes at most this share of one core: reading the memory of fifty processes takes a while.
_SAMPLE_SHARE = 0.05
_STOP_WITHIN_S = 30


@dataclass(frozen=True)
class Sample:
    """One run. `cpu_s`: user and system time of the command's processes, not of engine, registry and clusters. `peak_mb`: the largest
    sum of their proportional memory (PSS: what processes share is counted once). `sent_mb`: what the registry's blobs grew by."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    sent_mb: float = 0.0

    def __add__(self, other: Sample) -> Sample:
        """The two, one after the other."""
        return Sample(self.wall_s + other.wall_s, self.cpu_s + other.cpu_s, max(self.peak_mb, other.peak_mb), self.sent_mb + other.sent_mb)


def run(argv: Sequence[str], *, cwd: Path, env: dict[str, str], registry: Path | None = None) -> tuple[Sample, str]:
    """Run a command to its end: what it cost, and what it printed. A command that fails ends the benchmark with its output.

    `registry`: folder of the registry's images.
    """
    stored = _stored_bytes(registry)
    with tempfile.TemporaryFile() as output:
        started = time.monotonic()
        # A session of its own: an interrupt reaches all of its processes by us, once.
        process = subprocess.Popen(
            argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        with _Peak(process.pid) as peak:
            try:
                _pid, status, used = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
            except BaseException:
                _stop(process)
                raise
        wall_s = time.monotonic() - started
        output.seek(0)
        said = output.read().decode(errors="replace")
    if process.returncode != 0:
        sys.exit(f"{' '.join(argv)} ended with {process.returncode}:\n{said[-6000:]}")
    sent_mb = (_stored_bytes(registry) - stored) / 1e6
    return Sample(round(wall_s, 3), round(used.ru_utime + used.ru_stime, 3), round(peak.mb, 1), round(sent_mb, 3)), said


def _stop(process: subprocess.Popen[bytes]) -> None:
    """SIGINT first: it lets a build be ended in the engine as well."""
    os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(_STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _stored_bytes(registry: Path | None) -> int:
    if registry is None:
        return 0
    blobs = registry / "docker" / "registry" / "v2" / "blobs"
    return sum(path.stat().st_size for path in blobs.rglob("data"))


class _Peak(threading.Thread):
    """Watches a process and its descendants until the block ends."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid, self._ended = pid, threading.Event()
        self.mb = 0.0

    def __enter__(self) -> _Peak:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        while True:
            began = time.monotonic()
            self.mb = max(self.mb, sum(_memory_kb(pid) for pid in _tree(self._pid)) / 1e3)
            took_s = time.monotonic() - began
            if self._ended.wait(max(_SAMPLE_S, took_s / _SAMPLE_SHARE)):
                return


def _tree(pid: int) -> list[int]:
    found = [pid]
    for one in found:  # grows
        try:
            for task in Path(f"/proc/{one}/task").glob("*/children"):
                found += [int(child) for child in task.read_text().split()]
        except OSError:  # it has ended meanwhile
            continue
    return found


def _memory_kb(pid: int) -> int:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")), 0)
