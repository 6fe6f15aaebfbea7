"""Login and application tokens: made, stored, looked up, revoked."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass
from typing import Any

from . import jwt
from .errors import PaiError, forbidden
from .store import Store
from .users import Users

LOGIN_TOKEN_S = 7 * 24 * 3600


@dataclass(frozen=True)
class Caller:
    """Who sent a request."""

    username: str
    admin: bool
    application: bool
    payload: dict[str, Any]
    token: str


class Tokens:
    """The tokens of all users. A token is valid only while it is stored."""

    def __init__(self, store: Store, users: Users, login_token_s: int = LOGIN_TOKEN_S) -> None:
        self._store = store
        self._users = users
        self._login_token_s = login_token_s
        self._key = store.secret_key()

    def create(self, username: str, application: bool = False) -> str:
        """Make and store a token; login tokens live as long as the server says, whatever the login asked for."""
        now = int(time.time())
        payload: dict[str, Any] = {
            "username": username,
            "application": application,
            "jobSpecific": False,
            "encodedFrameworkName": "",
            "iat": now,
        }
        if not application:
            payload["exp"] = now + self._login_token_s
        token = jwt.encode(payload, self._key)
        self._store.drop_tokens(username, [kept for kept in self._store.tokens(username) if self.read(kept) is None])
        self._store.add_token(username, token)
        return token

    def read(self, token: str) -> dict[str, Any] | None:
        """The payload of a token of this server that has not expired, stored or not."""
        return jwt.decode(token, self._key, time.time())

    def of(self, username: str) -> list[str]:
        """The stored tokens of a user, oldest first."""
        return self._store.tokens(username)

    def expire_logins(self) -> None:
        """Forget the login tokens of everybody, as if their time were over; application tokens stay."""
        for username, token in self._store.all_tokens():
            payload = self.read(token)
            if payload is None or not payload["application"]:
                self._store.drop_tokens(username, [token])

    def revoke(self, username: str, token: str) -> None:
        """Forget a token."""
        self._store.drop_tokens(username, [token])

    def caller(self, authorization: str | None) -> Caller:
        """Who an ``Authorization`` header stands for; 401 when it stands for nobody."""
        if not authorization:
            raise PaiError(401, "UnauthorizedUserError", "Guest is not allowed to do this operation.")
        caller = self._caller(authorization)
        if caller is None:
            raise PaiError(401, "UnauthorizedUserError", "Your token is invalid.")
        return caller

    def _caller(self, authorization: str) -> Caller | None:
        scheme, _, credentials = authorization.partition(" ")
        basic_user: str | None = None
        token = credentials.split(" ")[0]
        if scheme.lower() == "basic":
            try:
                basic_user, _, token = base64.b64decode(token).decode().partition(":")
            except ValueError:
                return None
        elif scheme.lower() != "bearer":
            return None
        payload = self.read(token)
        if payload is None or token not in self.of(str(payload["username"])):
            return None
        if basic_user is not None and not (payload["application"] and payload["username"] == basic_user):
            return None
        user = self._users.get(payload["username"])
        if user is None:
            return None
        return Caller(user.username, user.admin, bool(payload["application"]), payload, token)


def refuse_application(caller: Caller) -> None:
    """403 for an application token on a route that wants a login token."""
    if caller.application:
        raise forbidden("Applications are not allowed to do this operation.")
