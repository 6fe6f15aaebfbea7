"""Locks of a build server: whose they are, who waits, and how they end when their holder does not."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.golden_jobs import build_turn, engine_lock, progress, run_lock
from ansible.module_utils.golden_jobs.errors import GoldenJobsError
from ansible.module_utils.golden_jobs.process_identity import identity
from ansible.module_utils.golden_jobs.progress import Progress, Waiting

from tests.support import wait_for


def sleeping() -> subprocess.Popen[bytes]:
    """A process that stands for an ansible-playbook."""
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])


def options(path: Path, run: subprocess.Popen[bytes] | str, by: str, wait_s: int = 0) -> dict[str, Any]:
    named = run if isinstance(run, str) else identity(run.pid)
    return {"lock": str(path), "lock_wait_s": wait_s, "_run": {"identity": named, "by": by}}


def work(params: dict[str, Any], *, last: bool = False) -> None:
    with run_lock.held(params, Progress(None), lambda: last):
        pass


@pytest.fixture
def runs():
    started = [sleeping(), sleeping()]
    yield started
    for process in started:
        process.kill()
        process.wait()


def test_a_run_keeps_the_lock_between_its_modules_and_another_is_told_whose_it_is(tmp_path: Path, runs: list[Any]):
    lock = tmp_path / "OOB3" / "lock"
    alice, bob = options(lock, runs[0], "alice@one"), options(lock, runs[1], "bob@two")
    work(alice)
    work(alice)
    with pytest.raises(
        GoldenJobsError, match=r"^alice@one has been working on this course on this build server since \d\d:\d\d: run this again"
    ):
        work(bob)
    work(alice, last=True)
    work(bob)


def test_a_failed_module_ends_the_lock(tmp_path: Path, runs: list[Any]):
    lock = tmp_path / "lock"
    with pytest.raises(RuntimeError), run_lock.held(options(lock, runs[0], "alice@one"), Progress(None), lambda: False):
        raise RuntimeError
    work(options(lock, runs[1], "bob@two"))


class Courses:
    """Courses of one build server: each in a thread with a lock and, for as long as it is told to, a turn."""

    def __init__(self, folder: Path, run: subprocess.Popen[bytes]) -> None:
        self.begun: list[str] = []
        self._folder = folder
        self._run = run
        self._goes_on: dict[str, threading.Event] = {}
        self._threads: list[threading.Thread] = []

    def took(self, name: str, seconds: float) -> None:
        (self._folder / name).mkdir(exist_ok=True)
        (self._folder / name / "lock.took").write_text(str(seconds))

    def ask(self, name: str, *, build: bool = True) -> None:
        """Take the lock; then, where it has to be built, wait for a turn. It lasts until `end`."""
        self._goes_on[name] = threading.Event()
        has_lock = threading.Event()

        def run() -> None:
            with run_lock.held(options(self._folder / name / "lock", self._run, "alice@one"), Progress(None), lambda: True):
                has_lock.set()
                if build:
                    turn = str(self._folder / name / "lock")
                    build_turn.take(turn, identity(self._run.pid), run_lock.holder, 600, lambda text: None, at_once=2)
                    self.begun.append(name)
                self._goes_on[name].wait(30)

        self._threads.append(threading.Thread(target=run, daemon=True))
        self._threads[-1].start()
        assert has_lock.wait(10)

    def end(self, *names: str) -> None:
        for name in names or self._goes_on:
            self._goes_on[name].set()
        if not names:
            for thread in self._threads:
                thread.join(30)


def test_two_courses_at_a_time_have_their_turn_on_two_processors_the_longest_at_once_and_beside_it_the_shortest_first(
    tmp_path: Path, runs: list[Any]
):
    courses = Courses(tmp_path, runs[0])
    for name, seconds in (("short", 5), ("middle", 50), ("long", 500), ("longest", 600)):
        courses.took(name, seconds)
    courses.ask("context", build=False)
    courses.ask("context too", build=False)
    for name in ("short", "middle", "long", "longest"):
        courses.ask(name)
    wait_for(lambda: len(courses.begun) == 1, 10)  # nobody knows how long those take that are undecided: one of them may be the longest
    courses.took("context", 1)
    courses.took("context too", 2)
    wait_for(lambda: len(courses.begun) == 2, 10)
    courses.end("context", "context too")
    courses.end("short")
    wait_for(lambda: len(courses.begun) == 3, 10)
    courses.end("longest")
    wait_for(lambda: len(courses.begun) == 4, 10)
    assert courses.begun == ["short", "longest", "middle", "long"]
    courses.end()
    assert float((tmp_path / "long" / "lock.took").read_text()) < 60
    assert not list(tmp_path.glob("*/lock.turn"))


def test_a_course_alone_waits_for_nobody_and_a_dead_run_has_no_turn(tmp_path: Path, runs: list[Any]):
    dead = Courses(tmp_path, runs[1])
    dead.ask("one")
    dead.ask("other")
    wait_for(lambda: len(dead.begun) == 2, 10)
    for name in ("one", "other"):  # as SIGKILL leaves them: the files are there, nobody holds them
        for file in ("lock", "lock.turn"):
            (tmp_path / f"{name}.{file}").write_bytes((tmp_path / name / file).read_bytes())
    dead.end()
    for name in ("one", "other"):
        for file in ("lock", "lock.turn"):
            (tmp_path / f"{name}.{file}").rename(tmp_path / name / file)
    runs[1].kill()
    runs[1].wait()
    courses = Courses(tmp_path, runs[0])
    courses.ask("new")
    wait_for(lambda: courses.begun == ["new"], 5)
    courses.end()


@pytest.mark.parametrize("broken", ["[1]", "{", '{"begun": "long ago"}'])
def test_a_turn_that_cannot_be_read_counts_for_nothing(tmp_path: Path, runs: list[Any], broken: str):
    courses = Courses(tmp_path, runs[0])
    courses.ask("broken")
    wait_for(lambda: courses.begun == ["broken"], 10)
    (tmp_path / "broken" / "lock.turn").write_text(broken)
    courses.ask("new")
    wait_for(lambda: courses.begun == ["broken", "new"], 10)
    courses.end()
    assert not (tmp_path / "broken" / "lock").exists()
    assert not (tmp_path / "broken" / "lock.took").exists()


def test_the_lock_of_a_dead_run_is_free_at_once(tmp_path: Path, runs: list[Any]):
    lock = tmp_path / "lock"
    work(options(lock, runs[0], "alice@one"))
    runs[0].send_signal(signal.SIGKILL)
    runs[0].wait()
    work(options(lock, runs[1], "bob@two"))


def test_the_lock_of_a_run_elsewhere_is_free_when_nothing_was_heard_of_it_for_two_minutes(tmp_path: Path, runs: list[Any]):
    lock = tmp_path / "lock"
    elsewhere = "another-boot pid:[1] 77 1"
    work(options(lock, elsewhere, "alice@one"))
    with pytest.raises(GoldenJobsError):
        work(options(lock, runs[1], "bob@two"))
    record = json.loads(lock.read_text())
    lock.write_text(json.dumps({**record, "seen": time.time() - run_lock.LEASE_S - 1}))
    work(options(lock, runs[1], "bob@two"))


def _works_for_ever(params: dict[str, Any], here: str) -> None:
    with run_lock.held(params, Progress(None), lambda: False):
        Path(here).touch()
        time.sleep(600)


def test_a_module_that_outlives_its_run_holds_the_lock_until_it_is_dead_too(tmp_path: Path, runs: list[Any]):
    lock = tmp_path / "lock"
    here = tmp_path / "here"
    worker = multiprocessing.get_context("fork").Process(target=_works_for_ever, args=(options(lock, runs[0], "alice@one"), str(here)))
    worker.start()
    wait_for(here.exists)
    runs[0].kill()
    runs[0].wait()
    with pytest.raises(GoldenJobsError, match="alice@one"):
        work(options(lock, runs[1], "bob@two"))
    os.kill(worker.pid or 0, signal.SIGKILL)
    worker.join()
    work(options(lock, runs[1], "bob@two"))


def test_a_second_run_waits_and_says_so(tmp_path: Path, runs: list[Any]):
    lock = tmp_path / "lock"
    here = tmp_path / "here"
    worker = multiprocessing.get_context("fork").Process(target=_works_for_ever, args=(options(lock, runs[0], "alice@one"), str(here)))
    worker.start()
    wait_for(here.exists)
    events = tmp_path / "events"

    def end() -> None:
        wait_for(lambda: events.exists() and "waiting for the run of alice@one" in events.read_text())
        runs[0].kill()
        runs[0].wait()
        os.kill(worker.pid or 0, signal.SIGKILL)

    ending = threading.Thread(target=end)
    ending.start()
    with run_lock.held(options(lock, runs[1], "bob@two", wait_s=60), Progress(str(events)), lambda: True):
        pass
    ending.join()
    worker.join()


def test_a_broken_lock_file_is_nobodys(tmp_path: Path, runs: list[Any]):
    (tmp_path / "lock").write_text("{")
    work(options(tmp_path / "lock", runs[0], "alice@one"))


def test_builds_share_the_engine_and_a_restart_waits_for_them(tmp_path: Path):
    path = str(tmp_path / "engine")
    said: list[str] = []
    with (
        engine_lock.building(path),
        engine_lock.building(path),
        pytest.raises(GoldenJobsError, match="A build has been running here"),
        engine_lock.alone(0.3, path, said.append),
    ):
        raise AssertionError("must not be reached")
    assert re.match(r"waiting for builds to end … 0\.[0-4] s", said[0])
    with engine_lock.alone(0, path):
        pass


def test_a_wait_is_said_at_once_and_then_every_ten_seconds(monkeypatch: pytest.MonkeyPatch):
    clock = itertools.count(100.0, 4.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    said: list[str] = []
    waiting = Waiting(said.append)
    for _turn in range(8):  # after 4, 8 … 32 s
        waiting.goes_on("waiting for somebody")
    assert said == [f"waiting for somebody … {time}" for time in ("4.0 s", "16 s", "28 s")]
