"""docker_build when something goes away in the middle: the connection, the operator, the engine, the disk's space."""

from __future__ import annotations

import re
import signal
import tempfile
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.image_modules import LOCAL, Play
from tests.private_engine import PrivateEngine, small_root
from tests.sshd import Sshd
from tests.support import run_module, static_busybox, wait_for

BUILDERS = ("buildkit", "classic")


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    running = Sshd.start(tmp_path_factory.mktemp("sshd"))
    yield running
    running.stop()


def running(argument: str) -> bool:
    """Whether a process on this machine, in whatever container, was started with that argument."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if argument.encode() in words:
            return True
    return False


def progress_files(words: str) -> list[Path]:
    """Progress files, of whichever module, that hold these words."""
    return [path for path in Path("/tmp").glob(".golden-jobs-progress-*") if path.is_file() and words in path.read_text(errors="replace")]


@pytest.fixture
def endless(course: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """A course whose build does not end by itself, and the argument of the process that it runs."""
    number = f"{uuid.uuid4().int % 10**8 + 10**6}"
    dockerfile = Path(course["context"]) / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text() + f"RUN sleep {number}\n")
    return course, number


@pytest.mark.parametrize("builder", BUILDERS)
@pytest.mark.parametrize("over", ["local", "ssh"])
def test_ctrl_c_ends_the_build_on_the_server_too(
    endless: tuple[dict[str, Any], str], builder: str, over: str, tmp_path: Path, sshd: Sshd, engine: Any
):
    course, number = endless
    play = Play(tmp_path, "docker_build", {**course, "builder": builder}, inventory=LOCAL if over == "local" else sshd.inventory())
    wait_for(lambda: running(number), 60)
    play.wait_for_line(f"RUN sleep {number} …")
    play.process.send_signal(signal.SIGINT)
    code, output = play.end()
    assert code != 0
    assert "Traceback" not in output
    # Nothing is left when the prompt is back.
    assert not running(number)
    assert not engine.images(course["name"])
    wait_for(lambda: not [one for one in engine.containers(all=True) if number in one["Command"]])
    assert not progress_files(number)
    # The next run does not trip over anything.
    dockerfile = Path(course["context"]) / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text().replace(f"sleep {number}", "true"))
    assert run_module("docker_build", **{**course, "builder": builder})["changed"]


def test_a_build_survives_a_dropped_connection(course: dict[str, Any], tmp_path: Path, sshd: Sshd):
    gate = uuid.uuid4().hex
    context = Path(course["context"])
    (context / "Dockerfile").write_text((context / "Dockerfile").read_text() + f"RUN sleep 6; echo {gate}\nRUN echo after\n")
    play = Play(tmp_path, "docker_build", course, inventory=sshd.inventory())
    play.wait_for_line("RUN sleep 6")
    sshd.cut()
    play.wait_for_line("the connection is lost; the work goes on there")
    code, output = play.end()
    assert code == 0, output
    assert "changed  build-ssh: docker_build" in output
    assert "RUN echo after  " in output
    # One build, not two: the step ran once.
    assert len(re.findall(rf"^#\d+ [\d.]+ {gate}$", Path(course["log_path"]).read_text(), re.MULTILINE)) == 1
    assert not progress_files(gate)


def test_over_ssh_lines_come_while_the_step_runs(course: dict[str, Any], tmp_path: Path, sshd: Sshd):
    context = Path(course["context"])
    (context / "Dockerfile").write_text((context / "Dockerfile").read_text() + "RUN for n in 1 2 3 4 5 6; do echo at $n; sleep 1; done\n")
    play = Play(tmp_path, "docker_build", course, inventory=sshd.inventory())
    play.wait_for_line("RUN for n in 1 2 3")
    assert not any("slowest steps" in line for line in play.lines)
    assert play.process.poll() is None
    code, output = play.end()
    assert code == 0, output
    assert "slowest steps:" in output


@pytest.fixture
def private_engine() -> Iterator[PrivateEngine]:
    made = PrivateEngine(Path(tempfile.mkdtemp(prefix="engine-")))  # pytest's own folders are too long for a socket's path
    yield made
    made.stop()


def private_course(folder: Path, engine: PrivateEngine, builder: str, steps: str) -> dict[str, Any]:
    context = folder / "context"
    context.mkdir()
    small_root(context, static_busybox())
    (context / "Dockerfile").write_text(f"FROM scratch\nCOPY root /\n{steps}")
    return {
        "name": "alone/course",
        "version": "v1",
        "context": str(context),
        "docker_host": engine.address,
        "ask_registry": False,
        "builder": builder,
        "log_path": str(folder / "build.log"),
    }


@pytest.mark.parametrize("builder", BUILDERS)
def test_an_engine_that_dies_in_the_middle_is_named_and_the_next_run_succeeds(tmp_path: Path, private_engine: PrivateEngine, builder: str):
    number = f"{uuid.uuid4().int % 10**8 + 10**6}"
    course = private_course(tmp_path, private_engine, builder, f"RUN echo begun\nRUN sleep {number}\n")
    private_engine.start()
    results: list[dict[str, Any]] = []
    building = threading.Thread(target=lambda: results.append(run_module("docker_build", **course)))
    building.start()
    wait_for(lambda: running(number), 60)
    private_engine.kill()
    building.join(60)
    assert results, "the module did not notice that its engine is gone"
    assert results[0]["failed"]
    assert "The Docker engine stopped answering in the middle of the build" in results[0]["msg"]
    assert f"line 4: RUN sleep {number}" in results[0]["msg"]
    assert "\n" not in results[0]["msg"]
    private_engine.start()
    dockerfile = Path(course["context"]) / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text().replace(f"sleep {number}", "true"))
    again = run_module("docker_build", **course)
    assert again["changed"], again
    assert not run_module("docker_build", **course)["changed"]


@pytest.mark.parametrize("builder", BUILDERS)
def test_a_full_disk_is_named_with_where_to_make_room(tmp_path: Path, private_engine: PrivateEngine, builder: str):
    private_engine.disk_mb = 90
    course = private_course(tmp_path, private_engine, builder, "RUN dd if=/dev/urandom of=/filler bs=1M count=120\n")
    private_engine.start()
    failed = run_module("docker_build", **course)
    assert failed["failed"]
    assert "No space is left on the disk while building at" in failed["msg"]
    assert "line 3: RUN dd" in failed["msg"]
    assert str(private_engine.data) in failed["msg"]
    assert "\n" not in failed["msg"]
