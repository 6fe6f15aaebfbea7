"""Routes for logins and tokens."""

from __future__ import annotations

import time
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Response

from . import inputs, jwt
from .context import BasicOnly, Body, CurrentCaller, CurrentPerson, CurrentServer, basic_only, oidc_only
from .errors import PaiError, answer, forbidden
from .settings import OIDC
from .users import is_password

router = APIRouter()

_LOGIN = [
    inputs.Field("username", inputs.text(inputs.USER_NAME, "username")),
    inputs.Field("password", inputs.text(shortest=6)),
    inputs.Field("expiration", inputs.whole_number(60, 7 * 24 * 3600), required=False),
]
# There is no identity provider behind the sandbox; a browser would be sent to this address.
_IDENTITY_PROVIDER = "https://login.example.invalid/oauth2"
_OIDC_ROUTE = [Depends(oidc_only)]


@router.get("/api/v1/authn/info")
@router.get("/api/v2/authn/info")
async def authn_info(server: CurrentServer) -> Response:
    """How to log in."""
    oidc = server.settings.authn == OIDC
    uri = "/api/v1/authn/oidc/login" if oidc else "/api/v1/authn/basic/login"
    return answer({"authn_type": server.settings.authn, "loginURI": uri, "loginURIMethod": "get" if oidc else "post"})


@router.post("/api/v1/authn/basic/login")
@router.post("/api/v2/authn/basic/login")
@router.post("/api/v1/token")
@router.post("/api/v2/tokens")
async def login(server: CurrentServer, basic: BasicOnly, body: Body) -> Response:
    """A login token for a user name and a password; every failure is a 400."""
    given = inputs.check_input(body, _LOGIN)
    user = server.users.get(given["username"])
    if user is None:
        raise PaiError(400, "NoUserError", f"User {given['username']} is not found.")
    if not is_password(given["password"], user.password_hash):
        raise PaiError(400, "IncorrectPasswordError", "Password is incorrect.")
    content = {"user": user.username, "token": server.tokens.create(user.username), "admin": user.admin}
    if "githubPAT" in user.extension:
        content["hasGitHubPAT"] = user.extension["githubPAT"]
    return answer(content)


@router.delete("/api/v1/authn/basic/logout", dependencies=[Depends(basic_only)])
@router.delete("/api/v2/authn/basic/logout", dependencies=[Depends(basic_only)])
async def logout(server: CurrentServer, caller: CurrentPerson) -> Response:
    """Revoke the token of the request."""
    server.tokens.revoke(caller.username, caller.token)
    return answer({"message": "Logout successfully"})


@router.get("/api/v1/authn/oidc/login", dependencies=_OIDC_ROUTE)
@router.get("/api/v2/authn/oidc/login", dependencies=_OIDC_ROUTE)
async def oidc_login() -> Response:
    """Off to the identity provider, which only a browser can use."""
    query = urlencode({"response_type": "code", "response_mode": "form_post", "scope": "openid profile"})
    return Response(status_code=302, headers={"location": f"{_IDENTITY_PROVIDER}/authorize?{query}"})


@router.get("/api/v1/authn/oidc/logout", dependencies=_OIDC_ROUTE)
@router.get("/api/v2/authn/oidc/logout", dependencies=_OIDC_ROUTE)
async def oidc_logout() -> Response:
    """Off to the identity provider."""
    return Response(status_code=302, headers={"location": f"{_IDENTITY_PROVIDER}/logout"})


@router.get("/api/v1/token/check")
@router.get("/api/v2/tokens/check")
async def check_token(caller: CurrentCaller) -> Response:
    """What stands in the token of the request."""
    return answer({**caller.payload, "admin": caller.admin})


@router.post("/api/v1/token/application")
@router.post("/api/v2/tokens/application")
async def create_application_token(server: CurrentServer, caller: CurrentPerson) -> Response:
    """A token that never expires, for scripts."""
    return answer({"token": server.tokens.create(caller.username, application=True), "application": True})


@router.get("/api/v1/token")
@router.get("/api/v2/tokens")
async def list_tokens(server: CurrentServer, caller: CurrentPerson) -> Response:
    """The caller's tokens; an empty object when there are none."""
    tokens = [token for token in server.tokens.of(caller.username) if server.tokens.read(token)]
    return answer({"tokens": tokens or {}})


@router.delete("/api/v1/token/{token}")
@router.delete("/api/v2/tokens/{token}")
async def revoke_token(server: CurrentServer, caller: CurrentPerson, token: str) -> Response:
    """Revoke an own token; one that is revoked already is fine."""
    payload = jwt.payload_of(token)
    if payload is None:
        raise PaiError(500, "UnknownError", "Cannot destructure property `username` of 'undefined' or 'null'.")
    if payload.get("username") != caller.username:
        raise forbidden(f"User {caller.username} is not allowed to do this operation.")
    if server.tokens.read(token) is None:
        expired = payload.get("exp", time.time() + 1) <= time.time()
        raise PaiError(500, "UnknownError", "jwt expired" if expired else "invalid signature")
    server.tokens.revoke(caller.username, token)
    return answer({"message": "revoke successfully"})
