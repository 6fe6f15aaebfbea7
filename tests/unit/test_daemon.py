"""roles/daemon: a program without an init system, after crashes and reboots as well."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "roles" / "daemon" / "files" / "daemon.sh"


def daemon(action: str, folder: Path, *command: str) -> str:
    return subprocess.run(
        [str(SCRIPT), action, str(folder), "program", *command], check=True, capture_output=True, text=True
    ).stdout.strip()


def pid_of(folder: Path) -> int:
    return int((folder / "program.pid").read_text().split()[1])


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    daemon("stop", tmp_path)


def test_a_second_start_leaves_the_program_alone(folder: Path):
    assert daemon("start", folder, "sleep", "60") == "started"
    pid = pid_of(folder)
    assert daemon("start", folder, "sleep", "60") == "running"
    assert pid_of(folder) == pid


def test_stop_ends_it_and_a_second_stop_finds_nothing(folder: Path):
    daemon("start", folder, "sleep", "60")
    pid = pid_of(folder)
    assert daemon("stop", folder) == "stopped"
    assert not alive(pid)
    assert daemon("stop", folder) == "absent"


def test_restart_starts_another_one(folder: Path):
    daemon("start", folder, "sleep", "60")
    pid = pid_of(folder)
    assert daemon("restart", folder, "sleep", "60") == "started"
    assert pid_of(folder) != pid
    assert not alive(pid)


def test_a_killed_program_is_started_again(folder: Path):
    daemon("start", folder, "sleep", "60")
    kill(pid_of(folder))
    assert daemon("start", folder, "sleep", "60") == "started"


def test_a_stale_pid_that_another_program_has_now_is_neither_believed_nor_killed(folder: Path):
    daemon("start", folder, "sleep", "60")
    pid_file = folder / "program.pid"
    boot, mine, ticks = pid_file.read_text().split()
    kill(int(mine))
    with subprocess.Popen(["sleep", "60"]) as stranger:
        pid_file.write_text(f"{boot} {stranger.pid} {ticks}\n")
        assert daemon("stop", folder) == "absent"
        assert alive(stranger.pid)
        stranger.kill()
