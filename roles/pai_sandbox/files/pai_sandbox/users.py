"""Who may use the cluster: the users file, and users made through the API."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .job_ssh import new_key_pair
from .store import Store

DEFAULT_CLUSTER = "default"
ADMIN_GROUP = "admingroup"
_JOB_SSH = "jobSSH"


@dataclass
class User:
    """One account; ``password_hash`` is salted scrypt."""

    username: str
    password_hash: str
    admin: bool = False
    virtual_clusters: list[str] = field(default_factory=lambda: [DEFAULT_CLUSTER])
    email: str = ""
    extension: dict[str, Any] = field(default_factory=dict)


def hash_password(password: str) -> str:
    """A salted hash of a password as ``salt$hash`` in hex."""
    salt = os.urandom(16)
    # A light cost: logins of the sandbox must not slow down a run, and the users file holds the clear text anyway.
    digest = hashlib.scrypt(password.encode(), salt=salt, n=2**10, r=8, p=1)
    return f"{salt.hex()}${digest.hex()}"


def is_password(password: str, password_hash: str) -> bool:
    """Whether a password belongs to a hash."""
    salt, _, expected = password_hash.partition("$")
    digest = hashlib.scrypt(password.encode(), salt=bytes.fromhex(salt), n=2**10, r=8, p=1)
    return hmac.compare_digest(digest.hex(), expected)


def read_users_file(path: Path) -> list[User]:
    """The users of a file ``{"users": [{"username", "password", "admin", "virtualClusters"}]}``.

    Raises ``ValueError`` with a sentence when the file is not like that.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["users"]
        return [
            User(
                username=entry["username"],
                password_hash=hash_password(entry["password"]),
                admin=bool(entry.get("admin", False)),
                virtual_clusters=list(entry.get("virtualClusters", [DEFAULT_CLUSTER])),
                email=entry.get("email", ""),
            )
            for entry in entries
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f'{path}: not a users file ({type(error).__name__}); allowed: {{"users": [{{"username", "password", "admin", "virtualClusters"}}]}}'
        ) from error


class Users:
    """All accounts; the users file wins over a user of the same name made through the API."""

    def __init__(self, path: Path, store: Store) -> None:
        self._store = store
        self._file_users = {user.username: user for user in read_users_file(path)}
        for user in self._file_users.values():
            user.extension = store.extension(user.username)

    def get(self, username: str) -> User | None:
        """One account; names are case-sensitive."""
        if username in self._file_users:
            return self._file_users[username]
        row = self._store.user(username)
        return User(**row) if row else None

    def all(self) -> list[User]:
        """Every account, sorted by name."""
        names = set(self._file_users) | set(self._store.user_names())
        return [user for user in (self.get(name) for name in sorted(names)) if user]

    def add(self, user: User) -> None:
        """Keep a new account."""
        self._store.add_user(vars(user))

    def set_extension(self, user: User, extension: dict[str, Any]) -> None:
        """Merge free user data, as the server does."""
        user.extension = {**user.extension, **extension}
        self._store.set_extension(user.username, user.extension)

    def virtual_clusters(self) -> list[str]:
        """The clusters of this server: ``default`` and whatever the users file grants."""
        granted = {name for user in self._file_users.values() for name in user.virtual_clusters}
        return [DEFAULT_CLUSTER, *sorted(granted - {DEFAULT_CLUSTER})]

    def granted(self, user: User) -> list[str]:
        """The clusters that a user may use; admins may use all."""
        return self.virtual_clusters() if user.admin else user.virtual_clusters

    def groups(self, user: User) -> list[str]:
        """The groups of a user: one for each virtual cluster, and that of the admins."""
        return [*self.granted(user), ADMIN_GROUP] if user.admin else user.virtual_clusters

    def shown(self, user: User) -> dict[str, Any]:
        """A user as the API shows it: without the password."""
        if _JOB_SSH not in user.extension:
            self.set_extension(user, {_JOB_SSH: new_key_pair()})
        return {
            "username": user.username,
            "grouplist": self.groups(user),
            "email": user.email,
            "extension": user.extension,
            "admin": user.admin,
            "virtualCluster": self.granted(user),
            "storageConfig": [],
        }
