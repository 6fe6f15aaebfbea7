"""What an image is made from, its digest, and what changed since the last image."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from .digest_cache import default_folder, write_private

#: Part of every digest: raise it when the rules below change, so that old and new digests never meet.
FORMAT = 2
#: So many files are named where a change is shown, and so many lines of a Dockerfile's change.
MOST_FILES = 50
MOST_DOCKERFILE_LINES = 100


@dataclass(frozen=True)
class Recipe:
    """Everything besides the files that decides what a build makes."""

    dockerfile: str
    """content of the Dockerfile"""
    base_images: Mapping[str, str]
    """reference as written in the Dockerfile -> digest"""
    build_args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    target: str | None = None
    platform: str | None = None
    refresh: str | None = None


@dataclass(frozen=True)
class Manifest:
    """The files of a context and the recipe: the same manifest makes the same image."""

    files: Mapping[str, str]
    """path -> `file 0644 <sha256>`, `dir 0755` or `link <target>`. No times, no owners, no extended attributes: they
    differ between machines. Not the context's own folder: COPY does not keep its mode. A hard link is a file like others."""
    recipe: Recipe

    @cached_property
    def digest(self) -> str:
        """64 hexadecimal digits over all of it."""
        document = {"format": FORMAT, **self.document()}
        return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode("ascii")).hexdigest()

    def document(self) -> dict[str, Any]:
        """As JSON would say it: keys `files` and `recipe`."""
        return {"files": dict(self.files), "recipe": asdict(self.recipe)}


class LastImages:
    """On a build server: of each name (say, `repository:version` of a course) what its last image was made from."""

    def __init__(self, folder: str | None = None) -> None:
        self._folder = folder or os.path.join(default_folder(), "last")

    def read(self, name: str) -> Manifest | None:
        """The manifest written last, or None: there is none, it is damaged, or of another format."""
        document = self._document(name)
        return Manifest(document["files"], Recipe(**document["recipe"])) if document else None

    def reference(self, name: str) -> str | None:
        """The image that was made from it."""
        document = self._document(name)
        return str(document["reference"]) if document else None

    def write(self, name: str, manifest: Manifest, reference: str) -> None:
        """Replace what is remembered of this name. Where it cannot be written, the next diff knows less, and nothing fails."""
        document = {"format": FORMAT, "name": name, "reference": reference, "digest": manifest.digest, **manifest.document()}
        with contextlib.suppress(OSError):
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            write_private(self._path(name), json.dumps(document, separators=(",", ":")))

    def _path(self, name: str) -> str:
        readable = re.sub(r"[^A-Za-z0-9.-]+", "_", name)[-100:]
        return os.path.join(self._folder, f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:8]}.json")

    def _document(self, name: str) -> dict[str, Any] | None:
        try:
            with open(self._path(name), encoding="ascii") as handle:
                document: dict[str, Any] = json.load(handle)
            sound = document["format"] == FORMAT and document["name"] == name
            if sound and Manifest(document["files"], Recipe(**document["recipe"])).digest == document["digest"]:
                return document
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass
        return None


def differences(old: Manifest | None, new: Manifest) -> list[str]:
    """What changed, a line each: base images, build arguments, labels, settings, files, and the Dockerfile's own lines."""
    if old is None:
        return ["no earlier image of this name is known on this build server"]
    lines = [_sentence(change) for change in _recipe_changes(old, new)]
    lines += _at_most(MOST_FILES, "context files", [_file_sentence(change) for change in _file_changes(old, new)])
    dockerfiles = old.recipe.dockerfile.splitlines(), new.recipe.dockerfile.splitlines()
    changed = difflib.unified_diff(*dockerfiles, "Dockerfile of the last image", "Dockerfile", lineterm="")
    return lines + _at_most(MOST_DOCKERFILE_LINES, "lines of the Dockerfile", [printable(line) for line in changed])


def diff(old: Manifest | None, new: Manifest) -> dict[str, str]:
    """Ansible's `diff`: `before`, `after` and their headers. Only what differs is in it, so that it stays short."""
    last = old or Manifest({}, Recipe("", {}))
    changes = _recipe_changes(last, new)
    files = _file_changes(last, new)
    dockerfile_changed = last.recipe.dockerfile != new.recipe.dockerfile
    sides = []
    for manifest, side in ((last, "old"), (new, "new")):
        lines = [f"{change.what} {getattr(change, side)}" for change in changes + files[:MOST_FILES] if getattr(change, side) is not None]
        lines += [f"and {len(files) - MOST_FILES} more context files"] if len(files) > MOST_FILES and manifest is new else []
        lines += [f"Dockerfile: {line}" for line in manifest.recipe.dockerfile.splitlines()] if dockerfile_changed else []
        sides.append("".join(f"{printable(line)}\n" for line in lines))
    return {
        "before": sides[0],
        "after": sides[1],
        "before_header": f"context {old.digest[:12]}" if old else "no earlier image known on this build server",
        "after_header": f"context {new.digest[:12]}",
    }


def printable(text: str) -> str:
    """Control characters and bytes that are not UTF-8 as escapes: it goes to a terminal and into JSON."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


class _Change(NamedTuple):
    what: str
    old: str | None
    new: str | None


def _recipe_changes(old: Manifest, new: Manifest) -> list[_Change]:
    before, after = old.recipe, new.recipe
    return [
        *_changed("base image ", before.base_images, after.base_images),
        *_changed("build argument ", before.build_args, after.build_args),
        *_changed("label ", before.labels, after.labels),
        *_changed("", _settings(before), _settings(after)),
    ]


def _file_changes(old: Manifest, new: Manifest) -> list[_Change]:
    return _changed("context file ", old.files, new.files)


def _changed(title: str, old: Mapping[str, str], new: Mapping[str, str]) -> list[_Change]:
    return [_Change(f"{title}{key}", old.get(key), new.get(key)) for key in sorted({*old, *new}) if old.get(key) != new.get(key)]


def _settings(recipe: Recipe) -> dict[str, str]:
    settings = {"target": recipe.target, "platform": recipe.platform, "refresh": recipe.refresh}
    return {name: value for name, value in settings.items() if value is not None}


def _sentence(change: _Change) -> str:
    if change.old is None:
        return printable(f"{change.what} added: {change.new}")
    if change.new is None:
        return printable(f"{change.what} removed")
    return printable(f"{change.what}: {change.old} -> {change.new}")


def _file_sentence(change: _Change) -> str:
    if change.old is None or change.new is None:
        return printable(f"{change.what} {'added' if change.old is None else 'removed'}")
    kind, _space, old = change.old.partition(" ")
    new_kind, _space, new = change.new.partition(" ")
    if kind != new_kind:
        return printable(f"{change.what}: {kind} -> {new_kind}")
    if kind == "link":
        return printable(f"{change.what}: link to {old} -> {new}")
    mode, _space, content = old.partition(" ")
    new_mode, _space, new_content = new.partition(" ")
    parts = [] if mode == new_mode else [f"mode {mode} -> {new_mode}"]
    return printable(f"{change.what}: {', '.join(['content', *parts] if content != new_content else parts)} changed")


def _at_most(count: int, what: str, lines: list[str]) -> list[str]:
    return lines if len(lines) <= count else [*lines[:count], f"and {len(lines) - count} more {what}"]
