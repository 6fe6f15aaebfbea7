"""A git repository at one commit in a folder of the context. Keys and tokens are seen by git alone: they are in no argument,
no address, no file of the cache, and therefore neither in a process list nor in a log nor in an image."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from .download import at, locked
from .errors import GoldenJobsError
from .progress import Progress

SPEC: dict[str, Any] = {
    "path": {"type": "str", "required": True},
    "repository": {"type": "str", "required": True},
    "version": {"type": "str", "required": True},
    "deploy_key": {"type": "str", "no_log": True},
    "known_hosts": {"type": "str", "no_log": False},
    "username": {"type": "str", "default": "git"},
    "token": {"type": "str", "no_log": True},
    "written": {"type": "str"},
}

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_MEMORY = "/dev/shm"  # noqa: S108 - a private folder is made there
#: git asks "Username for …" and "Password for …"; the answers come from its own environment.
_ASKPASS = (
    '#!/bin/sh\ncase "$1" in Username*) printf "%s\\n" "$GOLDEN_JOBS_GIT_USER" ;; *) printf "%s\\n" "$GOLDEN_JOBS_GIT_TOKEN" ;; esac\n'
)


def check(source: Mapping[str, Any]) -> None:
    """GoldenJobsError for an entry that is wrong in itself."""
    address = urlsplit(source["repository"]) if "://" in source["repository"] else None
    if address and address.password:
        shown = source["repository"].replace(f"{address.username}:{address.password}@", "")
        raise GoldenJobsError(f"The repository address {shown} holds a password: give it as token{at(source)}.")
    if source["token"] and (address is None or address.scheme not in ("https", "http")):
        raise GoldenJobsError(
            f"The repository {source['repository']} has a token, which needs an https address: use deploy_key{at(source)}."
        )
    if source["deploy_key"] and address and address.scheme in ("https", "http"):
        raise GoldenJobsError(f"The repository {source['repository']} has a deploy_key, which needs an ssh address: use token{at(source)}.")


def check_out(source: Mapping[str, Any], dest: str, cache: str, timeout_s: int, progress: Progress) -> str:
    """Bring one repository's files at one commit to `dest`/path; the commit.

    The bare repository stays in the cache; a commit that it has already costs no network. An index of its own beside
    the work tree lets git see what changed, so an unchanged tree is neither written nor read again.
    """
    key = hashlib.sha256(source["repository"].encode()).hexdigest()[:16]
    bare = os.path.join(cache, f"{key}.git")
    tree = os.path.join(dest, source["path"])
    os.makedirs(cache, exist_ok=True)
    progress.hide([source["token"] or ""])
    with locked(f"{bare}.lock"):
        if not os.path.isdir(bare):
            _git(source, ["init", "--quiet", "--bare", bare], timeout_s)
        with _credentials(source, cache) as access:
            commit = _commit(source, bare, timeout_s, access, progress)
        os.makedirs(tree, exist_ok=True)
        index = {"GIT_INDEX_FILE": os.path.join(os.path.dirname(os.path.abspath(dest)), f"index-{source['path'].replace('/', '_')}")}
        git = ["--git-dir", bare, "--work-tree", tree, "-c", "core.bare=false", "-c", "core.autocrlf=false"]
        _git(source, [*git, "read-tree", "--reset", "-u", commit], timeout_s, index)
        _git(source, [*git, "checkout-index", "--all", "--force"], timeout_s, index)
        _git(source, [*git, "-C", tree, "clean", "-ffdxq"], timeout_s, index)
    return commit


def _commit(source: Mapping[str, Any], bare: str, timeout_s: int, access: Mapping[str, str], progress: Progress) -> str:
    """The commit that the version names, fetched into the bare repository."""
    repository, version = source["repository"], source["version"]
    if _COMMIT.fullmatch(version):
        commit = str(version)
    else:
        answer = _git(source, ["ls-remote", repository, version, f"{version}^{{}}"], timeout_s, access).split()
        if not answer:
            raise GoldenJobsError(f"The repository {repository} has no branch, tag or commit {version!r}{at(source)}.")
        commit = answer[-2]  # of an annotated tag the peeled line comes last
    if _has(bare, commit):
        return commit
    progress.say(f"fetching {repository} at {commit[:12]}")
    try:
        _git(source, ["-C", bare, "fetch", "--quiet", "--depth", "1", repository, commit], timeout_s, access)
    except GoldenJobsError:
        # Some servers give no single commit: take all branches and tags instead.
        _git(source, ["-C", bare, "fetch", "--quiet", "--tags", repository, "+refs/heads/*:refs/heads/*"], timeout_s, access)
        if not _has(bare, commit):
            raise GoldenJobsError(f"The repository {repository} has no commit {commit}{at(source)}.") from None
    return commit


@contextlib.contextmanager
def _credentials(source: Mapping[str, Any], cache: str) -> Iterator[dict[str, str]]:
    """Environment in which git can log in; its files are in memory and gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="golden-jobs-git-", dir=_MEMORY if os.path.isdir(_MEMORY) else None) as private:
        access: dict[str, str] = {}
        if source["token"]:
            askpass = os.path.join(private, "askpass")
            _write(askpass, _ASKPASS, 0o700)
            access = {"GIT_ASKPASS": askpass, "GOLDEN_JOBS_GIT_USER": source["username"], "GOLDEN_JOBS_GIT_TOKEN": source["token"]}
        if source["deploy_key"]:
            if not shutil.which("ssh"):
                raise GoldenJobsError("ssh is not installed on this build server: a deploy_key needs the package openssh-client.")
            key = os.path.join(private, "key")
            _write(key, source["deploy_key"].rstrip("\n") + "\n", 0o600)
            known_hosts, checking = os.path.join(cache, "known_hosts"), "accept-new"
            if source["known_hosts"]:
                known_hosts, checking = os.path.join(private, "known_hosts"), "yes"
                _write(known_hosts, source["known_hosts"].rstrip("\n") + "\n", 0o600)
            options = {"IdentitiesOnly": "yes", "BatchMode": "yes", "StrictHostKeyChecking": checking, "UserKnownHostsFile": known_hosts}
            words = ["ssh", "-i", key, *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]
            access["GIT_SSH_COMMAND"] = shlex.join(words)
        yield access


