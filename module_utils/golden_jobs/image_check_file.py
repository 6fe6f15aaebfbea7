"""Checks of a file or folder in the container: is it there, whose is it, and are its bytes the right ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import image_check_bytes
from .container_files import ContainerFiles, File


def problem(files: ContainerFiles, check: Mapping[str, Any]) -> str | None:
    """What is wrong with the check's path, or None. A symbolic link counts as what it leads to."""
    path = check["file"]
    link = files.link_target(path)
    if check["exists"] is False:
        return None if link is None else f"{path} exists{_leads_to(link)}"
    if link is None:
        return f"{path} does not exist"
    found = files.file(path, link, with_sha256=image_check_bytes.wanted(check))
    if found is None:
        return f"{path} leads nowhere{_leads_to(link)}"
    return _mode_problem(found, check) or _owner_problem(files, found, check) or _content_problem(found, check)


def _leads_to(link: str) -> str:
    return f" (a link to {link})" if link else ""


def _mode_problem(found: File, check: Mapping[str, Any]) -> str | None:
    if check["mode"] is None or found.mode == int(check["mode"], 8):
        return None
    return f"{check['file']} has the mode {found.mode:04o} instead of {check['mode']}"


def _owner_problem(files: ContainerFiles, found: File, check: Mapping[str, Any]) -> str | None:
    if check["owner"] is None:
        return None
    user, colon, group = check["owner"].partition(":")
    uid = files.user_id(user)
    if uid is None:
        return f"the image has no user {user!r} in its /etc/passwd"
    gid = files.group_id(group) if colon else found.gid
    if gid is None:
        return f"the image has no group {group!r} in its /etc/group"
    if (uid, gid) == (found.uid, found.gid):
        return None
    has, wanted = (f"{found.uid}:{found.gid}", f"{uid}:{gid}") if colon else (str(found.uid), str(uid))
    meant = f" ({check['owner']})" if wanted != check["owner"] else ""
    return f"{check['file']} belongs to {has} instead of {wanted}{meant}"


def _content_problem(found: File, check: Mapping[str, Any]) -> str | None:
    path = check["file"]
    if not image_check_bytes.wanted(check):
        return None
    if found.sha256 is None:
        return f"{path} is no file"
    return image_check_bytes.problem(f"{path} has", found.sha256, check)
