"""The build context and its digest: the same content means the same image, on every machine."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field

from . import dockerignore
from .digest_cache import DigestCache, default_folder
from .errors import GoldenJobsError
from .hashing import file_sha256, hash_files
from .manifest import LastImages, Manifest, Recipe, printable
from .progress import Progress

__all__ = [
    "LastImages",
    "Manifest",
    "Recipe",
    "Selection",
    "context_digest",
    "context_files",
    "describe",
    "file_sha256",
    "immutable_tag",
    "literal_ignore_file",
    "select",
]


@dataclass
class Selection:
    """What of a folder is sent to the engine, and what is not."""

    entries: dict[str, os.stat_result] = field(default_factory=dict)
    """relative path -> lstat, of files, folders and links"""
    excluded: list[str] = field(default_factory=list)
    """what `.dockerignore` leaves out; a folder stands for all below it"""
    special: list[str] = field(default_factory=list)
    """sockets, pipes and devices: left out, too, because the builders disagree about what COPY makes of them"""


def context_files(context: str, dockerfile: str | None = None) -> list[str]:
    """Paths, relative to the context and sorted, of the files, folders and links that the engine is sent.

    Separators are `/`; bytes of a name that are not UTF-8 are surrogate escapes. `dockerfile` is the Dockerfile's path
    (None: the one in the context): what is ignored may stand beside it.
    """
    return sorted(select(context, dockerignore.read(context, dockerfile)).entries)


def literal_ignore_file(context: str, dockerfile: str | None = None) -> bytes:
    """Content of an ignore file that makes every version of BuildKit select just `context_files`."""
    ignore = dockerignore.read(context, dockerfile)
    selection = select(context, ignore)
    return dockerignore.written_out(ignore, selection.excluded, selection.special)


def describe(
    context: str, recipe: Recipe, dockerfile: str | None = None, cache_dir: str | None = None, progress: Progress | None = None
) -> Manifest:
    """What an image of this context and recipe is made from.

    Reads only the files that the cache in `cache_dir` (default: `~/.cache/golden-jobs`) does not know as they are now.
    GoldenJobsError for a context that is no folder, a bad ignore file, and files that cannot be read or do not stop changing.
    """
    selection = select(context, dockerignore.read(context, dockerfile))
    if progress and selection.special:
        progress.say(f"left out of the context, neither file nor folder nor link: {printable(', '.join(selection.special[:5]))}")
    cache = DigestCache(cache_dir or default_folder(), context)
    files: dict[str, str] = {}
    unknown: dict[str, int] = {}
    for path, status in selection.entries.items():
        if stat.S_ISDIR(status.st_mode):
            files[path] = f"dir {_mode(status)}"
        elif stat.S_ISLNK(status.st_mode):
            files[path] = f"link {_target(context, path)}"
        elif sha256 := cache.get(path, status):
            files[path] = f"file {_mode(status)} {sha256}"
        else:
            unknown[path] = status.st_size

    def found(path: str, status: os.stat_result, sha256: str, started_ns: int) -> None:
        files[path] = f"file {_mode(status)} {sha256}"
        cache.put(path, status, sha256, started_ns)

    try:
        hash_files(context, unknown, found, progress)
    finally:
        cache.save()
    return Manifest({path: files[path] for path in sorted(files)}, recipe)


def context_digest(context: str, recipe: Recipe) -> str:
    """64 hexadecimal digits over the context's files and the recipe."""
    return describe(context, recipe).digest


def immutable_tag(version: str, digest: str) -> str:
    """`<version>-<first 12 hex of the context digest>`, lower case (OpenPAI refuses upper case in private registries)."""
    return f"{version.lower()}-{digest[:12]}"


def select(context: str, ignore: dockerignore.Ignore) -> Selection:
    """Walk the context; excluded folders only where an exception may match something below them."""
    if not os.path.isdir(context):
        raise GoldenJobsError(f"The context {context} is not a folder: docker_build needs the path of an existing folder.")
    selection = Selection()
    _walk(os.fsencode(context), "", ignore, None, selection)
    return selection


def _walk(folder: bytes, prefix: str, ignore: dockerignore.Ignore, parent: Sequence[bool] | None, selection: Selection) -> int:
    """Number of entries selected in this folder and below."""
    before = len(selection.entries)
    with os.scandir(folder) as listing:
        children = list(listing)
    for child in children:
        path = prefix + child.name.decode("utf-8", "surrogateescape")
        excluded, matched = ignore.excludes(path, parent)
        is_folder = child.is_dir(follow_symlinks=False)
        if excluded:
            outside = len(selection.excluded)
            if is_folder and ignore.may_except_below(path) and _descend(child, path, ignore, matched, selection, True):
                # An exception below needs its folders.
                selection.entries[path] = child.stat(follow_symlinks=False)
            else:
                selection.excluded[outside:] = [path]
            continue
        try:
            status = child.stat(follow_symlinks=False)
        except FileNotFoundError:  # gone since the folder was listed
            continue
        if is_folder:
            selection.entries[path] = status
            _descend(child, path, ignore, matched, selection, False)
        elif stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode):
            selection.entries[path] = status
        else:
            selection.special.append(path)
    return len(selection.entries) - before


def _descend(
    child: os.DirEntry[bytes], path: str, ignore: dockerignore.Ignore, matched: Sequence[bool], selection: Selection, excluded: bool
) -> int:
    try:
        return _walk(child.path, f"{path}/", ignore, matched, selection)
    except FileNotFoundError:
        return 0
    except PermissionError as error:
        if excluded:
            return 0
        raise GoldenJobsError(
            f"The folder {path!r} of the context cannot be read ({error.strerror}): make it readable, or name it in .dockerignore."
        ) from error


def _mode(status: os.stat_result) -> str:
    return f"{stat.S_IMODE(status.st_mode):04o}"


def _target(context: str, path: str) -> str:
    try:
        target = os.readlink(os.path.join(os.fsencode(context), path.encode("utf-8", "surrogateescape")))
    except OSError as error:
        raise GoldenJobsError(f"The link {path!r} of the context cannot be read ({error.strerror}).") from error
    return target.decode("utf-8", "surrogateescape")
