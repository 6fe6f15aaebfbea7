"""Work that is shared among forked processes."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from ansible.module_utils.golden_jobs.shares import shared

from tests.support import wait_for


@pytest.mark.parametrize("count", [0, 1, 2, 7])
@pytest.mark.parametrize("most", [1, 2, 3, 10])
def test_results_are_in_the_items_order_whoever_made_them(count: int, most: int):
    def work(part: Sequence[int]) -> list[tuple[int, int]]:
        return [(item * item, os.getpid()) for item in part]

    found = shared(work, list(range(count)), most)
    assert [result for result, _pid in found] == [item * item for item in range(count)]
    assert len({pid for _result, pid in found}) == min(count, most)


@pytest.mark.parametrize("bad", [0, 1])
def test_an_error_in_a_share_is_one_here_and_no_process_stays(bad: int, tmp_path: Path):
    def work(part: Sequence[int]) -> list[int]:
        if bad in part:
            raise ValueError("out of luck")
        (tmp_path / "other").write_text(str(os.getpid()))
        return list(part)

    with pytest.raises((ValueError, RuntimeError), match="out of luck"):
        shared(work, [0, 1], 2)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_killed_share_is_said():
    parent = os.getpid()

    def work(part: Sequence[int]) -> list[int]:
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        return list(part)

    with pytest.raises(RuntimeError, match="it was killed"):
        shared(work, [0, 1], 2)


def test_an_interrupt_waits_for_no_share(tmp_path: Path):
    parent = os.getpid()

    def work(part: Sequence[int]) -> list[int]:
        if os.getpid() != parent:
            (tmp_path / "pid").write_text(str(os.getpid()))
        time.sleep(600)
        return list(part)

    def interrupt() -> None:
        wait_for((tmp_path / "pid").exists)
        os.kill(parent, signal.SIGINT)

    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            shared(work, [0, 1], 2)
        thread.join()
    finally:
        signal.signal(signal.SIGINT, former)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
