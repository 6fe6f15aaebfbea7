"""course_context: make a folder on the build server equal to what a course's build shall get.

The folder has two kinds of content: files that come from the control node in one archive, and what the build server
fetches itself: sources (git repositories at a commit) and downloads (URLs with a checksum). It is brought up to date in place, so that what did
not change keeps its inode and times; whatever else lies in it is removed.
"""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
from types import SimpleNamespace
from typing import IO, Any, cast

from . import download, git_source, image_build, run_lock
from .digest_cache import DigestCache
from .errors import GoldenJobsError
from .hashing import hash_files
from .progress import Progress
from .runner import PROGRESS_SPEC

#: Options of `docker_build` that decide which image it is.
_BUILD_SPEC = {
    name: image_build.SPEC[name]
    for name in (
        *("name", "version", "labels", "build_args", "target", "platform", "refresh", "ask_registry"),
        *("registry_username", "registry_password"),
    )
}

SPEC: dict[str, Any] = {
    **PROGRESS_SPEC,
    **run_lock.SPEC,
    # Used by the action plugin on the control node, which makes the archive of them.
    "dockerfile": {"type": "path", "required": True},
    "folder": {"type": "path"},
    "files": {"type": "dict", "default": {}},
    "search_path": {"type": "list", "elements": "path"},
    "archive": {"type": "path"},
    "dest": {"type": "path", "required": True},
    "texts": {"type": "dict", "default": {}},
    "sources": {"type": "list", "elements": "dict", "default": [], "options": git_source.SPEC, "mutually_exclusive": [["deploy_key", "token"]]},
    "downloads": {"type": "list", "elements": "dict", "default": [], "options": download.SPEC},
    "site": {"type": "dict", "default": {}, "options": {
        "ca_file": {"type": "path"},
        "http_proxy": {"type": "str", "no_log": True},
        "https_proxy": {"type": "str", "no_log": True},
        "no_proxy": {"type": "str"},
    }},
    "cache": {"type": "path", "required": True},
    "commit_labels": {"type": "dict", "default": {}},
    "build": {"type": "dict", "options": _BUILD_SPEC},
    "timeout_s": {"type": "int", "default": 600},
}  # fmt: skip

#: Keys of `site` -> environment of git and of downloads.
_SITE = {
    "ca_file": ("REQUESTS_CA_BUNDLE", "GIT_SSL_CAINFO"),
    "http_proxy": ("http_proxy",),
    "https_proxy": ("https_proxy",),
    "no_proxy": ("no_proxy", "NO_PROXY"),
}


def run(module: Any, progress: Progress) -> dict[str, Any]:
    """The module's result: the folder, the commit of each source, and what `docker_build` would do with it.

    Never changed: the folder is scratch space, made again by every run; what counts is the image. It is therefore
    brought up to date in check mode, too: without it nobody could say what would be built.
    """
    params = module.params
    if not params["archive"]:
        raise GoldenJobsError("course_context came without an archive: its action plugin (plugins/action/course_context.py) was not found.")
    os.umask(0o022)  # permission bits are part of the context digest: the same on every machine
    dest, cache, timeout_s = params["dest"], params["cache"], params["timeout_s"]
    for name, value in (params["site"] or {}).items():
        os.environ.update(dict.fromkeys(_SITE[name], value) if value else {})
    sources = [_checked(source) for source in params["sources"]]
    downloads = [_checked(item) for item in params["downloads"]]
    for source in sources:
        git_source.check(source)
    for item in downloads:
        download.check(item)
        for source in sources:
            if item["path"].startswith(source["path"] + "/"):
                raise GoldenJobsError(
                    f"The download {item['path']} lies in the repository of {source['path']}: name another folder, for example data{download.at(item)}."
                )
    # All that comes from elsewhere first: what cannot be had leaves the folder as it was.
    fetched = {item["path"]: download.fetch(item, cache, timeout_s, progress) for item in downloads}
    os.makedirs(dest, exist_ok=True)
    kept = _unpack(params["archive"], dest)
    commits = {}
    for source in sources:
        path = source["path"]
        commits[path] = git_source.check_out(source, dest, cache, timeout_s, progress)
        manifest = _manifest(os.path.join(dest, path), commits[path], cache)
        _write(os.path.join(dest, f"{path}.sha256"), manifest.encode("utf-8", "surrogateescape"), 0o644)
        kept.add(f"{path}.sha256")
    source_paths = {source["path"] for source in sources}
    for path, cached in fetched.items():
        _place(cached, os.path.join(dest, path))
        kept.add(path)
    _prune(dest, kept, source_paths)
    result = {"changed": False, "dest": dest, "commits": commits, "labels": _labels(params, commits)}
    return {**result, "build": _decision(params, result["labels"], progress)} if params["build"] else result


