"""What the routes share: the parts of the server, and who sent a request.

Routes and their dependencies are coroutines as far as they ask nobody but the store: a thread for each, as FastAPI gives to plain functions,
costs several times what they do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request

from .engine import Engine
from .errors import forbidden, no_api, no_job
from .limits import RateLimiter, Verdict
from .logs import TaskLogs
from .runner import Runner
from .settings import OIDC, Settings
from .store import Row, Store
from .tokens import Caller, Tokens, refuse_application
from .users import Users


class TooManyRequests(Exception):
    """A rate limit is used up."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__("Too many requests, please try again later.")
        self.verdict = verdict


@dataclass
class Server:
    """The parts of one sandbox."""

    settings: Settings
    store: Store
    users: Users
    tokens: Tokens
    runner: Runner
    engine: Engine | None
    logs: TaskLogs
    all_limit: RateLimiter
    list_limit: RateLimiter
    submit_limit: RateLimiter


def server_of(request: Request) -> Server:
    """The server that answers a request."""
    found: Server = request.app.state.server
    return found


def caller_of(request: Request) -> Caller:
    """Who sent a request; 401 for nobody."""
    return server_of(request).tokens.caller(request.headers.get("authorization"))


def person_of(request: Request) -> Caller:
    """Who sent a request; 403 for an application token."""
    caller = caller_of(request)
    refuse_application(caller)
    return caller


def refuse_others(caller: Caller) -> None:
    """403 for whoever is not an admin."""
    if not caller.admin:
        raise forbidden("Non-admin is not allow to do this operation.")


async def basic_only(request: Request) -> None:
    """404 where logins are left to an identity provider: the route does not exist there."""
    if server_of(request).settings.authn == OIDC:
        raise no_api(request.state.original_url)


async def oidc_only(request: Request) -> None:
    """404 where there is no identity provider."""
    if server_of(request).settings.authn != OIDC:
        raise no_api(request.state.original_url)


def count(request: Request, limiter: RateLimiter, caller: Caller) -> None:
    """Count a request of a user against a limit and show that limit in the answer."""
    verdict = limiter.hit(caller.username)
    if verdict:
        request.state.rate = verdict
        if verdict.exceeded:
            raise TooManyRequests(verdict)


def job_of(server: Server, frame: str) -> Row:
    """A stored job; 404 when there is none."""
    job = server.store.job(frame)
    if job is None:
        raise no_job(frame)
    return job


async def _server(request: Request) -> Server:
    return server_of(request)


async def _caller(request: Request) -> Caller:
    return caller_of(request)


async def _person(request: Request) -> Caller:
    return person_of(request)


async def _admin(request: Request) -> Caller:
    caller = caller_of(request)
    refuse_others(caller)
    return caller


async def _body(request: Request) -> Any:
    return request.state.body


CurrentServer = Annotated[Server, Depends(_server)]
CurrentCaller = Annotated[Caller, Depends(_caller)]
#: 403 for whoever is not an admin.
CurrentAdmin = Annotated[Caller, Depends(_admin)]
#: 403 for an application token.
CurrentPerson = Annotated[Caller, Depends(_person)]
BasicOnly = Annotated[None, Depends(basic_only)]
#: The parsed body.
Body = Annotated[Any, Depends(_body)]
