"""What changed since the last image, and where that is remembered."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from ansible.module_utils.golden_jobs.manifest import LastImages, Manifest, Recipe, diff, differences

SHA = {name: name * 64 for name in "abc"}
OLD = Manifest(
    {
        "courseware": "dir 0755",
        "courseware/a.ipynb": f"file 0644 {SHA['a']}",
        "link": "link a",
        "run.sh": f"file 0644 {SHA['b']}",
        "requirements.txt": f"file 0644 {SHA['c']}",
    },
    Recipe(
        dockerfile="FROM debian:12\nCOPY . /\nRUN one\n",
        base_images={"debian:12": "sha256:1"},
        build_args={"PIP": "https://one", "GONE": "x"},
        labels={"version": "1"},
    ),
)
NEW = Manifest(
    {
        "courseware": "dir 0700",
        "courseware/a.ipynb": f"file 0644 {SHA['b']}",
        "courseware/new\n.ipynb": f"file 0644 {SHA['a']}",
        "link": "link b",
        "run.sh": f"file 0755 {SHA['b']}",
        "requirements.txt": "link elsewhere",
    },
    Recipe(
        dockerfile="FROM debian:12\nCOPY . /\nRUN two\n",
        base_images={"debian:12": "sha256:2"},
        build_args={"PIP": "https://two", "MORE": "y"},
        labels={"version": "2"},
        target="final",
        refresh="2026-11",
    ),
)


def test_every_change_is_named():
    assert differences(OLD, NEW) == [
        "base image debian:12: sha256:1 -> sha256:2",
        "build argument GONE removed",
        "build argument MORE added: y",
        "build argument PIP: https://one -> https://two",
        "label version: 1 -> 2",
        "refresh added: 2026-11",
        "target added: final",
        "context file courseware: mode 0755 -> 0700 changed",
        "context file courseware/a.ipynb: content changed",
        "context file courseware/new\\n.ipynb added",
        "context file link: link to a -> b",
        "context file requirements.txt: file -> link",
        "context file run.sh: mode 0644 -> 0755 changed",
        "--- Dockerfile of the last image",
        "+++ Dockerfile",
        "@@ -1,3 +1,3 @@",
        " FROM debian:12",
        " COPY . /",
        "-RUN one",
        "+RUN two",
    ]


def test_nothing_changed_is_nothing():
    assert differences(OLD, OLD) == []
    assert (diff(OLD, OLD)["before"], diff(OLD, OLD)["after"]) == ("", "")


def test_without_an_earlier_image_that_is_said():
    assert differences(None, NEW) == ["no earlier image of this name is known on this build server"]
    first = diff(None, OLD)
    assert first["before"] == ""
    assert "base image debian:12 sha256:1\n" in first["after"]
    assert "context file link link a\n" in first["after"]
    assert "Dockerfile: RUN one\n" in first["after"]


def test_the_diff_has_only_what_differs_on_both_sides():
    shown = diff(OLD, NEW)
    assert "build argument PIP https://one\n" in shown["before"]
    assert "build argument PIP https://two\n" in shown["after"]
    assert "GONE" in shown["before"]
    assert "GONE" not in shown["after"]
    assert "Dockerfile: RUN one\n" in shown["before"]
    assert f"context file run.sh file 0755 {SHA['b']}\n" in shown["after"]
    same = diff(OLD, replace(OLD, files={**OLD.files, "run.sh": "dir 0755"}))
    assert (same["before"], same["after"]) == (f"context file run.sh file 0644 {SHA['b']}\n", "context file run.sh dir 0755\n")
    assert shown["before_header"] == f"context {OLD.digest[:12]}"
    assert shown["after_header"] == f"context {NEW.digest[:12]}"


def test_many_changes_are_counted():
    many = replace(OLD, files={f"{number:04d}": "dir 0755" for number in range(1000)})
    longer = replace(many, recipe=replace(OLD.recipe, dockerfile="RUN x\n" * 1000))
    lines = differences(Manifest({}, OLD.recipe), longer)
    assert "and 950 more context files" in lines
    assert lines[-1].endswith("more lines of the Dockerfile")
    assert len(lines) < 160
    assert diff(Manifest({}, OLD.recipe), many)["after"].endswith("and 950 more context files\n")


def test_the_last_image_of_each_name_is_remembered(tmp_path: Path):
    images = LastImages(str(tmp_path / "last"))
    assert images.read("registry:5000/a/b:v1") is None
    images.write("registry:5000/a/b:v1", OLD, "registry:5000/a/b:v1-1")
    images.write("registry:5000/a_b:v1", NEW, "registry:5000/a_b:v1-2")
    images.write("registry:5000/a/b:v1", NEW, "registry:5000/a/b:v1-3")
    again = LastImages(str(tmp_path / "last"))
    assert again.read("registry:5000/a/b:v1") == NEW
    assert again.reference("registry:5000/a/b:v1") == "registry:5000/a/b:v1-3"
    assert again.reference("registry:5000/a_b:v1") == "registry:5000/a_b:v1-2"
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "last").iterdir()] == [0o600, 0o600]


def test_names_that_are_not_utf8_are_remembered(tmp_path: Path):
    manifest = Manifest({"latin-\udce9": "link \udcff"}, OLD.recipe)
    LastImages(str(tmp_path)).write("a:1", manifest, "a:1-1")
    assert LastImages(str(tmp_path)).read("a:1") == manifest
    assert differences(Manifest({}, OLD.recipe), manifest) == ["context file latin-\\udce9 added"]


def test_a_folder_that_cannot_be_written_fails_nothing(tmp_path: Path):
    (tmp_path / "last").write_text("a file")
    LastImages(str(tmp_path / "last")).write("a:1", OLD, "a:1-1")
    assert LastImages(str(tmp_path / "last")).read("a:1") is None


def other_format(path: Path) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 1}))


def other_name(path: Path) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), "name": "c:1"}))


def other_content(path: Path) -> None:
    path.write_text(path.read_text().replace("RUN one", "RUN two"))


def noise(path: Path) -> None:
    path.write_bytes(b"\xff\xfe{")


def unknown_part(path: Path) -> None:
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "recipe": {**document["recipe"], "colour": "red"}}))


@pytest.mark.parametrize("damage", [other_format, other_name, other_content, noise, unknown_part])
def test_what_is_damaged_is_not_there(tmp_path: Path, damage: Callable[[Path], None]):
    images = LastImages(str(tmp_path))
    images.write("a:1", OLD, "a:1-1")
    (path,) = tmp_path.iterdir()
    damage(path)
    assert images.read("a:1") is None
    assert images.reference("a:1") is None
