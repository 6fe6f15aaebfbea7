from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible.module_utils.golden_jobs import steps as steps_module
from ansible.module_utils.golden_jobs.progress import Progress
from ansible.module_utils.golden_jobs.steps import Steps, title

from tests.support import wait_for


def shown(path: Path) -> list[str]:
    return [json.loads(line)["text"] for line in path.read_text().splitlines()]


def test_the_slowest_steps_come_first_and_quick_ones_are_left_out(tmp_path: Path):
    steps = Steps(Progress(str(tmp_path / "progress")))
    for number, duration_s in enumerate([0.2, 41.0, 3.5, 0.9, 1.0, 2.0, 7.0, 130.0], 1):
        steps.end(steps.begin(f"[{number}/8] RUN step {number}"), duration_s=duration_s)
    before = len(shown(tmp_path / "progress"))
    steps.say_slowest()
    assert shown(tmp_path / "progress")[before:] == [
        "slowest steps:",
        "  2 min 10 s  [8/8] RUN step 8",
        "        41 s  [2/8] RUN step 2",
        "       7.0 s  [7/8] RUN step 7",
        "       3.5 s  [3/8] RUN step 3",
        "       2.0 s  [6/8] RUN step 6",
    ]


def test_nothing_slow_makes_no_table(tmp_path: Path):
    steps = Steps(Progress(str(tmp_path / "progress")))
    steps.end(steps.begin("[1/1] RUN true"), duration_s=0.3)
    steps.say_slowest()
    assert "slowest steps:" not in shown(tmp_path / "progress")


def test_a_silent_step_and_what_the_builder_does_besides_are_shown_while_they_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(steps_module, "HEARTBEAT_S", 0.3)
    path = tmp_path / "progress"
    steps = Steps(Progress(str(path)))
    context = steps.begin("[internal] load build context")
    steps.output(context, "transferring context: 1.20GB")
    with steps.beating():
        wait_for(lambda: any(line.startswith("[internal] load build context …") and "1.20GB" in line for line in shown(path)))
        steps.end(context)
        steps.begin("[1/1] RUN sleep 60")
        wait_for(lambda: "[1/1] RUN sleep 60 …" in shown(path))
        wait_for(lambda: any(line.startswith("[1/1] RUN sleep 60 … ") for line in shown(path)))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("[stage-1 2/7] RUN nfs", "[2/7] RUN nfs"),
        ("[code_server 2/3] RUN apt", "[code_server 2/3] RUN apt"),
        ("[stage-0 2/7] RUN --mount=type=cache,target=/c  pip   install x", "[2/7] RUN pip install x"),
        ("[ 2/12] RUN : 'Python packages'; uv pip install", "[2/12] RUN Python packages"),
        ("[tools 2/7] COPY a b", "[tools 2/7] COPY a b"),
        ("[1/1] RUN " + "x" * 200, "[1/1] RUN " + "x" * 89 + "…"),
    ],
)
def test_a_title_is_for_people(name: str, text: str):
    assert title(name) == text
