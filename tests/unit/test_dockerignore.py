"""`.dockerignore` as moby reads it. The table was recorded from moby/patternmatcher 0.6; the engine itself is asked in
tests/integration/test_context_engine.py."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible.module_utils.golden_jobs import dockerignore
from ansible.module_utils.golden_jobs.context import context_files, select
from ansible.module_utils.golden_jobs.errors import GoldenJobsError

TREE = ["a.txt", "ab", "b.md", "foo/a.txt", "foo/bar/a.txt", "foo/bar/c", "bar/foo/q", "x/y/foo", "foofoo"]
ODD = ["!bang", "#hash", "a(1)", "[b]", "back\\slash", "sp ace", "é", "d.d"]


def kept(folder: Path, ignore: bytes, tree: list[str] = TREE) -> list[str]:
    """Which files of the tree are selected."""
    for name in tree:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (folder / ".dockerignore").write_bytes(ignore)
    return [name for name in context_files(str(folder)) if name in tree]


def without(*names: str, tree: list[str] = TREE) -> list[str]:
    return sorted(set(tree) - set(names))


@pytest.mark.parametrize(
    ("ignore", "expected"),
    [
        ("", without()),
        ("a.txt", without("a.txt")),
        ("*.txt", without("a.txt")),
        ("**/*.txt", without("a.txt", "foo/a.txt", "foo/bar/a.txt")),
        ("*/a.txt", without("foo/a.txt")),
        ("*/*/a.txt", without("foo/bar/a.txt")),
        ("foo", without("foo/a.txt", "foo/bar/a.txt", "foo/bar/c")),
        ("**/foo", without("foo/a.txt", "foo/bar/a.txt", "foo/bar/c", "bar/foo/q", "x/y/foo")),
        ("foo/**", without("foo/a.txt", "foo/bar/a.txt", "foo/bar/c")),
        ("foo/**/a.txt", without("foo/a.txt", "foo/bar/a.txt")),
        ("**/bar/*", without("foo/bar/a.txt", "foo/bar/c", "bar/foo/q")),
        ("a?", without("ab")),
        ("?.[mt]*", without("a.txt", "b.md")),
        ("[^a]*", ["a.txt", "ab"]),
        ("[!a]*", without("a.txt", "ab")),  # `!` is no negation in Go
        ("[[:alpha:]].md", without("b.md")),
        ("**", []),
        ("*", []),
        (".", without()),
        ("/", without()),
        ("..", without()),
        ("../foo", without()),
        # the two shortcuts of moby
        ("**foo", without("foo/a.txt", "foo/bar/a.txt", "foo/bar/c", "bar/foo/q", "x/y/foo", "foofoo")),
        ("**foo*", without("foo/a.txt", "foo/bar/a.txt", "foo/bar/c", "bar/foo/q", "x/y/foo", "foofoo")),
        ("**oo*", without()),
        ("foo**", without("foo/a.txt", "foo/bar/a.txt", "foo/bar/c", "foofoo")),
        # cleaning
        ("/a.txt", without("a.txt")),
        ("./a.txt", without("a.txt")),
        ("foo/", without("foo/a.txt", "foo/bar/a.txt", "foo/bar/c")),
        ("//foo//bar/./", without("foo/bar/a.txt", "foo/bar/c")),
        ("foo/../ab", without("ab")),
        ("  ab \t\r", without("ab")),
        ("\n\n# ab\nb.md\n", without("b.md")),
        (" # ab\nb.md", without("b.md")),
        ("\ufeffab", without("ab")),
        # exceptions: the last pattern that matches wins
        ("*\n!a.txt", ["a.txt"]),
        ("!a.txt\n*", []),
        ("*.txt\n!a.txt\n*.txt", without("a.txt")),
        ("foo\n!foo/bar/c", without("foo/a.txt", "foo/bar/a.txt")),
        ("foo\n!foo/bar", without("foo/a.txt")),
        ("foo\n!foo/bar\nfoo/bar/c", without("foo/a.txt", "foo/bar/c")),
        ("foo\n!**/c", without("foo/a.txt", "foo/bar/a.txt")),
        ("*\n!foo", ["foo/a.txt", "foo/bar/a.txt", "foo/bar/c"]),
        ("*\n!foo/*\nfoo/bar", ["foo/a.txt"]),
        ("*\n!**/foo/", ["bar/foo/q", "foo/a.txt", "foo/bar/a.txt", "foo/bar/c", "x/y/foo"]),
        ("*\n! /a.txt ", ["a.txt"]),
        ("*\n./!a.txt", ["a.txt"]),  # the mark is looked for once more after the line was cleaned
        ("**\n!**/a.txt", ["a.txt", "foo/a.txt", "foo/bar/a.txt"]),
    ],
)
def test_patterns_select_what_moby_selects(tmp_path: Path, ignore: str, expected: list[str]):
    assert kept(tmp_path, ignore.encode()) == expected


@pytest.mark.parametrize(
    ("ignore", "gone"),
    [
        ("\\!bang", "!bang"),
        ("\\#hash", "#hash"),
        ("#hash", None),
        ("!!bang", None),
        ("a(1)", "a(1)"),
        ("a(?)", "a(1)"),
        ("[b]", None),
        ("\\[b\\]", "[b]"),
        ("[[]b]", "[b]"),
        ("back\\slash", None),
        ("back\\\\slash", "back\\slash"),
        ("sp ace", "sp ace"),
        ("?", "é"),
        ("é", "é"),
        ("d.d", "d.d"),
        ("d?d", "d.d"),
        ("d\\.d", "d.d"),
        ("\\w.d", "d.d"),  # moby hands an escape to its regular expression
    ],
)
def test_odd_names_and_escapes(tmp_path: Path, ignore: str, gone: str | None):
    assert kept(tmp_path, ignore.encode(), ODD) == sorted(set(ODD) - {gone})


@pytest.mark.parametrize("ignore", ["*\n!", "!/", "ab\n[", "[]", "[a", "[a-]", "[-a]", "a\\", "[z-a]", "x\\q", "[[:letter:]]"])
def test_a_line_that_is_no_pattern_is_named(tmp_path: Path, ignore: str):
    number = ignore.count("\n") + 1
    with pytest.raises(GoldenJobsError, match=rf"^{tmp_path}/\.dockerignore, line {number}: [^\n]*\.$"):
        kept(tmp_path, ignore.encode())


def test_the_ignore_file_of_the_dockerfile_comes_first(tmp_path: Path):
    context, elsewhere = tmp_path / "context", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "course.dockerfile.dockerignore").write_text("b.md\n")
    assert kept(context, b"ab\n") == without("ab")
    beside = str(elsewhere / "course.dockerfile")
    assert [path for path in context_files(str(context), beside) if path in TREE] == without("b.md")
    assert [path for path in context_files(str(context), str(elsewhere / "other")) if path in TREE] == without("ab")
    (context / "Dockerfile.dockerignore").write_text("a.txt\n")
    assert [path for path in context_files(str(context)) if path in TREE] == without("a.txt")


def test_the_ignore_file_and_the_dockerfile_are_files_like_others(tmp_path: Path):
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / ".dockerignore").write_text("\n")
    assert context_files(str(tmp_path)) == [".dockerignore", "Dockerfile"]
    (tmp_path / ".dockerignore").write_text("Dockerfile\n.dockerignore\n")
    assert context_files(str(tmp_path)) == []


def test_folders_come_with_the_exceptions_below_them_and_only_then(tmp_path: Path):
    kept(tmp_path, b"*\n!foo/bar/c\n!x/nothing\n")
    assert context_files(str(tmp_path)) == ["foo", "foo/bar", "foo/bar/c"]


def test_an_excluded_folder_is_not_walked_without_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    kept(tmp_path, b"foo\nx\n!x/y/foo\n")
    walked: list[str] = []
    scandir = os.scandir

    def counting(path: bytes):  # type: ignore[no-untyped-def]
        walked.append(os.path.relpath(os.fsdecode(path), tmp_path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", counting)
    context_files(str(tmp_path))
    assert sorted(walked) == [".", "bar", "bar/foo", "x", "x/y"]


@pytest.mark.parametrize(
    ("ignore", "written"),
    [
        ("**/*.pyc\n.git/\n/node_modules\n", b"**/*.pyc\n.git\nnode_modules\n"),  # nothing that versions disagree about
        ("*\n!foo\n", None),
        ("a(1)\nsp*\n", None),
        ("**foo\n", None),
        ("", b""),
    ],
)
def test_the_selection_is_written_out_so_that_it_reads_the_same(tmp_path: Path, ignore: str, written: bytes | None):
    kept(tmp_path, ignore.encode(), [*TREE, *ODD, "tail ", "foo/tab\tx", "#hash2"])
    wanted = context_files(str(tmp_path))
    patterns = dockerignore.read(str(tmp_path))
    literal = dockerignore.written_out(patterns, select(str(tmp_path), patterns).excluded)
    assert written in (None, literal)
    (tmp_path / "Dockerfile.dockerignore").write_bytes(literal)
    assert context_files(str(tmp_path)) == sorted([*wanted, "Dockerfile.dockerignore"])
