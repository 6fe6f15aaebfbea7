from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.golden_jobs import context as context_module
from ansible.module_utils.golden_jobs.context import Recipe, context_digest, context_files, describe, immutable_tag, literal_ignore_file
from ansible.module_utils.golden_jobs.errors import GoldenJobsError
from ansible.module_utils.golden_jobs.progress import Progress

from tests.support import ROOT

RECIPE = Recipe(dockerfile="FROM debian:12\n", base_images={"debian:12": "sha256:1"})


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg-cache"))


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    (folder / "courseware").mkdir(parents=True)
    (folder / "requirements.txt").write_text("numpy\n")
    (folder / "courseware" / "a.ipynb").write_text("{}")
    return folder


class Said(Progress):
    """Keeps what was said."""

    def __init__(self) -> None:
        super().__init__(None)
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def test_the_same_content_elsewhere_has_the_same_digest(context: Path, tmp_path: Path):
    other = tmp_path / "another-machine"
    (other / "courseware").mkdir(parents=True)
    (other / "courseware" / "a.ipynb").write_text("{}")
    (other / "requirements.txt").write_text("numpy\n")
    os.utime(other / "requirements.txt", (1, 1))
    assert context_digest(str(other), RECIPE) == context_digest(str(context), RECIPE)


def test_the_digest_is_the_same_for_ever(context: Path):
    """If this one changes, every image is built anew: raise FORMAT and mean it."""
    (context / "courseware").chmod(0o755)
    for path in (context / "requirements.txt", context / "courseware" / "a.ipynb"):
        path.chmod(0o644)
    assert context_digest(str(context), RECIPE) == "f4ac6f1c383147c3ec4a1e44f72e88c61d03aa20420c297411fbd762b594497a"


def test_the_manifest_says_what_each_file_is(context: Path):
    (context / "run.sh").write_text("")
    (context / "run.sh").chmod(0o4755)
    (context / "courseware").chmod(0o2775)
    (context / "courseware" / "a.ipynb").unlink()
    (context / "requirements.txt").unlink()
    (context / "link").symlink_to("/nowhere")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert dict(describe(str(context), RECIPE).files) == {
        "courseware": "dir 2775",
        "link": "link /nowhere",
        "run.sh": f"file 4755 {empty}",
    }


def change_content(context: Path) -> None:
    (context / "requirements.txt").write_text("numpx\n")


def change_mode(context: Path) -> None:
    (context / "requirements.txt").chmod(0o755)


def set_user_id(context: Path) -> None:
    (context / "requirements.txt").chmod(0o4644)


def change_mode_of_a_folder(context: Path) -> None:
    (context / "courseware").chmod(0o700)


def rename(context: Path) -> None:
    (context / "requirements.txt").rename(context / "requirement.txt")


def add_empty_folder(context: Path) -> None:
    (context / "data").mkdir()


def add_link(context: Path) -> None:
    (context / "link").symlink_to("requirements.txt")


def turn_a_file_into_a_link(context: Path) -> None:
    (context / "requirements.txt").rename(context.parent / "elsewhere")
    (context / "requirements.txt").symlink_to("../elsewhere")


def exclude_a_file(context: Path) -> None:
    (context / "Dockerfile.dockerignore").write_text("Dockerfile.dockerignore\nrequirements.txt\n")


@pytest.mark.parametrize(
    "change",
    [
        change_content,
        change_mode,
        set_user_id,
        change_mode_of_a_folder,
        rename,
        add_empty_folder,
        add_link,
        turn_a_file_into_a_link,
        exclude_a_file,
    ],
)
def test_every_change_of_what_copy_makes_changes_the_digest(context: Path, change: Any):
    before = context_digest(str(context), RECIPE)
    change(context)
    assert context_digest(str(context), RECIPE) != before


def change_times(context: Path) -> None:
    os.utime(context / "requirements.txt", (1, 1))
    os.utime(context, (1, 1))


def change_owner(context: Path) -> None:
    if os.geteuid() == 0:
        os.chown(context / "requirements.txt", 65534, 65534)


def change_mode_of_the_context_itself(context: Path) -> None:
    context.chmod(0o700)


def change_an_excluded_file(context: Path) -> None:
    (context / "x.tmp").write_text("anything")


def rewrite_the_ignore_file_without_effect(context: Path) -> None:
    (context / ".dockerignore").write_text("# the same, said differently\n.dockerignore\n**/*.tmp\n")


def make_two_equal_files_one(context: Path) -> None:
    (context / "twin").unlink()
    (context / "twin").hardlink_to(context / "requirements.txt")


@pytest.mark.parametrize(
    "change",
    [
        change_times,
        change_owner,
        change_mode_of_the_context_itself,
        change_an_excluded_file,
        rewrite_the_ignore_file_without_effect,
        make_two_equal_files_one,
    ],
)
def test_what_copy_does_not_see_does_not_count(context: Path, change: Any):
    (context / ".dockerignore").write_text(".dockerignore\n*.tmp\n")
    (context / "twin").write_text("numpy\n")
    before = context_digest(str(context), RECIPE)
    change(context)
    assert context_digest(str(context), RECIPE) == before


def test_an_ignore_file_that_copy_sees_counts_as_any_file(context: Path):
    (context / ".dockerignore").write_text("*.tmp\n")
    before = context_digest(str(context), RECIPE)
    (context / ".dockerignore").write_text("**/*.tmp\n")
    assert context_digest(str(context), RECIPE) != before


