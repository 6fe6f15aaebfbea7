"""The control node's part of course_context: render the Dockerfile, pack the course's files, send them in one archive."""

from __future__ import annotations

import io
import os
import tarfile
import tempfile

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase

try:  # ansible-core >= 2.19 renders only what is marked as a template
    from ansible.template import trust_as_template
except ImportError:

    def trust_as_template(value):
        return value


class ActionModule(ActionBase):
    TRANSFERS_FILES = True
    _supports_async = False
    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        args = self._task.args
        dockerfile = args.get("dockerfile")
        if not dockerfile:
            raise AnsibleActionFail("course_context needs the option dockerfile: the template or Dockerfile of the course.")
        folder = args.get("folder")
        files = args.get("files") or {}
        search_path = args.get("search_path") or [os.path.dirname(dockerfile)]
        content = self._render(dockerfile, search_path, task_vars or {})
        with tempfile.NamedTemporaryFile(prefix="golden-jobs-context-", suffix=".tar") as archive:
            with tarfile.open(fileobj=archive, mode="w") as tar:
                if folder:
                    _add_folder(tar, folder, "")
                for name, path in files.items():
                    _add_folder(tar, path, name)
                _add(tar, "Dockerfile", content.encode(), executable=False)
            archive.flush()
            remote = self._connection._shell.join_path(self._connection._shell.tmpdir, "context.tar")
            self._transfer_file(archive.name, remote)
        self._fixup_perms2((self._connection._shell.tmpdir, remote))
        return self._execute_module(module_name="course_context", module_args={**args, "archive": remote}, task_vars=task_vars)

    def _render(self, dockerfile, search_path, task_vars):
        try:
            with open(dockerfile, encoding="utf-8") as handle:
                content = handle.read()
        except OSError as error:
            raise AnsibleActionFail(f"The Dockerfile template {dockerfile} cannot be read: {error.strerror}.") from error
        if not dockerfile.endswith(".j2"):
            return content
        templar = self._templar.copy_with_new_env(searchpath=search_path, available_variables=task_vars)
        try:
            return templar.template(trust_as_template(content), escape_backslashes=False, overrides={"keep_trailing_newline": True})
        except AnsibleError as error:
            raise AnsibleActionFail(f"The template {dockerfile} cannot be rendered: {' '.join(str(error).split())}") from error


def _add_folder(tar, folder, prefix):
    if not os.path.isdir(folder):
        raise AnsibleActionFail(f"The folder {folder} does not exist: it belongs to the course's context.")
    for parent, folders, names in os.walk(folder):
        folders.sort()
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
