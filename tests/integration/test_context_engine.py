"""What the engine takes from a context, asked from the engine itself, with both builders."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.golden_jobs.buildkit import find_cli
from ansible.module_utils.golden_jobs.context import Recipe, context_files, describe, literal_ignore_file

from tests.support import AS_ROOT, install

TREE = [
    *("a.txt", "b.md", "ab", "tail ", "foofoo", "foo/a.txt", "foo/bar/baz", "foo/bar/a.txt", "foo/x1", "bar/foo/q", "empty/"),
    *("deep/er/est/foo/a.txt", "deep/er/x.md", "!bang", "#hash", "x+y", "a(1).txt", "b[1]", "back\\slash", "sp ace", "é", "中文"),
    *("d{1}", "dollar$", "hat^x", ".hidden/h", "new\nline"),
]
#: Engines from this one on use the matcher that `dockerignore` follows; before, some patterns were read differently.
TODAYS_MATCHER = 23

#: ignore file; whether engines before 23 agree
IGNORE_FILES = [
    ("", True),
    ("# a comment\n\n  a.txt \t\r\n/b.md\n./foo/\n", True),
    ("\ufeffab\n*/a.txt\n", True),
    ("**/a.txt\n**/foo\n", True),
    ("foo/**\nd?ep\n[ab]*\n", True),
    ("[^a]*\n!b.md\n", True),
    ("*\n!foo/bar\n!.hidden\n", True),
    ("foo\n!foo/bar\nfoo/bar/a.txt\n", True),
    ("*.md\n!b.md\nb.*\n", True),
    ("\\!bang\n\\#hash\nb\\[1\\]\nback\\\\slash\nsp ace\ndollar$\n", True),
    (".dockerignore\n**/er/*\n../foo\n.\n/\n", True),
    ("?\n中*\n", True),
    ("a(1).txt\nx+y\nd{1}\n", False),
    ("**.txt\n", False),
    ("*\n!**/foo\n", False),
    ("**/foo\n!foo/bar\n", False),
    ("foo\n!foo/none\n", False),
]


class Builds:
    """Builds an image of nothing but `COPY . /context/` and says what is in it."""

    def __init__(self, api: Any, folder: Path) -> None:
        self._api = api
        self._folder = folder
        self.docker = find_cli().path
        self.builtin = int(
            subprocess.run([self.docker, "version", "-f", "{{.Client.Version}}"], capture_output=True, text=True, check=False).stdout.split(
                "."
            )[0]
        )

    def image(self, context: Path, builder: str, dockerfile: Path | None = None) -> dict[str, tarfile.TarInfo]:
        """Path -> entry, of all that COPY made."""
        if dockerfile is None:
            dockerfile = self._folder / "Dockerfile"
            dockerfile.write_text("FROM scratch\nCOPY . /context/\n")
        argv = [self.docker, "build", "-q", "-f", str(dockerfile), "--iidfile", str(self._folder / "id"), str(context)]
        done = subprocess.run(argv, env={**os.environ, "DOCKER_BUILDKIT": builder}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        image = (self._folder / "id").read_text().strip()
        container = self._api.create_container(image, "nothing")["Id"]
        try:
            content = b"".join(self._api.get_archive(container, "/context")[0])
        finally:
            self._api.remove_container(container)
            self._api.remove_image(image)
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            return {entry.name.partition("/")[2]: entry for entry in archive.getmembers() if "/" in entry.name}

    def literal(self, context: Path) -> dict[str, tarfile.TarInfo]:
        """The same with BuildKit and the selection written out, as docker_build does it."""
        (self._folder / "Dockerfile.dockerignore").write_bytes(literal_ignore_file(str(context)))
        try:
            return self.image(context, "1")
        finally:
            (self._folder / "Dockerfile.dockerignore").unlink()


BUILDKIT, CLASSIC = "1", "0"


@pytest.fixture
def builds(engine: Any, tmp_path: Path) -> Builds:
    (tmp_path / "dockerfiles").mkdir()
    return Builds(engine, tmp_path / "dockerfiles")


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(("ignore", "undisputed"), IGNORE_FILES)
def test_the_engine_takes_the_files_that_we_count(builds: Builds, context: Path, ignore: str, undisputed: bool):
    for name in TREE:
        path = context / name
        if name.endswith("/"):
            path.mkdir()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (context / ".dockerignore").write_text(ignore)
    ours = context_files(str(context))
    assert sorted(builds.literal(context)) == ours
    if undisputed or builds.builtin >= TODAYS_MATCHER:
        assert sorted(builds.image(context, BUILDKIT)) == ours
    if undisputed:
        assert sorted(builds.image(context, CLASSIC)) == ours


def test_a_bad_pattern_fails_there_and_here(builds: Builds, context: Path):
    (context / ".dockerignore").write_text("a\n[\n")
    with pytest.raises(AssertionError, match="syntax error in pattern"):
        builds.image(context, BUILDKIT)
    with pytest.raises(Exception, match="line 2"):
        context_files(str(context))


def test_the_ignore_file_beside_the_dockerfile_comes_first_with_buildkit(builds: Builds, context: Path, tmp_path: Path):
    for name in ("a", "b"):
        (context / name).write_text(name)
    (context / ".dockerignore").write_text("a\n")
    outside = tmp_path / "dockerfiles" / "course.dockerfile"
    outside.write_text("FROM scratch\nCOPY . /context/\n")
    outside.with_name("course.dockerfile.dockerignore").write_text("b\n")
    assert sorted(builds.image(context, BUILDKIT, outside)) == context_files(str(context), str(outside)) == [".dockerignore", "a"]
    # The classic builder of the CLI does not know it: docker_build sends it our selection instead.
    assert sorted(builds.image(context, CLASSIC, outside)) == [".dockerignore", "b"]


@pytest.mark.parametrize("ignore", ["", "Dockerfile\n.dockerignore\n"])
def test_copy_sees_dockerfile_and_ignore_file_unless_they_are_ignored(builds: Builds, context: Path, ignore: str):
    (context / "Dockerfile").write_text("FROM scratch\nCOPY . /context/\n")
    (context / "a").write_text("a")
    (context / ".dockerignore").write_text(ignore)
    ours = context_files(str(context))
    assert ours == (["a"] if ignore else [".dockerignore", "Dockerfile", "a"])
    for builder in (BUILDKIT, CLASSIC):
        assert sorted(builds.image(context, builder, context / "Dockerfile")) == ours


def test_what_a_manifest_says_is_what_the_image_has(builds: Builds, context: Path, tmp_path: Path):
    (context / "sub" / "shared").mkdir(parents=True)
    (context / "sub").chmod(0o700)
    (context / "sub" / "shared").chmod(0o2775)
    (context / "sticky").mkdir()
    (context / "sticky").chmod(0o1777)
    for name, mode in (("private", 0o600), ("run", 0o755), ("set-user", 0o4755), ("set-group", 0o2755), ("sub/twin", 0o640)):
        (context / name).write_text(name)
        (context / name).chmod(mode)
    (context / "twin").hardlink_to(context / "sub" / "twin")
    (context / "dangling").symlink_to("/nowhere")
    (context / os.fsdecode(b"latin-\xe9")).write_text("x")
    manifest = describe(str(context), Recipe("FROM scratch\nCOPY . /context/\n", {}), cache_dir=str(tmp_path / "cache"))

    def described(entry: tarfile.TarInfo) -> str:
        if entry.issym():
            return f"link {entry.linkname}"
        mode = f"{entry.mode & 0o7777:04o}"
        if entry.isdir():
            return f"dir {mode}"
        source = context / entry.name.partition("/")[2]  # a hard link has no content of its own in the archive
        return f"file {mode} {hashlib.sha256(source.read_bytes()).hexdigest()}"

    image = builds.literal(context)
    assert {path: described(entry) for path, entry in image.items()} == dict(manifest.files)


def test_the_mode_of_the_context_itself_is_not_kept(builds: Builds, context: Path):
    (context / "a").write_text("a")
    for mode in (0o700, 0o755):
        context.chmod(mode)
        dockerfile = context.parent / "dockerfiles" / "whole.dockerfile"
        dockerfile.write_text("FROM scratch\nCOPY . /context/whole/\n")
        for builder in (BUILDKIT, CLASSIC):
            assert builds.image(context, builder, dockerfile)["whole"].mode & 0o7777 == 0o755


def test_sockets_and_pipes_are_left_out_of_the_image(builds: Builds, context: Path):
    (context / "a").write_text("a")
    os.mkfifo(context / "pipe")
    assert sorted(builds.literal(context)) == context_files(str(context)) == ["a"]


@pytest.fixture
def coarse(tmp_path: Path) -> Iterator[Path]:
    """A file system that keeps times in whole seconds, as ext3 and many network file systems do."""
    disk, folder = tmp_path / "disk", tmp_path / "mounted"
    folder.mkdir()
    with disk.open("wb") as handle:
        handle.truncate(16 << 20)
    programs = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    if not shutil.which("mkfs.ext4", path=programs):
        install("e2fsprogs")
    subprocess.run([str(shutil.which("mkfs.ext4", path=programs)), "-q", "-I", "128", str(disk)], check=True, capture_output=True)
    subprocess.run([*AS_ROOT, "mount", "-o", "loop", str(disk), str(folder)], check=True)
    try:
        subprocess.run([*AS_ROOT, "chown", str(os.geteuid()), str(folder)], check=True)
        (folder / "context").mkdir()
        yield folder / "context"
    finally:
        subprocess.run([*AS_ROOT, "umount", str(folder)], check=True)


def test_a_change_within_one_tick_of_a_coarse_clock_is_seen(coarse: Path, tmp_path: Path):
    path, unseen = coarse / "data", 0
    path.write_text("00000")
    for number in range(1, 200):
        content = f"{number:05d}"
        describe(str(coarse), Recipe("FROM scratch\n", {}), cache_dir=str(tmp_path / "cache"))
        before = path.stat()
        with path.open("r+") as handle:
            handle.write(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        after = path.stat()
        unseen += (before.st_mtime_ns, before.st_ctime_ns, before.st_size) == (after.st_mtime_ns, after.st_ctime_ns, after.st_size)
        files = describe(str(coarse), Recipe("FROM scratch\n", {}), cache_dir=str(tmp_path / "cache")).files
        assert files["data"].split()[2] == hashlib.sha256(content.encode()).hexdigest()
    assert unseen > 0  # such changes were among them
