"""The control node's part of course_context: render the Dockerfile, read the requirements, pack the course's files, send them in one archive.

Whatever is wrong in these files is said here, in one sentence with file and line, before anything is sent.
"""

from __future__ import annotations

import io
import os
import re
import tarfile
import tempfile
from pathlib import Path

import ansible.module_utils
from ansible.errors import AnsibleActionFail, AnsibleError, AnsibleUndefinedVariable
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import action_loader

_OURS = str(Path(__file__).resolve().parents[2] / "module_utils")
if _OURS not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_OURS)

from ansible.module_utils.golden_jobs import requirements_file, written
from ansible.module_utils.golden_jobs.errors import GoldenJobsError

try:  # ansible-core >= 2.19 renders only what is marked as a template
    from ansible.template import trust_as_template
except ImportError:

    def trust_as_template(value):
        return value


_MOUNTED = re.compile(r"--mount=type=bind,source=([^,\s]+)")
_COPIED = re.compile(r"^COPY (?!.*--from=)(?:--\S+ )*(\S+) ", re.MULTILINE)


# Outside of this project's ansible.cfg, where ansible-test imports it, there is no `live`.
class ActionModule(action_loader.get("live", class_only=True) or ActionBase):
    TRANSFERS_FILES = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        return {**result, "requirements": self._requirements}

    def _arguments(self, task_vars):
        args = super()._arguments(task_vars)
        dockerfile = args.get("dockerfile")
        if not dockerfile:
            raise AnsibleActionFail("course_context needs the option dockerfile: the template or Dockerfile of the course.")
        folder = args.get("folder")
        for option in ("sources", "downloads"):
            args[option] = [_with_place(entry) for entry in args.get(option) or []]
        content = self._render(dockerfile, args.get("search_path") or [os.path.dirname(dockerfile)], task_vars)
        try:
            self._requirements = _requirements(folder, content)
        except GoldenJobsError as error:
            raise AnsibleActionFail(str(error)) from None
        with tempfile.NamedTemporaryFile(prefix="golden-jobs-context-", suffix=".tar") as archive:
            with tarfile.open(fileobj=archive, mode="w") as tar:
                if folder:
                    _add_folder(tar, folder, "")
                for name, path in (args.get("files") or {}).items():
                    _add_path(tar, path, name)
                for name, text in (args.get("texts") or {}).items():
                    _add(tar, name, str(text).encode(), executable=False)
                fetched = {os.path.normpath(str(entry.get("path"))) for option in ("sources", "downloads") for entry in args[option]}
                _check_sources(dockerfile, content, {*tar.getnames(), *fetched, *(f"{path}.sha256" for path in fetched)})
                _add(tar, "Dockerfile", content.encode(), executable=False)
            archive.flush()
            remote = self._connection._shell.join_path(self._connection._shell.tmpdir, "context.tar")
            self._transfer_file(archive.name, remote)
        self._fixup_perms2((self._connection._shell.tmpdir, remote))
        return {**args, "archive": remote}

    def _render(self, dockerfile, search_path, task_vars):
        try:
            with open(dockerfile, encoding="utf-8") as handle:
                content = handle.read()
        except OSError as error:
            raise AnsibleActionFail(f"The Dockerfile {dockerfile} cannot be read: {error.strerror}.") from None
        if not dockerfile.endswith(".j2"):
            return content
        # Included, not given as text: Jinja then knows the file, and a mistake in it has a line.
        search_path = [os.path.dirname(dockerfile), *search_path]
        templar = self._templar.copy_with_new_env(searchpath=search_path, available_variables=task_vars)
        include = trust_as_template(f"{{% include {os.path.basename(dockerfile)!r} %}}")
        try:
            return templar.template(include, escape_backslashes=False, overrides={"keep_trailing_newline": True})
        except AnsibleUndefinedVariable as error:
            reason = _reason(error)
            raise AnsibleActionFail(
                f"{_where_named(reason, dockerfile, search_path)}: {reason}: write the name of one of the course's inventory variables, "
                "or give it a default."
            ) from None
        except AnsibleError as error:
            raise AnsibleActionFail(f"{_where(error, dockerfile)}: the template cannot be rendered: {_reason(error)}.") from None


