from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible.module_utils.golden_jobs.build_job import BuildJob
from ansible.module_utils.golden_jobs.classic import ClassicProgress, refuse_buildkit_only
from ansible.module_utils.golden_jobs.errors import GoldenJobsError
from ansible.module_utils.golden_jobs.manifest import Manifest, Recipe
from ansible.module_utils.golden_jobs.progress import Progress
from ansible.module_utils.golden_jobs.steps import Steps

# As engine 20.10 sent it.
EVENTS = [
    {"stream": "Step 1/3 : FROM local/debian"},
    {"stream": "\n"},
    {"stream": " ---> 0123456789ab\n"},
    {"stream": "Step 2/3 : COPY a /a"},
    {"stream": "\n"},
    {"stream": " ---> Using cache\n"},
    {"stream": " ---> 123456789abc\n"},
    {"stream": "Step 3/3 : RUN echo one; false"},
    {"stream": "\n"},
    {"stream": " ---> Running in 23456789abcd\n"},
    {"stream": "one\n"},
    {"stream": "Removing intermediate container 23456789abcd\n"},
]


def feed(path: Path, events: list[dict[str, object]]) -> tuple[Steps, ClassicProgress, list[str]]:
    steps = Steps(Progress(str(path)))
    reader = ClassicProgress(steps)
    for event in events:
        reader.feed(event)
    return steps, reader, [json.loads(line)["text"] for line in path.read_text().splitlines()]


def test_steps_are_named_cached_or_run_and_keep_their_output(tmp_path: Path):
    steps, reader, shown = feed(tmp_path / "progress", [*EVENTS, {"aux": {"ID": "sha256:34"}}])
    reader.finish()
    assert [(step.name, step.cached) for step in steps.of_dockerfile] == [
        ("[1/3] FROM local/debian", False),
        ("[2/3] COPY a /a", True),
        ("[3/3] RUN echo one; false", False),
    ]
    assert list(steps.of_dockerfile[2].tail) == ["one"]
    assert reader.image_id == "sha256:34"
    assert "[2/3] COPY a /a  cached" in shown


def test_an_error_belongs_to_the_step_that_ran(tmp_path: Path):
    error = "The command '/bin/sh -c echo one; false' returned a non-zero code: 1"
    steps, _reader, _shown = feed(tmp_path / "progress", [*EVENTS, {"errorDetail": {"code": 1}, "error": error}])
    assert steps.failed is steps.of_dockerfile[2]
    assert steps.failed.error == error


def job(dockerfile: str) -> BuildJob:
    return BuildJob(
        context="/context",
        dockerfile_path="/context/Dockerfile",
        manifest=Manifest({}, Recipe(dockerfile, {})),
        labels={},
        secrets={},
        network=None,
        extra_hosts={},
        cache_from=[],
        no_cache=False,
        log_path="/log",
        timeout_s=1,
    )


@pytest.mark.parametrize(
    "line", ["RUN --mount=type=cache,target=/c true", "COPY --link a b", "RUN --network=none true", "ADD --checksum=sha256:0 https://x /x"]
)
def test_what_only_buildkit_can_is_refused_with_its_line(line: str):
    with pytest.raises(GoldenJobsError, match=r"Dockerfile, line 2: \w+ uses --\w+, and only BuildKit can do that"):
        refuse_buildkit_only(job(f"FROM scratch\n{line}\n"), secrets=False)


def test_what_the_classic_builder_can_is_not_refused():
    refuse_buildkit_only(job("FROM --platform=linux/amd64 x AS y\nCOPY --from=y --chown=1:1 a b\nRUN echo --mount\n"), secrets=False)
