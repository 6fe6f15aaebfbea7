"""Each module is documented so that ansible-doc shows it, and its examples work.

That the documentation names exactly the options that the module takes is checked by `ansible-test sanity` (`tools/sanity.py`).
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.golden_jobs import each_cluster

from tests.support import ROOT, ansible_environment

MODULES = sorted(path.stem for path in (ROOT / "library").glob("*.py"))
#: Where an example has a template, a value of the option's type takes its place.
STAND_INS: dict[str, Any] = {"str": "x", "path": "/x", "raw": "x", "int": 1, "float": 1.5, "bool": True, "list": [], "dict": {}}


def ansible(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, env=ansible_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr.strip()
    return done.stdout


@pytest.fixture(scope="module")
def documented() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ansible("ansible-doc", "-t", "module", "--json", *MODULES))
    return found


@pytest.fixture(scope="module")
def rendered() -> dict[str, str]:
    """What `ansible-doc NAME` prints, by module."""
    pages = ansible("ansible-doc", "-t", "module", *MODULES).split("> MODULE ")[1:]
    return {page.split()[0]: page for page in pages}


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"documentation_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def argument_spec(module: str) -> dict[str, Any]:
    """What the module hands to `AnsibleModule`: argument_spec, mutually_exclusive and so on."""
    loaded = load(ROOT / "library" / f"{module}.py")
    if not hasattr(loaded, "main"):  # documentation of an action plugin that needs no module
        plugin = load(ROOT / "plugins" / "action" / f"{module}.py")
        return {"argument_spec": (plugin.WORK[module] if hasattr(plugin, "WORK") else plugin).SPEC}
    taken: dict[str, Any] = {}

    class Taken(Exception):
        pass

    def take(**options: Any) -> None:
        taken.update(options)
        raise Taken

    loaded.AnsibleModule = take  # type: ignore[attr-defined]
    with pytest.raises(Taken):
        loaded.main()
    return taken


def tasks_of(module: str, tasks: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and options of each task that calls the module, in blocks as well."""
    for task in tasks:
        for part in ("block", "rescue", "always"):
            yield from tasks_of(module, task.get(part, []))
        if module in task:
            yield task.get("name", ""), task[module]


def filled(value: Any, option: dict[str, Any]) -> Any:
    """The value of an option with a stand-in for each template."""
    if isinstance(value, str) and "{{" in value:
        return option["choices"][0] if "choices" in option else STAND_INS[option.get("type", "str")]
    if isinstance(value, list):
        return [filled(each, {**option, "type": option.get("elements", "str")}) for each in value]
    if isinstance(value, dict) and "options" in option:
        return {name: filled(each, option["options"].get(name, {})) for name, each in value.items()}
    return value


@pytest.mark.parametrize("module", MODULES)
def test_ansible_doc_shows_every_option_examples_and_results(documented: dict[str, Any], rendered: dict[str, str], module: str):
    doc = documented[module]["doc"]
    page = rendered[module]
    for name in doc["options"]:
        assert f" {name} " in page.replace("\n", " "), name
    assert "EXAMPLES:" in page
    assert ("RETURN VALUES:" in page) == bool(documented[module]["return"])
    assert documented[module]["return"] or module == "show"


@pytest.mark.parametrize("module", MODULES)
def test_examples_pass_the_argument_spec_of_the_module(documented: dict[str, Any], module: str):
    examples = list(tasks_of(module, yaml.safe_load(documented[module]["examples"])))
    assert examples, "no example calls the module"
    spec = argument_spec(module)
    spec.pop("supports_check_mode", None)
    for_one = ArgumentSpecValidator(spec.pop("argument_spec"), **spec)
    for name, options in examples:
        together = "clusters" in options and module in load(ROOT / "plugins" / "action" / "in_worker.py").OF_A_CLUSTER
        validator = ArgumentSpecValidator(each_cluster.SPEC) if together else for_one
        given = filled(options, {"options": validator.argument_spec})
        assert validator.validate(given).error_messages == [], name


def test_ansible_takes_the_examples_as_tasks(documented: dict[str, Any], tmp_path: Path):
    playbooks = []
    for module in MODULES:
        playbooks.append(str(tmp_path / f"{module}.yml"))
        tasks = yaml.safe_load(documented[module]["examples"])
        Path(playbooks[-1]).write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    ansible("ansible-playbook", "--syntax-check", *playbooks)


def links_to(plugin: str) -> set[str]:
    return {path.stem for path in (ROOT / "plugins" / "action").iterdir() if path.is_symlink() and Path(path.readlink()).name == plugin}


def test_the_live_plugin_stands_behind_every_module_that_writes_progress():
    built_on_it = {path.stem for path in (ROOT / "plugins" / "action").glob("*.py") if 'action_loader.get("live"' in path.read_text()}
    assert links_to("live.py") | built_on_it == {module for module in MODULES if "_progress_file" in argument_spec(module)["argument_spec"]}


def test_the_plugin_that_works_in_the_worker_stands_behind_all_that_it_knows():
    assert links_to("in_worker.py") == set(load(ROOT / "plugins" / "action" / "in_worker.py").WORK)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"step": "plan"}, "one of the following is required: of, clusters, connection"),
        ({"step": "plan", "clusters": ["c1"]}, "parameters are required together: clusters, options"),
        ({"step": "outcome", "connection": {}}, "step is outcome but all of the following are missing: of"),
    ],
)
def test_golden_job_refuses_a_step_that_says_nothing_of_where(options: dict[str, Any], words: str):
    with pytest.raises(AnsibleActionFail, match=words):
        load(ROOT / "plugins" / "action" / "golden_job.py")._checked(options)
