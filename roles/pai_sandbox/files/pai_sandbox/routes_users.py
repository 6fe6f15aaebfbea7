"""Routes for users and groups: all of the reading, and of the writing what a cluster needs to get its users."""

from __future__ import annotations

import re
from typing import Any

from fastapi import APIRouter, Depends, Response

from . import inputs
from .context import Body, CurrentAdmin, CurrentCaller, CurrentPerson, CurrentServer, Server, basic_only, refuse_others
from .errors import PaiError, answer
from .users import ADMIN_GROUP, DEFAULT_CLUSTER, User, hash_password

router = APIRouter()

_EMAIL = re.compile(r"|[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")
_OBJECT = inputs.kind(dict, "an object")
_NEW_USER = [
    inputs.Field("username", inputs.text(inputs.USER_NAME, "username")),
    inputs.Field("email", inputs.email(_EMAIL), required=False),
    inputs.Field("virtualCluster", inputs.texts(), required=False),
    inputs.Field("admin", inputs.kind(bool, "a boolean"), required=False),
    inputs.Field("password", inputs.text(shortest=6)),
    inputs.Field("extension", _OBJECT, required=False),
]
_EXTENSION = [inputs.Field("extension", _OBJECT, required=False)]


@router.get("/api/v2/user")
@router.get("/api/v2/users")
async def list_users(server: CurrentServer, caller: CurrentCaller) -> Response:
    """All users, for any user."""
    return answer([server.users.shown(user) for user in server.users.all()])


@router.get("/api/v1/user/{username}")
@router.get("/api/v2/user/{username}")
@router.get("/api/v2/users/{username}")
async def get_user(server: CurrentServer, caller: CurrentCaller, username: str) -> Response:
    """One user, for any user."""
    user = server.users.get(username)
    if user is None:
        raise PaiError(400, "NoUserError", f"User {username} is not found.")
    return answer(server.users.shown(user))


@router.post("/api/v2/user", dependencies=[Depends(basic_only)])
@router.post("/api/v2/users", dependencies=[Depends(basic_only)])
async def create_user(server: CurrentServer, caller: CurrentPerson, body: Body) -> Response:
    """A new user, by an admin."""
    given = inputs.check_input(body, _NEW_USER)
    refuse_others(caller)
    clusters: list[str] = list(given.get("virtualCluster", []))
    known = server.users.virtual_clusters()
    if any(name not in known for name in clusters):
        found = ",".join(name for name in clusters if name in known)
        raise PaiError(400, "NoVirtualClusterError", f"Try to update: {','.join(clusters)}, but found {found}")
    if server.users.get(given["username"]):
        raise PaiError(409, "ConflictUserError", f"User name {given['username']} already exists.")
    server.users.add(
        User(
            username=given["username"],
            password_hash=hash_password(given["password"]),
            admin=given.get("admin", False),
            virtual_clusters=clusters if DEFAULT_CLUSTER in clusters else [*clusters, DEFAULT_CLUSTER],
            email=given.get("email", ""),
            extension=given.get("extension", {}),
        )
    )
    return answer({"message": "User is created successfully"}, 201)


@router.put("/api/v2/user/{username}/extension")
@router.put("/api/v2/users/{username}/extension")
async def update_extension(server: CurrentServer, caller: CurrentPerson, username: str, body: Body) -> Response:
    """Merge free data into a user, by the user or an admin."""
    given = inputs.check_input(body, _EXTENSION)
    if caller.username != username:
        refuse_others(caller)
    user = server.users.get(username)
    if user is None:
        raise PaiError(404, "NoUserError", f"User {username} not found.")
    if "extension" not in given:
        raise PaiError(500, "UnknownError", "Cannot convert undefined or null to object")
    server.users.set_extension(user, given["extension"])
    return answer({"message": "Update user extension data successfully."}, 201)


# Groups


def _groups(server: Server) -> list[dict[str, Any]]:
    """One for admins and one for each virtual cluster."""

    def group(name: str, description: str, clusters: list[str], admin: bool) -> dict[str, Any]:
        acls = {"virtualClusters": clusters, "admin": admin}
        return {"groupname": name, "description": description, "externalName": "", "extension": {"acls": acls}}

    groups = [group(ADMIN_GROUP, "admin's group", [], True)]
    groups += [group(name, f"group for {name} vc", [name], False) for name in server.users.virtual_clusters()]
    return sorted(groups, key=lambda item: str(item["groupname"]))


@router.get("/api/v2/group")
@router.get("/api/v2/groups")
async def list_groups(server: CurrentServer, caller: CurrentCaller) -> Response:
    """All groups."""
    return answer(_groups(server))


@router.get("/api/v2/group/{name}")
@router.get("/api/v2/groups/{name}")
async def get_group(server: CurrentServer, caller: CurrentCaller, name: str) -> Response:
    """One group."""
    found = next((group for group in _groups(server) if group["groupname"] == name), None)
    if found is None:
        raise PaiError(400, "NoGroupError", f"Group {name} is not found.")
    return answer(found)


@router.get("/api/v2/group/{name}/userlist")
@router.get("/api/v2/groups/{name}/userlist")
async def list_group_users(server: CurrentServer, caller: CurrentAdmin, name: str) -> Response:
    """The users of a group, for admins."""
    users = [user for user in server.users.all() if name in server.users.groups(user)]
    return answer([{"username": user.username, "clusterAdmin": user.admin} for user in users])