def _labels(params: dict[str, Any], commits: dict[str, str]) -> dict[str, Any]:
    """The image's labels, with those that say a commit."""
    unknown = [path for path in params["commit_labels"].values() if path not in commits]
    if unknown:
        raise GoldenJobsError(
            f"commit_labels names {unknown[0]}, which is not among the paths of the sources: {', '.join(commits) or 'none'}."
        )
    return {**((params["build"] or {}).get("labels") or {}), **{label: commits[path] for label, path in params["commit_labels"].items()}}


def _decision(params: dict[str, Any], labels: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """The result of `docker_build` in check mode, in this process: a second one would cost a second where nothing has changed."""
    defaults = {name: option.get("default") for name, option in image_build.SPEC.items()}
    options = {**defaults, **params["build"], "context": params["dest"], "labels": labels}
    decided = image_build.run(SimpleNamespace(params=options, check_mode=True), progress, quiet=True)
    return {name: value for name, value in decided.items() if name not in ("changed", "diff")}


def nothing_left(result: dict[str, Any]) -> bool:
    """Whether a run has no more to do with this course, see `image_build.nothing_left`."""
    return image_build.nothing_left(result.get("build") or {})


def _checked(source: dict[str, Any]) -> dict[str, Any]:
    path = os.path.normpath(source["path"])
    if path.startswith(("/", "..")) or path == ".":
        raise GoldenJobsError(
            f"The path {source['path']!r} leaves the context: name one inside it, for example courseware{download.at(source)}."
        )
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


def _place(source: str, path: str) -> None:
    """Have a downloaded file in the context. It shares its bytes with the cache where both are on one file system."""
    if os.path.exists(path) and not os.path.islink(path) and os.path.samefile(source, path):
        return
    if os.path.lexists(path):
        _remove(path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    try:
        os.link(source, path)
    except OSError:
        shutil.copyfile(source, path)
        os.chmod(path, 0o644)


def _manifest(tree: str, commit: str, cache: str) -> str:
    """What `sha256sum --check` reads: a line for each file of a source, so that an image can be proven to have it."""
    known = DigestCache(cache, tree)
    files: dict[str, str] = {}
    unknown: dict[str, int] = {}
    for folder, _folders, names in os.walk(tree):
        for name in names:
            full = os.path.join(folder, name)
            status = os.lstat(full)
            path = os.path.relpath(full, tree)
            if not stat.S_ISREG(status.st_mode):
                continue
            if digest := known.get(path, status):
                files[path] = digest
            else:
                unknown[path] = status.st_size

    def found(path: str, status: os.stat_result, sha256: str, started_ns: int) -> None:
        files[path] = sha256
        known.put(path, status, sha256, started_ns)

    hash_files(tree, unknown, found)
    known.save()
    return "".join([f"# commit {commit}\n", *(_manifest_line(path, files[path]) for path in sorted(files))])


def _manifest_line(path: str, sha256: str) -> str:
    escaped = path.replace("\\", "\\\\").replace("\n", "\\n")
    return f"{'' if escaped == path else chr(92)}{sha256}  {escaped}\n"


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
