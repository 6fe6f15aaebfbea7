from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible.module_utils.golden_jobs.buildkit import PlainProgress, find_cli
from ansible.module_utils.golden_jobs.errors import GoldenJobsError
from ansible.module_utils.golden_jobs.progress import Progress
from ansible.module_utils.golden_jobs.steps import Steps

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


def read(path: Path, output: str = OUTPUT) -> tuple[Steps, PlainProgress, list[str]]:
    steps = Steps(Progress(str(path)))
    reader = PlainProgress(steps)
    for line in output.splitlines():
        reader.feed(line)
    return steps, reader, [json.loads(line)["text"] for line in path.read_text().splitlines()]


def test_steps_know_their_duration_and_whether_they_were_cached(tmp_path: Path):
    steps, _reader, _shown = read(tmp_path / "progress")
    assert [(step.name, step.cached) for step in steps.of_dockerfile] == [
        ("[1/4] FROM docker.io/local/debian:bookworm", False),
        ("[2/4] RUN --mount=type=cache,target=/x echo one", True),
        ("[3/4] RUN --mount=type=secret,id=x : 'the second part'; echo two && sleep 1", False),
        ("[4/4] RUN echo three && false", False),
    ]
    assert steps.of_dockerfile[2].duration_s == 1.4


def test_the_failed_step_keeps_its_last_output(tmp_path: Path):
    steps, _reader, _shown = read(tmp_path / "progress")
    assert steps.failed is not None
    assert steps.failed.name.startswith("[4/4]")
    assert list(steps.failed.tail) == ["three"]
    assert "exit code: 1" in (steps.failed.error or "")


def test_the_terminal_sees_each_step_begin_and_end_by_its_title_and_a_cached_one_once(tmp_path: Path):
    _steps, _reader, shown = read(tmp_path / "progress")
    assert shown == [
        "[2/4] RUN echo one  cached",
        "[3/4] RUN the second part …",
        "[3/4] RUN the second part  1.4 s",
        "[4/4] RUN echo three && false …",
        "[4/4] RUN echo three && false  failed",
    ]


# As docker CLI 26.1.5 with buildx 0.13.1 printed it: two stages, one of them in parallel, a padded number.
BUILDX = """\
#0 building with "default" instance using docker driver

#6 [tools 1/2] RUN --mount=type=cache,target=/c echo y; sleep 1
#6 0.236 y

#7 [stage-1  2/12] RUN echo last words; exit 4
#7 0.265 last words
#6 DONE 1.4s

#7 [stage-1  2/12] RUN echo last words; exit 4
#7 ERROR: process "/bin/sh -c echo last words; exit 4" did not complete successfully: exit code: 4
------
 > [stage-1  2/12] RUN echo last words; exit 4:
0.265 last words
------
ERROR: failed to solve: process "/bin/sh -c echo last words; exit 4" did not complete successfully: exit code: 4
"""


def test_what_buildx_prints_is_understood_as_well(tmp_path: Path):
    steps, reader, shown = read(tmp_path / "progress", BUILDX)
    assert [step.duration_s for step in steps.of_dockerfile][:1] == [1.4]
    assert steps.failed is not None
    assert steps.failed.instruction == "RUN echo last words; exit 4"
    assert list(steps.failed.tail) == ["last words"]
    assert reader.last_words.startswith('process "/bin/sh -c')
    assert "[2/12] RUN echo last words; exit 4  failed" in shown  # the last stage needs no name


@pytest.mark.parametrize(
    "words",
    [
        "failed to solve with frontend dockerfile.v0: failed to create LLB definition: dockerfile parse error line 5: unknown instruction: FOO",
        "ERROR: failed to solve: rpc error: code = Unknown desc = failed to solve with frontend dockerfile.v0: "
        "failed to create LLB definition: dockerfile parse error line 5: unknown instruction: FOO",
    ],
)
def test_the_reason_stands_without_the_wrapping(tmp_path: Path, words: str):
    _steps, reader, _shown = read(tmp_path / "progress", words)
    assert reader.last_words == "dockerfile parse error line 5: unknown instruction: FOO"


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
    found = find_cli(candidates=[new, old])
    assert found.path == old
    assert "built in" in found.reason


def test_a_newer_cli_with_buildx_is_taken(tmp_path: Path):
    assert find_cli(candidates=[cli(tmp_path / "new", "28.2.2", True)]).reason.endswith("v0.20.0")


def test_when_no_cli_can_each_is_named_with_what_to_install(tmp_path: Path):
    with pytest.raises(GoldenJobsError, match=r"28\.2\.2 has no buildx plugin.*install docker-buildx"):
        find_cli(candidates=[cli(tmp_path / "new", "28.2.2", False)])


def test_a_cli_that_is_too_old_for_the_engine_is_passed_over(tmp_path: Path):
    old = Path(cli(tmp_path / "old", "20.10.24", False))
    refusal = "Error response from daemon: client version 1.41 is too old. Minimum supported API version is 1.44."
    old.write_text(f"#!/bin/sh\necho 20.10.24\necho '{refusal}' >&2\nexit 1\n")
    new = cli(tmp_path / "new", "29.0.0", True)
    assert find_cli(candidates=[str(old), new]).path == new
    with pytest.raises(GoldenJobsError, match=r"20\.10\.24 does not fit the engine \(client version 1\.41 is too old"):
        find_cli(candidates=[str(old)])
