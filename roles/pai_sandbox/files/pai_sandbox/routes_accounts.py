"""Routes for logins, tokens and users."""

from __future__ import annotations

import re
from typing import Any

from fastapi import APIRouter, Response

from . import inputs
from .context import Body, CurrentCaller, CurrentPerson, CurrentServer, Server
from .errors import PaiError, answer, forbidden
from .tokens import Caller
from .users import DEFAULT_CLUSTER, User, hash_password, is_password

router = APIRouter()

_LOGIN = [
    inputs.Field("username", inputs.text(inputs.USER_NAME, "username")),
    inputs.Field("password", inputs.text(shortest=6)),
    inputs.Field("expiration", inputs.whole_number(60, 7 * 24 * 3600), required=False),
]
_NEW_USER = [
    inputs.Field("username", inputs.text(inputs.USER_NAME, "username")),
    inputs.Field("email", inputs.text(empty=True), required=False),
    inputs.Field("password", inputs.text(shortest=6)),
    inputs.Field("admin", inputs.kind(bool, "a boolean"), required=False),
    inputs.Field("virtualCluster", inputs.kind(list, "an array"), required=False),
    inputs.Field("extension", inputs.kind(dict, "an object"), required=False),
]
_EXTENSION = [inputs.Field("extension", inputs.kind(dict, "an object"))]


@router.post("/api/v1/authn/basic/login")
@router.post("/api/v2/authn/basic/login")
@router.post("/api/v1/token")
@router.post("/api/v2/tokens")
def login(server: CurrentServer, body: Body) -> Response:
    """A login token for a user name and a password; every failure is a 400."""
    given = inputs.check_input(body, _LOGIN)
    user = server.users.get(given["username"])
    if user is None:
        raise PaiError(400, "NoUserError", f"User {given['username']} is not found.")
    if not is_password(given["password"], user.password_hash):
        raise PaiError(400, "IncorrectPasswordError", "Password is incorrect.")
    token = server.tokens.create(user.username)
    return answer({"user": user.username, "token": token, "admin": user.admin})


@router.delete("/api/v1/authn/basic/logout")
@router.delete("/api/v2/authn/basic/logout")
def logout(server: CurrentServer, caller: CurrentPerson) -> Response:
    """Revoke the token of the request."""
    server.tokens.revoke(caller.username, caller.token)
    return answer({"message": "Logout successfully"})


@router.get("/api/v1/authn/info")
@router.get("/api/v2/authn/info")
def authn_info() -> Response:
    """How to log in."""
    return answer({"authn_type": "basic", "loginURI": "/api/v1/authn/basic/login", "loginURIMethod": "post"})


@router.get("/api/v1/token/check")
@router.get("/api/v2/tokens/check")
def check_token(caller: CurrentCaller) -> Response:
    """What stands in the token of the request."""
    return answer({**caller.payload, "admin": caller.admin})


@router.post("/api/v1/token/application")
@router.post("/api/v2/tokens/application")
def create_application_token(server: CurrentServer, caller: CurrentPerson) -> Response:
    """A token that never expires, for scripts."""
    return answer({"token": server.tokens.create(caller.username, application=True), "application": True})


@router.get("/api/v1/token")
@router.get("/api/v2/tokens")
def list_tokens(server: CurrentServer, caller: CurrentPerson) -> Response:
    """The caller's tokens; an empty object when there are none."""
    tokens = [token for token in server.tokens.of(caller.username) if server.tokens.read(token)]
    return answer({"tokens": tokens or {}})


@router.delete("/api/v1/token/{token}")
@router.delete("/api/v2/tokens/{token}")
def revoke_token(server: CurrentServer, caller: CurrentPerson, token: str) -> Response:
    """Revoke an own token; one that is revoked already is fine."""
    payload = server.tokens.read(token)
    if payload is None:
        raise PaiError(500, "UnknownError", "Cannot destructure property `username` of 'undefined' or 'null'.")
    if payload["username"] != caller.username:
        raise forbidden(f"User {caller.username} is not allowed to do operation.")
    server.tokens.revoke(caller.username, token)
    return answer({"message": "revoke successfully"})


@router.get("/api/v1/user")
@router.get("/api/v2/users")
def list_users(server: CurrentServer, caller: CurrentCaller) -> Response:
    """All users, for any user."""
    return answer([server.users.shown(user) for user in server.users.all()])


@router.get("/api/v1/user/{username}")
@router.get("/api/v2/users/{username}")
def get_user(server: CurrentServer, caller: CurrentCaller, username: str) -> Response:
    """One user, for any user."""
    return answer(server.users.shown(_known_user(server, username)))


def _known_user(server: Server, username: str) -> User:
    user = server.users.get(username)
    if user is None:
        raise PaiError(400, "NoUserError", f"User {username} is not found.")
    return user


def _refuse_others(caller: Caller) -> None:
    if not caller.admin:
        raise forbidden("Non-admin is not allow to do this operation.")


@router.post("/api/v1/user")
@router.post("/api/v2/users")
def create_user(server: CurrentServer, caller: CurrentPerson, body: Body) -> Response:
    """A new user, by an admin."""
    given = inputs.check_input(body, _NEW_USER)
    _refuse_others(caller)
    clusters = list(given.get("virtualCluster") or [DEFAULT_CLUSTER])
    known = server.users.virtual_clusters()
    if any(name not in known for name in clusters):
        found = ",".join(name for name in clusters if name in known)
        raise PaiError(400, "NoVirtualClusterError", f"Try to update: {','.join(map(str, clusters))}, but found {found}")
    if server.users.get(given["username"]):
        raise PaiError(409, "ConflictUserError", f"User name {given['username']} already exists.")
    extension: dict[str, Any] = given.get("extension", {})
    server.users.add(
        User(
            username=given["username"],
            password_hash=hash_password(given["password"]),
            admin=given.get("admin", False),
            virtual_clusters=[DEFAULT_CLUSTER, *(name for name in clusters if name != DEFAULT_CLUSTER)],
            email=given.get("email", ""),
            extension=extension,
        )
    )
    return answer({"message": "User is created successfully"}, 201)


@router.put("/api/v1/user/{username}/extension")
@router.put("/api/v2/users/{username}/extension")
def update_extension(server: CurrentServer, caller: CurrentPerson, username: str, body: Body) -> Response:
    """Merge free data into a user, by the user or an admin."""
    given = inputs.check_input(body, _EXTENSION)
    if caller.username != username and not caller.admin:
        raise forbidden(f"User {caller.username} is not allowed to do this operation.")
    server.users.set_extension(_known_user(server, username), given["extension"])
    return answer({"message": "Update user extension data successfully."}, 201)


@router.get("/api/v2/groups")
@router.get("/api/v1/groups")
def list_groups(server: CurrentServer, caller: CurrentCaller) -> Response:
    """The groups: one for admins and one for each virtual cluster."""

    def group(name: str, description: str, clusters: list[str], admin: bool) -> dict[str, Any]:
        acls = {"virtualClusters": clusters, "admin": admin}
        return {"groupname": name, "description": description, "externalName": "", "extension": {"acls": acls}}

    groups = [group("admingroup", "admin's group", [], True)]
    groups += [group(name, f"group for {name} vc", [name], False) for name in server.users.virtual_clusters()]
    return answer(sorted(groups, key=lambda item: re.sub(r"\W", "", item["groupname"])))
