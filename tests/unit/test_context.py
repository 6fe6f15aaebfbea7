from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from ansible.module_utils.golden_jobs.context import Recipe, context_digest, immutable_tag
from ansible.module_utils.golden_jobs.errors import GoldenJobsError

RECIPE = Recipe(dockerfile="FROM debian:12\n", base_images={"debian:12": "sha256:1"})


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    (folder / "courseware").mkdir(parents=True)
    (folder / "requirements.txt").write_text("numpy\n")
    (folder / "courseware" / "a.ipynb").write_text("{}")
    return folder


def test_the_same_content_elsewhere_has_the_same_digest(context: Path, tmp_path: Path):
    other = tmp_path / "another-machine"
    (other / "courseware").mkdir(parents=True)
    (other / "courseware" / "a.ipynb").write_text("{}")
    (other / "requirements.txt").write_text("numpy\n")
    os.utime(other / "requirements.txt", (1, 1))
    assert context_digest(str(other), RECIPE) == context_digest(str(context), RECIPE)


def change_content(context: Path) -> None:
    (context / "requirements.txt").write_text("numpx\n")


def change_mode(context: Path) -> None:
    (context / "requirements.txt").chmod(0o755)


def rename(context: Path) -> None:
    (context / "requirements.txt").rename(context / "requirement.txt")


def add_empty_folder(context: Path) -> None:
    (context / "data").mkdir()


def add_link(context: Path) -> None:
    (context / "link").symlink_to("requirements.txt")


@pytest.mark.parametrize("change", [change_content, change_mode, rename, add_empty_folder, add_link])
def test_every_change_of_what_copy_makes_changes_the_digest(context: Path, change):
    before = context_digest(str(context), RECIPE)
    change(context)
    assert context_digest(str(context), RECIPE) != before


def test_a_link_is_its_target(context: Path):
    (context / "link").symlink_to("a")
    before = context_digest(str(context), RECIPE)
    (context / "link").unlink()
    (context / "link").symlink_to("b")
    assert context_digest(str(context), RECIPE) != before


def test_what_dockerignore_excludes_does_not_count(context: Path):
    (context / ".dockerignore").write_text("# caches\n*.tmp\n")
    before = context_digest(str(context), RECIPE)
    (context / "x.tmp").write_text("anything")
    assert context_digest(str(context), RECIPE) == before


@pytest.mark.parametrize(
    "changed",
    [
        replace(RECIPE, dockerfile="FROM debian:12\nRUN true\n"),
        replace(RECIPE, base_images={"debian:12": "sha256:2"}),
        replace(RECIPE, build_args={"A": "1"}),
        replace(RECIPE, target="x"),
        replace(RECIPE, platform="linux/arm64"),
        replace(RECIPE, refresh="2026-11"),
    ],
)
def test_every_part_of_the_recipe_counts(context: Path, changed: Recipe):
    assert context_digest(str(context), changed) != context_digest(str(context), RECIPE)


def test_a_context_that_is_no_folder_is_named(tmp_path: Path):
    with pytest.raises(GoldenJobsError, match="missing is not a folder"):
        context_digest(str(tmp_path / "missing"), RECIPE)


def test_the_immutable_tag_is_lower_case():
    assert immutable_tag("V1.0", "0123456789abcdef") == "v1.0-0123456789ab"
