"""docker_build, docker_push and image_test on a real engine and a real registry with a password."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT, Registry, ansible_environment, run_module


@pytest.fixture
def course(tmp_path: Path, tiny_image: str, registry: Registry, request: pytest.FixtureRequest) -> dict[str, Any]:
    """Options of docker_build for a context of its own."""
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(f"FROM {tiny_image}\nCOPY index.html /www/index.html\nRUN echo built > /www/built\n")
    (context / "index.html").write_text("our page")
    name = f"{registry.address}/test/{request.node.name.split('[')[0].replace('_', '-')[:60].rstrip('-').lower()}"
    return {"name": name, "version": "v1", "context": str(context), "log_path": str(tmp_path / "build.log"), **registry.login}


def build(course: dict[str, Any], *flags: str, **options: Any) -> dict[str, Any]:
    return run_module("docker_build", *flags, **{**course, **options})


def push(course: dict[str, Any], tag: str, *flags: str, **options: Any) -> dict[str, Any]:
    login = {key: value for key, value in course.items() if key.startswith("registry_")}
    return run_module("docker_push", *flags, **{"name": course["name"], "tag": tag, "moving_tags": ["v1"], **login, **options})


def test_the_same_context_is_built_once_and_pushed_once(course: dict[str, Any], registry: Registry):
    first = build(course)
    assert first["changed"]
    assert [step["cached"] for step in first["steps"]][1:] == [False, False]
    pushed = push(course, first["tag"])
    assert pushed["changed"]
    assert set(pushed["digests"].values()) == {pushed["digest"]}
    assert registry.tags(course["name"].partition("/")[2]) == sorted(["v1", first["tag"]])

    again = build(course)
    assert not again["changed"]
    assert again["registry_digest"] == pushed["digest"]
    assert not push(course, again["tag"])["changed"]


def test_an_image_that_another_server_has_pushed_is_not_built_here(course: dict[str, Any], engine: Any):
    first = build(course)
    push(course, first["tag"])
    engine.remove_image(first["reference"], force=True)
    engine.remove_image(f"{course['name']}:v1", force=True)
    again = build(course)
    assert not again["changed"]
    assert again["image_id"] is None
    assert "already in the registry" in again["reason"]


def test_one_changed_byte_makes_a_new_image_and_moves_the_moving_tag(course: dict[str, Any]):
    first = build(course)
    before = push(course, first["tag"])
    (Path(course["context"]) / "index.html").write_text("our pagE")
    second = build(course)
    assert second["changed"]
    assert second["tag"] != first["tag"]
    after = push(course, second["tag"])
    assert after["digests"]["v1"] == after["digest"] != before["digest"]


def test_going_back_to_an_old_context_moves_the_tag_back_without_a_build(course: dict[str, Any]):
    page = Path(course["context"]) / "index.html"
    first = build(course)
    old = push(course, first["tag"])
    page.write_text("new")
    push(course, build(course)["tag"])
    page.write_text("our page")
    again = build(course)
    assert not again["changed"]
    back = push(course, again["tag"])
    assert back["changed"]
    assert back["pushed_tags"] == ["v1"]
    assert back["digests"]["v1"] == old["digest"]


def test_check_mode_says_what_it_would_do_and_does_nothing(course: dict[str, Any], registry: Registry, engine: Any):
    planned = build(course, "--check")
    assert planned["changed"]
    assert not engine.images(planned["reference"])
    assert push(course, planned["tag"], "--check")["source"] == "absent"
    assert registry.get(f"{course['name'].partition('/')[2]}/tags/list").status_code == 404


def test_a_failing_step_is_named_with_line_output_and_log(course: dict[str, Any], tmp_path: Path):
    dockerfile = Path(course["context"]) / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text() + "RUN echo first; \\\n    echo the last words; false\n")
    failed = build(course)
    assert failed["failed"]
    assert "Dockerfile, line 4" in failed["msg"]
    assert "ended with exit code 1" in failed["msg"]
    assert failed["tail"] == ["first", "the last words"]
    assert "the last words" in Path(failed["log"]).read_text()


def test_a_step_is_shown_while_it_runs_also_through_a_pipe(course: dict[str, Any], tmp_path: Path):
    dockerfile = Path(course["context"]) / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text() + "RUN sleep 8\n")
    play = {"name": "Live", "hosts": "localhost", "connection": "local", "gather_facts": False}
    (tmp_path / "play.json").write_text(json.dumps([{**play, "tasks": [{"name": "Build", "docker_build": course}]}]))
    environment = {name: value for name, value in ansible_environment().items() if name != "PYTHONUNBUFFERED"}
    argv = ["ansible-playbook", "-e", f"ansible_python_interpreter={sys.executable}", str(tmp_path / "play.json")]
    with subprocess.Popen(argv, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert any("RUN sleep 8 …" in line for line in running.stdout)
        shown = time.monotonic()
        assert any("  changed  localhost: Build" in line for line in running.stdout)
        assert time.monotonic() - shown > 4  # most of the step was still to come


def test_a_secret_is_mounted_and_leaves_no_trace(course: dict[str, Any], engine: Any):
    dockerfile = Path(course["context"]) / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text() + 'RUN --mount=type=secret,id=token test -n "$(cat /run/secrets/token)"\n')
    built = build(course, secrets=[{"id": "token", "content": "s3cr3t-value"}])
    assert built["changed"]
    assert "s3cr3t-value" not in str(built)
    assert "s3cr3t-value" not in str(engine.history(built["reference"])) + str(engine.inspect_image(built["reference"]))
    assert "s3cr3t-value" not in Path(built["log"]).read_text()
    # Another site's secret is the same image.
    assert not build(course, secrets=[{"id": "token", "content": "other"}])["changed"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"name": "Upper/Case"}, "lower-case letters"),
        ({"version": "-x"}, "The tag '-x' is not allowed"),
        ({"context": "/nowhere"}, "Dockerfile cannot be read"),
        ({"docker_host": "unix:///nowhere.sock"}, "No Docker engine answers at unix:///nowhere.sock"),
        ({"registry_password": "wrong"}, "refuses user 'tester' or the password"),
    ],
)
def test_bad_input_is_one_sentence(course: dict[str, Any], options: dict[str, Any], sentence: str):
    failed = build(course, **options)
    assert failed["failed"]
    assert sentence in failed["msg"]
    assert "Traceback" not in failed["msg"]
    assert "\n" not in failed["msg"]


def test_a_base_image_that_does_not_exist_is_named(course: dict[str, Any], registry: Registry):
    missing = f"{registry.address}/test/nothing:1"
    (Path(course["context"]) / "Dockerfile").write_text(f"FROM {missing}\n")
    assert f"The base image {missing} does not exist" in build(course)["msg"]


def test_a_registry_that_is_down_is_named(course: dict[str, Any]):
    (Path(course["context"]) / "Dockerfile").write_text("FROM scratch\nCOPY index.html /\n")
    failed = build(course, name="127.0.0.1:1/test/x")
    assert "The registry 127.0.0.1:1 cannot be asked" in failed["msg"]


def test_a_wrong_password_fails_the_push_at_once(course: dict[str, Any]):
    first = build(course)
    failed = push(course, first["tag"], registry_password="wrong")
    assert "refuses user 'tester' or the password" in failed["msg"]


CHECKS = [{"name": "our page", "http": "/index.html", "contains": "our page"}, {"name": "built", "command": "test -f /www/built"}]
SERVE = "httpd -f -p 8888 -h /www"


def smoke_test(course: dict[str, Any], image: str, **options: Any) -> dict[str, Any]:
    return run_module("image_test", **{"image": image, "command": SERVE, "ready_path": "/index.html", "checks": CHECKS, **options})


def leftovers(engine: Any, image: str) -> list[Any]:
    return list(engine.containers(all=True, filters={"label": f"golden-jobs.image-test={image}"}))


def test_an_image_that_serves_what_it_should_passes_and_leaves_no_container(course: dict[str, Any], engine: Any):
    image = build(course)["reference"]
    result = smoke_test(course, image)
    assert [row["passed"] for row in result["checks"]] == [True, True]
    assert not leftovers(engine, image)


def test_all_failed_checks_are_reported_together(course: dict[str, Any], engine: Any, tmp_path: Path):
    (tmp_path / "logo").write_text("the real logo")
    image = build(course)["reference"]
    checks = [
        {"name": "logo", "http": "/index.html", "same_as": str(tmp_path / "logo")},
        {"name": "missing page", "http": "/nothing"},
        {"name": "our page", "http": "/index.html", "contains": "our page"},
        {"name": "command", "command": "echo why; false"},
    ]
    failed = smoke_test(course, image, checks=checks)
    assert failed["failed"]
    assert "3 of 4 checks" in failed["msg"]
    assert "serves other bytes" in failed["msg"]
    assert "/nothing answers 404 instead of 200" in failed["msg"]
    assert "ended with 1: why" in failed["msg"]
    assert [row["passed"] for row in failed["checks"]] == [False, False, True, False]
    assert not leftovers(engine, image)


def test_a_container_that_ends_is_reported_with_its_log(course: dict[str, Any], engine: Any, tmp_path: Path):
    image = build(course)["reference"]
    failed = smoke_test(course, image, command="echo going down; false", log_path=str(tmp_path / "test.log"))
    assert "ended with exit code 1 before it answered" in failed["msg"]
    assert "going down" in (tmp_path / "test.log").read_text()
    assert not leftovers(engine, image)


def test_a_container_that_never_answers_is_given_up_in_time(course: dict[str, Any], engine: Any):
    image = build(course)["reference"]
    failed = smoke_test(course, image, command="sleep 100", wait_timeout_s=1)
    assert "did not answer /index.html with 200 within 1 s" in failed["msg"]
    assert not leftovers(engine, image)
