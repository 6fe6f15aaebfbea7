from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible.module_utils.golden_jobs.buildkit import PlainProgress, find_cli
from ansible.module_utils.golden_jobs.errors import GoldenJobsError
from ansible.module_utils.golden_jobs.progress import Progress

# As docker.io 20.10 printed it.
OUTPUT = """\
#1 [internal] load build definition from Dockerfile
#1 transferring dockerfile: 120B done
#1 DONE 0.0s

#4 [1/4] FROM docker.io/local/debian:bookworm
#4 DONE 0.0s

#5 [2/4] RUN --mount=type=cache,target=/x echo one
#5 CACHED

#6 [3/4] RUN --mount=type=secret,id=x : 'the second part'; echo two && sleep 1
#6 0.271 two
#6 DONE 1.4s

#7 [4/4] RUN echo three && false
#7 0.301 three
#7 ERROR: executor failed running [/bin/sh -c echo three && false]: exit code: 1
------
 > [4/4] RUN echo three && false:
------
executor failed running [/bin/sh -c echo three && false]: exit code: 1
"""


def read(path: Path) -> tuple[PlainProgress, list[str]]:
    reader = PlainProgress(Progress(str(path)))
    for line in OUTPUT.splitlines():
        reader.feed(line)
    return reader, [json.loads(line)["text"] for line in path.read_text().splitlines()]


def test_steps_know_their_duration_and_whether_they_were_cached(tmp_path: Path):
    reader, _ = read(tmp_path / "progress")
    assert [(step.name, step.cached) for step in reader.steps] == [
        ("[1/4] FROM docker.io/local/debian:bookworm", False),
        ("[2/4] RUN --mount=type=cache,target=/x echo one", True),
        ("[3/4] RUN --mount=type=secret,id=x : 'the second part'; echo two && sleep 1", False),
        ("[4/4] RUN echo three && false", False),
    ]
    assert reader.steps[2].duration_s == 1.4


def test_the_failed_step_keeps_its_last_output(tmp_path: Path):
    reader, _ = read(tmp_path / "progress")
    assert reader.failed is not None
    assert reader.failed.name.startswith("[4/4]")
    assert list(reader.failed.tail) == ["three"]
    assert "exit code: 1" in (reader.failed.error or "")


def test_the_terminal_sees_each_step_begin_and_end_by_its_title(tmp_path: Path):
    _, shown = read(tmp_path / "progress")
    assert shown == [
        "[2/4] RUN echo one …",
        "[2/4] RUN echo one  cached",
        "[3/4] RUN the second part …",
        "[3/4] RUN the second part  1.4 s",
        "[4/4] RUN echo three && false …",
        "[4/4] RUN echo three && false  error",
    ]


def cli(folder: Path, version: str, buildx: bool) -> str:
    """A program that answers like a docker CLI of that version."""
    folder.mkdir()
    path = folder / "docker"
    plugin = "echo github.com/docker/buildx v0.20.0" if buildx else "echo 'unknown command' >&2; exit 1"
    path.write_text(f"#!/bin/sh\ncase $1 in version) echo {version} ;; buildx) {plugin} ;; esac\n")
    path.chmod(0o755)
    return str(path)


def test_a_cli_without_buildx_is_passed_over_for_one_with_buildkit_built_in(tmp_path: Path):
    new, old = cli(tmp_path / "new", "28.2.2", False), cli(tmp_path / "old", "20.10.24", False)
    found = find_cli([new, old])
    assert found.path == old
    assert "built in" in found.reason


def test_a_newer_cli_with_buildx_is_taken(tmp_path: Path):
    assert find_cli([cli(tmp_path / "new", "28.2.2", True)]).reason.endswith("v0.20.0")


def test_when_no_cli_can_each_is_named_with_what_to_install(tmp_path: Path):
    with pytest.raises(GoldenJobsError, match=r"28\.2\.2 has no buildx plugin.*install docker-buildx"):
        find_cli([cli(tmp_path / "new", "28.2.2", False)])
