"""course_context: make a folder on the build server equal to what a course's build shall get.

The folder has two kinds of content: files that come from the control node in one archive, and sources (git
repositories at a commit) that the build server fetches itself. It is brought up to date in place, so that what did
not change keeps its inode and times; whatever else lies in it is removed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from typing import IO, Any, cast

from .errors import GoldenJobsError
from .progress import Progress

SPEC: dict[str, Any] = {
    # Used by the action plugin on the control node, which makes the archive of them.
    "dockerfile": {"type": "path", "required": True},
    "folder": {"type": "path"},
    "files": {"type": "dict", "default": {}},
    "search_path": {"type": "list", "elements": "path"},
    "archive": {"type": "path"},
    "dest": {"type": "path", "required": True},
    "sources": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "path": {"type": "str", "required": True},
            "repository": {"type": "str", "required": True},
            "version": {"type": "str", "required": True},
        },
    },
    "cache": {"type": "path", "required": True},
    "timeout_s": {"type": "int", "default": 600},
}

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def run(module: Any, progress: Progress) -> dict[str, Any]:
    """The module's result: the folder, and the commit of each source.

    Never changed: the folder is scratch space, made again by every run; what counts is the image. It is therefore
    brought up to date in check mode, too: without it nobody could say what would be built.
    """
    params = module.params
    if not params["archive"]:
        raise GoldenJobsError("course_context came without an archive: its action plugin (plugins/action/course_context.py) was not found.")
    os.umask(0o022)  # permission bits are part of the context digest: the same on every machine
    dest = params["dest"]
    sources = [_checked(source) for source in params["sources"]]
    os.makedirs(dest, exist_ok=True)
    kept = _unpack(params["archive"], dest)
    commits = {}
    for source in sources:
        commits[source["path"]] = _check_out(source, dest, params["cache"], params["timeout_s"], progress)
    _prune(dest, kept, {source["path"] for source in sources})
    return {"changed": False, "dest": dest, "commits": commits}


def _checked(source: dict[str, Any]) -> dict[str, Any]:
    path = os.path.normpath(source["path"])
    if path.startswith(("/", "..")) or path == ".":
        raise GoldenJobsError(f"The source path {source['path']!r} leaves the context: name a folder inside it, for example courseware.")
    return {**source, "path": path}


def _unpack(archive: str, dest: str) -> set[str]:
    """Write each file of the archive whose content or mode differs; the paths of all files in it."""
    kept = set()
    with tarfile.open(archive) as tar:
        for member in tar:
            if not member.isfile():
                continue
            kept.add(member.name)
            reader = cast(IO[bytes], tar.extractfile(member))  # it is a file
            _write(os.path.join(dest, member.name), reader.read(), member.mode)
    return kept


def _write(path: str, content: bytes, mode: int) -> None:
    if os.path.islink(path) or os.path.isdir(path):
        _remove(path)
    if os.path.exists(path) and os.stat(path).st_mode & 0o7777 == mode:
        with open(path, "rb") as handle:
            if handle.read() == content:
                return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".new", "wb") as handle:
        handle.write(content)
    os.chmod(path + ".new", mode)
    os.replace(path + ".new", path)


def _check_out(source: Mapping[str, Any], dest: str, cache: str, timeout_s: int, progress: Progress) -> str:
    """Bring one repository's files at one commit to `dest`/path; the commit.

    The bare repository stays in the cache; a commit that it has already costs no network. An index of its own beside
    the work tree lets git see what changed, so an unchanged tree is neither written nor read again.
    """
    repository, version = source["repository"], source["version"]
    key = hashlib.sha256(repository.encode()).hexdigest()[:16]
    bare = os.path.join(cache, f"{key}.git")
    tree = os.path.join(dest, source["path"])
    os.makedirs(cache, exist_ok=True)
    if not os.path.isdir(bare):
        _git(source, ["init", "--quiet", "--bare", bare], timeout_s)
    if _COMMIT.fullmatch(version):
        commit = version
    else:
        answer = _git(source, ["ls-remote", repository, version, f"{version}^{{}}"], timeout_s).split()
        if not answer:
            raise GoldenJobsError(f"The repository {repository} has no branch, tag or commit {version!r}.")
        commit = answer[-2]  # of an annotated tag the peeled line comes last
    if not _has(bare, commit):
        progress.say(f"fetching {repository} at {commit[:12]}")
        try:
            _git(source, ["-C", bare, "fetch", "--quiet", "--depth", "1", repository, commit], timeout_s)
        except GoldenJobsError:
            # Some servers give no single commit: take all branches and tags instead.
            _git(source, ["-C", bare, "fetch", "--quiet", "--tags", repository, "+refs/heads/*:refs/heads/*"], timeout_s)
            if not _has(bare, commit):
                raise GoldenJobsError(f"The repository {repository} has no commit {commit}.") from None
    os.makedirs(tree, exist_ok=True)
    index = {"GIT_INDEX_FILE": os.path.join(os.path.dirname(os.path.abspath(dest)), f"index-{source['path'].replace('/', '_')}")}
    git = ["--git-dir", bare, "--work-tree", tree, "-c", "core.bare=false", "-c", "core.autocrlf=false"]
    _git(source, [*git, "read-tree", "--reset", "-u", commit], timeout_s, index)
    _git(source, [*git, "checkout-index", "--all", "--force"], timeout_s, index)
    _git(source, [*git, "-C", tree, "clean", "-ffdxq"], timeout_s, index)
    return commit


def _has(bare: str, commit: str) -> bool:
    return subprocess.run(["git", "-C", bare, "cat-file", "-e", f"{commit}^{{tree}}"], capture_output=True, check=False).returncode == 0


def _git(source: Mapping[str, Any], argv: list[str], timeout_s: int, environment: Mapping[str, str] | None = None) -> str:
    # The operator's own git settings (hooks, templates, credential prompts) must not decide what a context holds.
    env = {
        **os.environ,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
    }
    try:
        done = subprocess.run(
            ["git", *argv],
            env={**env, **(environment or {})},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError as error:
        raise GoldenJobsError("git is not installed on this build server: install the package git.") from error
    except subprocess.TimeoutExpired as error:
        raise GoldenJobsError(f"The repository {source['repository']} gave no answer within {timeout_s} s.") from error
    if done.returncode != 0:
        words = [line for line in done.stderr.strip().splitlines() if line] or ["no message"]
        raise GoldenJobsError(
            f"The repository {source['repository']} at {source['version']!r} cannot be had: {' '.join(words[:2]).rstrip('.')}."
        )
    return done.stdout


def _prune(dest: str, kept: set[str], source_paths: set[str]) -> None:
    """Remove what is neither in the archive nor in a source, and folders that are then empty."""
    for folder, folders, files in os.walk(dest, topdown=False):
        relative = os.path.normpath(os.path.relpath(folder, dest))
        if any(relative == path or relative.startswith(path + "/") for path in source_paths):
            continue
        for name in [*files, *(one for one in folders if os.path.islink(os.path.join(folder, one)))]:
            if os.path.normpath(os.path.join(relative, name)) not in kept:
                os.unlink(os.path.join(folder, name))
        if relative != "." and not os.listdir(folder):
            os.rmdir(folder)


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)
