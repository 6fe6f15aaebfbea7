"""Each module is documented so that ansible-doc shows it, and the documentation names exactly the options that it takes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.golden_jobs import course_context, image_build, image_push, image_test, pai_jobs

from tests.support import ROOT, ansible_environment

SPECS: dict[str, dict[str, Any]] = {
    "course_context": course_context.SPEC,
    "docker_build": image_build.SPEC,
    "docker_push": image_push.SPEC,
    "image_test": image_test.SPEC,
    "pai_job": pai_jobs.JOB_SPEC,
    "pai_job_info": pai_jobs.INFO_SPEC,
}
#: Taken by the action plugin before the module runs.
CONTROLLER_OPTIONS = {"course_context": {"dockerfile", "folder", "files", "search_path"}}


@pytest.fixture(scope="module")
def documented() -> dict[str, Any]:
    done = subprocess.run(
        ["ansible-doc", "--json", *SPECS], cwd=ROOT, env=ansible_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_every_module_of_the_project_is_known_here():
    assert {path.stem for path in (ROOT / "library").glob("*.py")} == set(SPECS)


@pytest.mark.parametrize("module", SPECS)
def test_ansible_doc_shows_description_examples_and_results(documented: dict[str, Any], module: str):
    shown = documented[module]
    assert shown["doc"]["short_description"]
    assert module in shown["examples"]
    assert shown["return"]


@pytest.mark.parametrize("module", SPECS)
def test_the_documented_options_are_those_that_the_module_takes(documented: dict[str, Any], module: str):
    taken = {name for name in SPECS[module] if not name.startswith("_")} | CONTROLLER_OPTIONS.get(module, set())
    assert set(documented[module]["doc"]["options"]) == taken


@pytest.mark.parametrize("module", SPECS)
def test_documented_types_and_defaults_are_those_of_the_module(documented: dict[str, Any], module: str):
    for name, option in documented[module]["doc"]["options"].items():
        if name in SPECS[module]:
            assert option["type"] == SPECS[module][name]["type"], name
            assert option.get("default") == SPECS[module][name].get("default"), name
            assert bool(option.get("required")) == bool(SPECS[module][name].get("required")), name


def test_the_live_plugin_stands_behind_every_module_that_writes_progress():
    plugins = {
        path.stem for path in (ROOT / "plugins" / "action").iterdir() if path.is_symlink() and Path(path.readlink()).name == "live.py"
    }
    own = {"course_context"}  # its action plugin does more
    assert plugins | own == {module for module, spec in SPECS.items() if "_progress_file" in spec}
