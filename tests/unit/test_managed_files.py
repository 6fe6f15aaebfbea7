"""Files that follow the inventory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ansible.module_utils.golden_jobs.managed_files import write

from tests.support import run_module


def manage(folder: Path, files: dict[str, str], *flags: str) -> dict[str, Any]:
    entries = [{"path": str(folder / name), "content": content} for name, content in files.items()]
    return run_module("managed_files", *flags, record=str(folder / "record.json"), files=entries)


def test_what_is_not_declared_any_more_is_removed_with_the_folder_made_for_it(tmp_path: Path):
    (tmp_path / "cron.d").mkdir()
    assert manage(tmp_path, {"certs/one/ca.crt": "1", "cron.d/job": "x"})["changed"]
    again = manage(tmp_path, {"certs/one/ca.crt": "1", "cron.d/job": "x"})
    assert (again["changed"], again["written"], again["removed"]) == (False, [], [])
    checked = manage(tmp_path, {}, "--check")
    assert checked["changed"]
    assert (tmp_path / "cron.d/job").exists()
    gone = manage(tmp_path, {})
    assert sorted(Path(path).name for path in gone["removed"]) == ["ca.crt", "job"]
    assert not (tmp_path / "certs/one").exists()
    assert (tmp_path / "cron.d").is_dir()  # it was there before
    assert not manage(tmp_path, {})["changed"]


def test_what_somebody_else_has_written_stays(tmp_path: Path):
    (tmp_path / "certs").mkdir()
    manage(tmp_path, {"certs/ours": "1"})
    (tmp_path / "certs/theirs").write_text("2")
    manage(tmp_path, {})
    assert (tmp_path / "certs/theirs").read_text() == "2"
    assert not (tmp_path / "certs/ours").exists()


def test_a_file_that_was_changed_by_hand_is_put_right(tmp_path: Path):
    manage(tmp_path, {"a": "1"})
    (tmp_path / "a").write_text("by hand")
    (tmp_path / "a").chmod(0o600)
    result = manage(tmp_path, {"a": "1"})
    assert result["written"] == [str(tmp_path / "a")]
    assert result["diff"][0]["before"] == "by hand"
    assert ((tmp_path / "a").read_text(), (tmp_path / "a").stat().st_mode & 0o777) == ("1", 0o644)


def test_a_file_has_the_mode_that_is_asked_for_or_less_where_the_users_umask_counts(tmp_path: Path):
    before = os.umask(0o077)
    try:
        write(str(tmp_path / "lock"), "", 0o644)
        write(str(tmp_path / "record"), "", 0o640, within_umask=True)
    finally:
        os.umask(before)
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()} == {"lock": "0o644", "record": "0o600"}


def test_mistakes_are_one_sentence(tmp_path: Path):
    relative = run_module("managed_files", record=str(tmp_path / "r"), files=[{"path": "x/y", "content": ""}])
    # Ansible's own type `path` makes it absolute only with ~; what is relative is refused.
    assert relative["msg"] == "The path x/y is relative: give a path that begins with /."
    mode = run_module("managed_files", record=str(tmp_path / "r"), files=[{"path": "/tmp/x", "content": "", "mode": "rw"}])
    assert "octal digits" in mode["msg"]
    (tmp_path / "r").write_text("[")
    assert "is not what was written there" in run_module("managed_files", record=str(tmp_path / "r"), files=[])["msg"]
