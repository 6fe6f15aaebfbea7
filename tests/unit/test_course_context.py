"""course_context: the folder on the build server holds exactly what the build shall get."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.golden_jobs import course_context
from ansible.module_utils.golden_jobs.errors import GoldenJobsError
from ansible.module_utils.golden_jobs.progress import Progress

GIT = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@localhost",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@localhost",
}


SOURCE = {"deploy_key": None, "known_hosts": None, "username": "git", "token": None, "written": "inventory/courses.yml:7"}


def git(folder: Path, *argv: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *argv], env={**os.environ, **GIT}, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "courseware"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / "a.ipynb").write_text("{}")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    return folder


def make(
    tmp_path: Path,
    repository: Path | str,
    version: str = "main",
    files: dict[str, str] | None = None,
    path: str = "courseware",
    downloads: Sequence[dict[str, str]] = (),
    **more: Any,
) -> dict[str, Any]:
    archive = tmp_path / "archive.tar"
    with tarfile.open(archive, "w") as tar:
        for name, content in (files if files is not None else {"Dockerfile": "FROM x\n"}).items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content.encode()))
    params = {
        "dest": str(tmp_path / "work" / "context"),
        "archive": str(archive),
        "cache": str(tmp_path / "cache"),
        "sources": [{**SOURCE, "path": path, "repository": str(repository), "version": version}],
        "downloads": [{"headers": {}, "written": None, **item} for item in downloads],
        "site": {},
        "timeout_s": 30,
        "commit_labels": {},
        "build": None,
        **more,
    }
    return course_context.run(SimpleNamespace(params=params), Progress(None))


def listing(tmp_path: Path) -> set[str]:
    context = tmp_path / "work" / "context"
    return {str(path.relative_to(context)) for path in context.rglob("*") if path.is_file()}


def test_without_its_action_plugin_nothing_is_touched(tmp_path: Path):
    params = {"dest": str(tmp_path / "context"), "archive": None, "cache": str(tmp_path / "cache"), "sources": [], "timeout_s": 30}
    with pytest.raises(GoldenJobsError, match="action plugin"):
        course_context.run(SimpleNamespace(params=params), Progress(None))
    assert list(tmp_path.iterdir()) == []


def test_the_context_has_the_files_and_the_courseware_without_git(tmp_path: Path, repository: Path):
    result = make(tmp_path, repository)
    assert listing(tmp_path) == {"Dockerfile", "courseware.sha256", "courseware/a.ipynb", "courseware/run.sh"}
    assert result["commits"] == {"courseware": git(repository, "rev-parse", "HEAD")}
    assert os.access(tmp_path / "work" / "context" / "courseware" / "run.sh", os.X_OK)


def test_a_branch_is_followed_and_a_commit_is_not(tmp_path: Path, repository: Path):
    first = git(repository, "rev-parse", "HEAD")
    (repository / "b.ipynb").write_text("{}")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "second")
    make(tmp_path, repository, version=first)
    assert "courseware/b.ipynb" not in listing(tmp_path)
    make(tmp_path, repository)
    assert "courseware/b.ipynb" in listing(tmp_path)


def test_what_does_not_belong_there_is_removed_and_what_was_changed_is_restored(tmp_path: Path, repository: Path):
    make(tmp_path, repository, files={"Dockerfile": "FROM x\n", "old/requirements.txt": "x"})
    context = tmp_path / "work" / "context"
    (context / "courseware" / "a.ipynb").write_text("changed by hand")
    (context / "courseware" / "stray").write_text("")
    (context / "stray").write_text("")
    make(tmp_path, repository)
    assert listing(tmp_path) == {"Dockerfile", "courseware.sha256", "courseware/a.ipynb", "courseware/run.sh"}
    assert (context / "courseware" / "a.ipynb").read_text() == "{}"
    assert not (context / "old").exists()


def test_an_unchanged_tree_is_not_written_again(tmp_path: Path, repository: Path):
    make(tmp_path, repository)
    before = (tmp_path / "work" / "context" / "courseware" / "a.ipynb").stat()
    make(tmp_path, repository)
    after = (tmp_path / "work" / "context" / "courseware" / "a.ipynb").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_commit_that_is_in_the_cache_needs_no_repository(tmp_path: Path, repository: Path):
    commit = make(tmp_path, repository)["commits"]["courseware"]
    repository.rename(tmp_path / "gone")
    assert make(tmp_path, repository, version=commit)["commits"]["courseware"] == commit


def test_a_repository_that_cannot_be_had_is_one_sentence(tmp_path: Path):
    with pytest.raises(
        GoldenJobsError, match=r"The repository .*nothing at 'main' cannot be had.*\(inventory/courses.yml:7\)\.$"
    ) as failure:
        make(tmp_path, tmp_path / "nothing")
    assert "\n" not in str(failure.value)


def test_a_branch_that_does_not_exist_is_named(tmp_path: Path, repository: Path):
    with pytest.raises(GoldenJobsError, match="has no branch, tag or commit 'nope'"):
        make(tmp_path, repository, version="nope")


def test_a_source_cannot_leave_the_context(tmp_path: Path, repository: Path):
    with pytest.raises(GoldenJobsError, match="leaves the context"):
        make(tmp_path, repository, path="../outside")


def test_the_list_of_the_courseware_is_what_sha256sum_checks(tmp_path: Path, repository: Path):
    (repository / "odd \\ name\n.txt").write_text("odd")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "odd")
    commit = make(tmp_path, repository)["commits"]["courseware"]
    context = tmp_path / "work" / "context"
    assert (context / "courseware.sha256").read_text().startswith(f"# commit {commit}\n")
    check = ["sha256sum", "--check", "--strict", "--quiet", str(context / "courseware.sha256")]
    assert subprocess.run(check, cwd=context / "courseware", check=False).returncode == 0
    (context / "courseware" / "a.ipynb").write_text("another")
    assert subprocess.run(check, cwd=context / "courseware", capture_output=True, check=False).returncode == 1


def test_a_password_in_an_address_is_refused_and_not_shown(tmp_path: Path):
    with pytest.raises(GoldenJobsError, match="holds a password: give it as token") as failure:
        make(tmp_path, "https://me:geheim@git.example.com/x.git")
    assert "geheim" not in str(failure.value)


def test_what_cannot_be_downloaded_leaves_the_context_as_it_was(tmp_path: Path, repository: Path):
    make(tmp_path, repository)
    before = listing(tmp_path)
    item = {"path": "data/x", "url": f"file://{tmp_path}/nothing", "sha256": "0" * 64}
    with pytest.raises(GoldenJobsError, match="cannot be read"):
        make(tmp_path, repository, files={"Dockerfile": "FROM y\n"}, downloads=[item])
    assert listing(tmp_path) == before
    assert (tmp_path / "work" / "context" / "Dockerfile").read_text() == "FROM x\n"


def test_a_download_is_in_the_context_until_it_is_no_longer_asked_for(tmp_path: Path, repository: Path):
    (tmp_path / "set.csv").write_text("1,2\n")
    sha256 = hashlib.sha256(b"1,2\n").hexdigest()
    make(tmp_path, repository, downloads=[{"path": "data/set.csv", "url": f"file://{tmp_path}/set.csv", "sha256": sha256}])
    assert (tmp_path / "work" / "context" / "data" / "set.csv").read_text() == "1,2\n"
    make(tmp_path, repository)
    assert not (tmp_path / "work" / "context" / "data").exists()


def test_a_download_cannot_lie_in_a_repository(tmp_path: Path, repository: Path):
    with pytest.raises(GoldenJobsError, match="lies in the repository"):
        make(tmp_path, repository, downloads=[{"path": "courseware/x", "url": "file:///x", "sha256": "0" * 64}])


def test_labels_say_the_commit_of_a_source_and_nothing_else(tmp_path: Path, repository: Path):
    result = make(tmp_path, repository, commit_labels={"courseware": "courseware"})
    assert result["labels"] == {"courseware": git(repository, "rev-parse", "HEAD")}
    assert "build" not in result
    with pytest.raises(GoldenJobsError, match=r"^commit_labels names data, which is not among the paths of the sources: courseware\.$"):
        make(tmp_path, repository, commit_labels={"courseware": "data"})