def _with_place(entry):
    """The entry of sources or downloads and where the operator wrote it."""
    places = [written.place(entry.get(name)) for name in ("version", "sha256", "repository", "url") if entry.get(name)]
    return {**entry, "written": next((place for place in places if place and "/roles/" not in place), "")}


def _requirements(folder, content):
    """Names and whether they are conditional, of the requirements files of the folder that the Dockerfile names."""
    found = []
    for path in sorted(Path(folder).glob("*requirements*.txt")) if folder else []:
        parsed = requirements_file.parse(path.read_text(encoding="utf-8"), written.short(str(path)))
        if requirements_file.is_used(path.name, content):
            found += [{"name": one.name, "conditional": one.conditional} for one in parsed]
    return found


def _check_sources(dockerfile, content, names):
    """What the Dockerfile mounts or copies has to be in the context; said here, because builders name neither file nor line."""
    for match in [*_MOUNTED.finditer(content), *_COPIED.finditer(content)]:
        wanted = os.path.normpath(match.group(1).lstrip("/"))
        if re.search(r"[*?\[$]", wanted) or wanted == ".":
            continue
        if not any(name == wanted or name.startswith(wanted + "/") or wanted.startswith(name + "/") for name in names):
            raise AnsibleActionFail(
                f"{written.short(dockerfile)} uses {wanted}, which is not in the course's context: it has to be in "
                f"{written.short(os.path.dirname(dockerfile))}, or among the course's repositories and downloads."
            )


def _where(error, dockerfile):
    """`file:line` of the template that Jinja cannot read."""
    while error is not None:
        if getattr(error, "lineno", None) and str(getattr(error, "filename", None) or "").endswith(".j2"):
            return f"{written.short(error.filename)}:{error.lineno}"
        error = error.__cause__ or error.__context__
    return written.short(dockerfile)


def _where_named(reason, dockerfile, search_path):
    """`file:line` of the first expression with the name that is undefined, in the template or in the macros that it may import.

    Since ansible-core 2.19 the error itself does not know its line.
    """
    name = re.search(r"'(\w+)' is undefined|has no attribute '?(\w+)", reason)
    macros = [path for folder in search_path for path in sorted(Path(folder, "macros").glob("*.j2"))]
    for path in [Path(dockerfile), *macros] if name else []:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if re.search(rf"\{{[{{%].*\b{name.group(1) or name.group(2)}\b", line):
                return f"{written.short(str(path))}:{number}"
    return written.short(dockerfile)


def _reason(error):
    """The first cause's own words, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(getattr(error, "message", None) or error).split()).rstrip(".")


def _add_path(tar, path, name):
    if os.path.isfile(path):
        with open(path, "rb") as handle:
            _add(tar, os.path.normpath(name), handle.read(), executable=os.access(path, os.X_OK))
    else:
        _add_folder(tar, path, name)


def _add_folder(tar, folder, prefix):
    if not os.path.isdir(folder):
        raise AnsibleActionFail(f"The folder {folder} does not exist: it belongs to the course's context.")
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(one for one in folders if one != "__pycache__")
        for name in sorted(names):
            path = os.path.join(parent, name)
            if name.endswith(".j2") or not os.path.isfile(path):
                continue
            inside = os.path.normpath(os.path.join(prefix, os.path.relpath(path, folder)))
            with open(path, "rb") as handle:
                _add(tar, inside, handle.read(), executable=os.access(path, os.X_OK))


def _add(tar, name, content, executable):
    """One file with neither owner nor time: only content, name and the executable bit count."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    member.mode = 0o755 if executable else 0o644
    tar.addfile(member, io.BytesIO(content))
