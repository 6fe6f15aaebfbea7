"""course_try and image_find as modules, on an image of 2 MB: what the developer's loop promises whatever the course is."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker.errors
import pytest

from tests.platform import get
from tests.support import run_module

SERVE = "mkdir -p /www; echo {0} > /www/api; echo {0} > '/www/a b.txt'; exec httpd -f -p 8888 -h /www"


@pytest.fixture
def course(engine: Any) -> Iterator[str]:
    name = f"T{uuid.uuid4().hex[:8]}"
    yield name
    run_module("course_try", course=name, state="stopped")


def containers(engine: Any, course: str) -> list[dict[str, Any]]:
    return list(engine.containers(all=True, filters={"name": f"golden-jobs-try-{course}"}))


def test_one_that_runs_the_same_is_left_alone_and_another_is_replaced(engine: Any, tiny_image: str, course: str):
    options = {"course": course, "image": tiny_image, "wait_timeout_s": 20}
    first = run_module("course_try", **options, command=SERVE.format("one"))
    assert first["changed"], first
    assert get(f"{first['addresses'][0]}/api").text == "one\n"
    (before,) = containers(engine, course)
    again = run_module("course_try", **options, command=SERVE.format("one"))
    assert not again["changed"]
    assert again["addresses"] == first["addresses"]
    other = run_module("course_try", **options, command=SERVE.format("two"))
    assert other["changed"]
    assert get(f"{other['addresses'][0]}/api").text == "two\n"
    (after,) = containers(engine, course)
    assert after["Id"] != before["Id"]
    assert run_module("course_try", course=course, state="stopped")["changed"]
    assert not containers(engine, course)
    assert not run_module("course_try", course=course, state="stopped")["changed"]


def test_an_address_in_the_environment_is_shown_and_a_secret_is_not(tiny_image: str, course: str):
    env = {"PAI_CONTAINER_HOST_IP": "127.0.0.1", "LAB_TOKEN": "s3cr3t-of-the-lab"}
    options: dict[str, Any] = {"course": course, "image": tiny_image, "env": env, "hide": ["s3cr3t-of-the-job"], "wait_timeout_s": 20}
    assert get(f"{run_module('course_try', **options, command=SERVE.format('one'))['addresses'][0]}/api").ok
    failed = run_module("course_try", **options, command='echo "$LAB_TOKEN s3cr3t-of-the-job"; exit 1')
    assert "********" in failed["msg"]
    assert "s3cr3t" not in failed["msg"]


def test_check_mode_starts_and_stops_nothing(engine: Any, tiny_image: str, course: str):
    assert run_module("course_try", "--check", course=course, image=tiny_image, command="true")["changed"]
    assert not containers(engine, course)
    run_module("course_try", course=course, image=tiny_image, command=SERVE.format("one"), wait_timeout_s=20)
    assert run_module("course_try", "--check", course=course, state="stopped")["changed"]
    assert len(containers(engine, course)) == 1


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("echo no such notebook; exit 3", "ended with exit code 3 before it answered. Its last lines:\nno such notebook"),
        ("sleep 100", "did not answer /api with 200 within 1 s"),
    ],
)
def test_one_that_does_not_answer_is_a_sentence_and_leaves_nothing(engine: Any, tiny_image: str, course: str, command: str, sentence: str):
    failed = run_module("course_try", course=course, image=tiny_image, command=command, wait_timeout_s=1)
    assert failed["failed"]
    assert sentence in failed["msg"]
    assert not containers(engine, course)


def test_files_are_found_by_name_with_size_digest_and_whose_they_are(engine: Any, tiny_image: str, tmp_path: Path):
    content = b'#!/bin/sh\nexec sh "$@"\n'  # the tiny image's bash
    (tmp_path / "bash").write_bytes(content)
    found = run_module("image_find", image=tiny_image, name="ba?h", ours=str(tmp_path))
    digest = hashlib.sha256(content).hexdigest()
    expected = {"path": "/bin/bash", "size_bytes": len(content), "sha256": digest, "origin": "ours", "software": "", "url": ""}
    assert found["files"] == [expected], found
    (tmp_path / "bash").write_text("another")
    assert [one["origin"] for one in run_module("image_find", image=tiny_image, name="bash", ours=str(tmp_path))["files"]] == ["stock"]
    assert run_module("image_find", image=tiny_image, name="nothing-like-it")["files"] == []
    assert not engine.containers(all=True, filters={"label": f"golden-jobs.image-test={tiny_image}"})


@pytest.mark.parametrize("name", ["", "static/logo.png"])
def test_a_name_with_folders_is_refused(tiny_image: str, name: str):
    failed = run_module("image_find", image=tiny_image, name=name)
    assert "is not allowed: a file's name without folders" in failed["msg"]


def test_an_image_that_is_not_in_the_engine_is_named(engine: Any, course: str):
    with pytest.raises(docker.errors.NotFound):
        engine.inspect_image("no.such/image:1")
    for module, options in (("course_try", {"course": course, "command": "true"}), ("image_find", {"name": "x"})):
        assert "no.such/image:1 is not in this engine" in run_module(module, image="no.such/image:1", **options)["msg"]