def test_a_link_is_its_target(context: Path):
    (context / "link").symlink_to("a")
    before = context_digest(str(context), RECIPE)
    (context / "link").unlink()
    (context / "link").symlink_to("b")
    assert context_digest(str(context), RECIPE) != before


def test_a_link_to_a_folder_is_not_followed(context: Path):
    (context / "all").symlink_to("courseware")
    (context / "loop").symlink_to(".")
    assert context_files(str(context)) == ["all", "courseware", "courseware/a.ipynb", "loop", "requirements.txt"]


def test_the_context_itself_may_be_a_link(context: Path, tmp_path: Path):
    (tmp_path / "current").symlink_to(context)
    assert context_digest(str(tmp_path / "current"), RECIPE) == context_digest(str(context), RECIPE)


def test_names_of_any_bytes_work_in_any_locale(context: Path):
    for name in (b"latin-\xe9", b"new\nline", "中文.ipynb".encode(), b"tab\t"):
        (context / os.fsdecode(name)).write_text("x")
    assert "latin-\udce9" in context_files(str(context))
    code = (
        "import sys; from golden_jobs.context import Recipe, context_digest;"
        "print(context_digest(sys.argv[1], Recipe('FROM debian:12\\n', {'debian:12': 'sha256:1'})))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "module_utils"), "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    there = subprocess.run([sys.executable, "-c", code, context], env=environment, capture_output=True, text=True, check=True)
    assert there.stdout.strip() == context_digest(str(context), RECIPE)


def test_sockets_and_pipes_are_left_out_and_said(context: Path, monkeypatch: pytest.MonkeyPatch):
    before = context_digest(str(context), RECIPE)
    os.mkfifo(context / "courseware" / "pipe")
    monkeypatch.chdir(context)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        said = Said()
        assert describe(str(context), RECIPE, progress=said).digest == before
    assert len(said.lines) == 1
    assert "courseware/pipe" in said.lines[0]
    assert "socket" in said.lines[0]
    assert sorted(literal_ignore_file(str(context)).split()) == [b"courseware/pipe", b"socket"]


class AsNobody:
    """Root may read everything; nobody may not."""

    def __enter__(self) -> None:
        if os.geteuid() == 0:
            os.seteuid(65534)

    def __exit__(self, *_: object) -> None:
        if os.getuid() == 0:
            os.seteuid(0)


@pytest.fixture
def open_folders(tmp_path: Path):
    """Nobody may pass the test's folders, which pytest makes for their owner alone."""
    closed = [path for path in [tmp_path, *tmp_path.parents] if path.stat().st_uid == os.geteuid() and not path.stat().st_mode & 0o001]
    modes = [path.stat().st_mode for path in closed]
    for path in closed:
        path.chmod(0o711)
    yield
    for path, mode in zip(closed, modes, strict=True):
        path.chmod(mode)


@pytest.mark.usefixtures("open_folders")
def test_what_cannot_be_read_is_named_unless_it_is_ignored(context: Path):
    (context / "requirements.txt").chmod(0)
    with (
        AsNobody(),
        pytest.raises(GoldenJobsError, match=r"^The file 'requirements.txt' of the context .*cannot be read \(Permission denied\)"),
    ):
        context_digest(str(context), RECIPE)
    (context / ".dockerignore").write_text("requirements.txt\n")
    with AsNobody():
        assert context_digest(str(context), RECIPE)
    (context / "courseware").chmod(0)
    with AsNobody(), pytest.raises(GoldenJobsError, match=r"^The folder 'courseware' of the context"):
        context_digest(str(context), RECIPE)
    for ignored in ("courseware\n", "courseware\n!courseware/a.ipynb\n"):
        (context / ".dockerignore").write_text(f"requirements.txt\n{ignored}")
        with AsNobody():
            assert context_files(str(context)) == [".dockerignore"]
    (context / "courseware").chmod(0o755)
    (context / ".dockerignore").chmod(0)
    with AsNobody(), pytest.raises(GoldenJobsError, match=r"^The ignore file .*/\.dockerignore cannot be read: Permission denied"):
        context_digest(str(context), RECIPE)


@pytest.mark.parametrize(
    "changed",
    [
        replace(RECIPE, dockerfile="FROM debian:12\nRUN true\n"),
        replace(RECIPE, base_images={"debian:12": "sha256:2"}),
        replace(RECIPE, build_args={"A": "1"}),
        replace(RECIPE, labels={"A": "1"}),
        replace(RECIPE, target="x"),
        replace(RECIPE, platform="linux/arm64"),
        replace(RECIPE, refresh="2026-11"),
    ],
)
def test_every_part_of_the_recipe_counts(context: Path, changed: Recipe):
    assert context_digest(str(context), changed) != context_digest(str(context), RECIPE)


def test_the_order_of_arguments_and_labels_does_not_count(context: Path):
    one = replace(RECIPE, build_args={"A": "1", "B": "2"}, labels={"x": "1", "y": "2"})
    other = replace(RECIPE, build_args={"B": "2", "A": "1"}, labels={"y": "2", "x": "1"})
    assert context_digest(str(context), one) == context_digest(str(context), other)


def test_a_context_that_is_no_folder_is_named(tmp_path: Path):
    with pytest.raises(GoldenJobsError, match="missing is not a folder"):
        context_digest(str(tmp_path / "missing"), RECIPE)


def test_the_immutable_tag_is_lower_case():
    assert immutable_tag("V1.0", "0123456789abcdef") == "v1.0-0123456789ab"


def test_the_names_that_others_import_are_there():
    assert {"Recipe", "Manifest", "LastImages", "file_sha256"} <= set(context_module.__all__)
