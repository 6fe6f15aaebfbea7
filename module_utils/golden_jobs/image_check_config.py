"""Checks of what the engine knows of an image: its user, labels, environment and history."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from . import secret_scan
from .container_files import ContainerFiles


def user_problem(config: Mapping[str, Any], files: ContainerFiles, wanted: str) -> str | None:
    """None when the image runs as this user (name or uid). `config`: the image's `Config` as the engine describes it."""
    user = _user(config)
    if user == wanted:
        return None
    uid = files.user_id(wanted)
    if uid is None:
        return f"the image runs as {user!r} instead of {wanted!r}, who is not in its /etc/passwd"
    return None if files.user_id(user) == uid else f"the image runs as {user!r} instead of {wanted!r}"


def root_problem(config: Mapping[str, Any], files: ContainerFiles) -> str | None:
    """None when the image runs as another user than root."""
    user = _user(config)
    uid = files.user_id(user)
    if uid is None:
        return f"the image runs as {user!r}, who is not in its /etc/passwd"
    return None if uid else f"the image runs as root{'' if user in ('root', '0') else f' (user {user!r})'}"


def _user(config: Mapping[str, Any]) -> str:
    return str(config.get("User") or "").partition(":")[0] or "root"


def label_problem(config: Mapping[str, Any], wanted: Mapping[str, Any]) -> str | None:
    """None when the image has each label, with a value that the regular expression matches."""
    labels = config.get("Labels") or {}
    for name, pattern in wanted.items():
        if name not in labels:
            return f"the image has no label {name}"
        if pattern is not None and not re.search(str(pattern), labels[name]):
            return f"the label {name} is {labels[name][:100]!r}, which does not match {str(pattern)!r}"
    return None


def secret_problem(config: Mapping[str, Any], history: Iterable[Mapping[str, Any]], allow: Iterable[str]) -> str | None:
    """None when neither environment, labels nor history (as the engine lists it, newest first) hold a secret."""
    environment = dict(entry.partition("=")[::2] for entry in config.get("Env") or [])
    allowed = set(allow)
    found = list(secret_scan.in_environment(environment, allowed))
    for name, value in (config.get("Labels") or {}).items():
        if name not in allowed and (what := secret_scan.in_value(value, allowed)):
            found.append(secret_scan.Finding(name, f"the label {name} holds {what}"))
    # What a variable holds stands in the history as well: once is enough.
    steps = [str(step.get("CreatedBy") or "") for step in reversed(list(history))]
    found += secret_scan.in_history(steps, allowed | {finding.name for finding in found})
    return "; ".join(finding.text for finding in found) or None