def _write(path: str, text: str, mode: int) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as handle:
        handle.write(text)


def _has(bare: str, commit: str) -> bool:
    return subprocess.run(["git", "-C", bare, "cat-file", "-e", f"{commit}^{{tree}}"], capture_output=True, check=False).returncode == 0


def _git(source: Mapping[str, Any], argv: list[str], timeout_s: int, environment: Mapping[str, str] | None = None) -> str:
    # The operator's own git settings (hooks, templates, helpers, prompts) must not decide what a context holds.
    settings = {"safe.directory": "*", "credential.helper": ""}
    env = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_COUNT": str(len(settings))}
    for number, (name, value) in enumerate(settings.items()):
        env.update({f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value})
    try:
        done = subprocess.run(
            ["git", *argv],
            env={**env, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError as error:
        raise GoldenJobsError("git is not installed on this build server: install the package git.") from error
    except subprocess.TimeoutExpired as error:
        raise GoldenJobsError(f"The repository {source['repository']} gave no answer within {timeout_s} s{at(source)}.") from error
    if done.returncode != 0:
        words = " ".join([line for line in done.stderr.strip().splitlines() if line][:2] or ["no message"])
        for secret in (source["token"], source["deploy_key"]):
            words = words.replace(secret, "********") if secret else words
        raise GoldenJobsError(
            f"The repository {source['repository']} at {source['version']!r} cannot be had: {words.rstrip('.')}{at(source)}."
        )
    return done.stdout
