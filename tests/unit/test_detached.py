"""Work that outlives the process that started it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support import ROOT, wait_for

#: A module in miniature: it says that it is there, waits for a file, and answers.
PROGRAM = """
import sys, time, json
from pathlib import Path
import ansible.module_utils
ansible.module_utils.__path__.append(sys.argv[1])
from ansible.module_utils.golden_jobs import runner
folder = Path(sys.argv[2])

class Module:
    params = {"_progress_file": str(folder / "progress")}
    def exit_json(self, **result):
        print(json.dumps(result)); raise SystemExit(0)
    def fail_json(self, **result):
        print(json.dumps(dict(result, failed=True))); raise SystemExit(1)

def work(module, progress):
    with (folder / "runs").open("a") as handle:
        handle.write("run\\n")
    progress.say("begun")
    try:
        while not (folder / "go").exists():
            time.sleep(0.02)
    finally:
        (folder / "cleaned").touch()
    return {"answer": 42}

runner.run(Module(), work)
"""


def start(folder: Path) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", PROGRAM, str(ROOT / "module_utils"), str(folder)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def worker(folder: Path) -> int:
    """The process that does the work, once it has begun."""
    wait_for(lambda: (folder / "progress").exists() and "begun" in (folder / "progress").read_text())
    pid: int = json.loads((folder / "progress").read_text().splitlines()[0])["pid"]
    return pid


def answer(process: subprocess.Popen[str]) -> tuple[int, Any]:
    out, err = process.communicate(timeout=30)
    return process.returncode, json.loads(out) if out else err


def test_the_answer_and_the_exit_code_are_passed_on(tmp_path: Path):
    (tmp_path / "go").touch()
    assert answer(start(tmp_path)) == (0, {"answer": 42})


def test_what_dies_with_the_connection_does_not_take_the_work_along(tmp_path: Path):
    first = start(tmp_path)
    pid = worker(tmp_path)
    first.kill()
    first.wait()
    os.kill(pid, 0)  # still there
    second = start(tmp_path)
    (tmp_path / "go").touch()
    assert answer(second) == (0, {"answer": 42})
    assert (tmp_path / "runs").read_text() == "run\n"


def test_a_hang_up_and_the_signals_that_follow_it_leave_the_work_alone(tmp_path: Path):
    first = start(tmp_path)
    pid = worker(tmp_path)
    first.send_signal(signal.SIGHUP)
    first.send_signal(signal.SIGTERM)
    first.wait(30)
    os.kill(pid, 0)
    (tmp_path / "go").touch()
    wait_for((tmp_path / "progress.result").exists)


def test_an_interrupt_ends_the_work_with_its_clean_up_and_one_sentence(tmp_path: Path):
    first = start(tmp_path)
    worker(tmp_path)
    first.send_signal(signal.SIGINT)
    code, result = answer(first)
    assert code == 1
    assert result["msg"].startswith("Interrupted: ")
    assert (tmp_path / "cleaned").exists()


def test_work_that_is_killed_is_reported(tmp_path: Path):
    first = start(tmp_path)
    os.kill(worker(tmp_path), signal.SIGKILL)
    code, result = answer(first)
    assert code == 1
    assert "was ended by signal 9 before it had a result" in result["msg"]


def test_nobody_else_can_read_what_the_work_writes(tmp_path: Path):
    (tmp_path / "go").touch()
    answer(start(tmp_path))
    assert {oct(path.stat().st_mode & 0o777) for path in tmp_path.glob("progress*")} == {"0o600"}
