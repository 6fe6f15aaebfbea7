"""Rules for image references and registry logins, as the runtime's image check and the kubelet have them."""

from __future__ import annotations

import re

from .protocol import DOCKER_HUB

_HUB_HOSTS = ("index.docker.io", "docker.io", "registry-1.docker.io")


def registry_host(image: str) -> str | None:
    """The registry named by an image reference, or None for Docker Hub's short names."""
    first, slash, _ = image.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else None


def split_tag(image: str) -> tuple[str, str]:
    """Repository (with its registry) and tag; the tag defaults to ``latest``."""
    repository, colon, tag = image.rpartition(":")
    return (repository, tag) if colon and "/" not in tag else (image, "latest")


def reference_problem(image: str, auth: dict[str, str] | None) -> str | None:
    """Why the image check refuses a reference before it asks any registry, or None."""
    if "@" in image:
        return f"image uri {image} is invalid: digests are refused, name a tag"
    host = registry_host(image)
    named = image[len(host) + 1 :] if host else image
    if re.search(r"[A-Z]", named):
        return f"image uri {image} is invalid: upper-case letters are refused in repository and tag"
    if auth and auth.get("username") and auth.get("password") and not auth.get("registryuri"):
        return f"image check of {image} failed: auth has a user and a password but no registryuri"
    return None


def _auth_host(auth: dict[str, str]) -> str:
    uri = auth.get("registryuri") or DOCKER_HUB
    return re.sub(r"^https?://", "", uri).split("/", 1)[0]


def pull_login(image: str, auths: list[dict[str, str]], has_secrets: bool) -> dict[str, str] | None:
    """The login for pulling an image out of all logins of the job, or None for an anonymous pull.

    A login counts only for its own registry, and only in a job with a ``secrets`` section: without one the runtime's
    check asks anonymously and reports a private image as missing.
    """
    if not has_secrets:
        return None
    host = registry_host(image)
    for auth in auths:
        auth_host = _auth_host(auth)
        if auth_host == host or (host is None and auth_host in _HUB_HOSTS):
            return {"username": auth.get("username", ""), "password": auth.get("password", "")}
    return None
