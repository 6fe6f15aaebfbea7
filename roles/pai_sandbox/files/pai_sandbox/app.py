"""The web application: Express's habits around the routes."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any, cast
from urllib.parse import unquote_to_bytes

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException

from . import routes_accounts, routes_cluster, routes_jobs, routes_logs, routes_users
from .bodies import parse_body
from .context import Server, TooManyRequests
from .engine import Engine
from .errors import PaiError, error_answer, no_api
from .faults import AsgiApp, FaultInjector, Faults, Hooks, Message, Receive, Send, without_prefix
from .launcher import Launcher
from .ledger import Ledger
from .limits import RateLimiter, Verdict
from .logs import TaskLogs
from .runner import Runner
from .settings import Settings
from .store import Store
from .tokens import Tokens
from .users import Users

log = logging.getLogger("pai_sandbox")

_CORS_HEADERS = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "GET,HEAD,PUT,PATCH,POST,DELETE",
    "vary": "Access-Control-Request-Headers",
}


def _spelling(template: str) -> re.Pattern[str]:
    """A pattern for a route's path, with a group for each of its variables."""
    parts = re.split(r"\{\w+\}", template)
    return re.compile("([^/]+)".join(f"(?:{re.escape(part)})" for part in parts), re.IGNORECASE)


_ROUTERS = (routes_logs.router, routes_cluster.router, routes_accounts.router, routes_users.router, routes_jobs.router)
_TEMPLATES = [route.path for router in _ROUTERS for route in router.routes if isinstance(route, APIRoute)]
_SPELLINGS = [(_spelling(template), re.sub(r"\{\w+\}", "{}", template)) for template in dict.fromkeys(_TEMPLATES)]


def _plain_path(path: str) -> str:
    """A path without the proxy's prefix and a trailing slash, its fixed parts spelt as the routes spell them.

    Express looks at neither the slash nor at upper and lower case in the fixed parts of a path.
    """
    path = without_prefix(path).rstrip("/") or "/"
    for pattern, template in _SPELLINGS:
        found = pattern.fullmatch(path)
        if found:
            return template.format(*found.groups())
    return path


def _raw_path(request: Request) -> str:
    raw = request.scope.get("raw_path") or request.scope["path"].encode()
    return without_prefix(raw.decode("latin-1").partition("?")[0])


def _check_encoding(path: str) -> None:
    """400 for a part of a path that is not UTF-8 behind its percent signs."""
    for part in path.split("/"):
        try:
            unquote_to_bytes(part).decode()
        except UnicodeDecodeError as error:
            raise PaiError(400, None, f"Failed to decode param '{part}'") from error


def _address(request: Request) -> str:
    """Whose request it is: the first address that proxies forward, as the server trusts them."""
    forwarded = request.headers.get("x-forwarded-for", "").split(",")[0].strip()
    return forwarded or (request.client.host if request.client else "")


def _original_url(request: Request) -> str:
    """Path and query as the client wrote them; the proxy takes its prefix off before the server sees it."""
    path = _raw_path(request)
    query = request.scope["query_string"].decode("latin-1")
    return f"{path}?{query}" if query else path


def _too_many(verdict: Verdict) -> Response:
    headers = {**verdict.headers(), "content-type": "text/html; charset=utf-8"}
    return Response("Too many requests, please try again later.", status_code=429, headers=headers)


def _log_request(request: Request, status: int) -> None:
    if request.method == "GET" and status < 400:
        return
    # A token may stand in the path.
    path = re.sub(r"(/tokens?/)[^/]{20,}", r"\1<token>", request.scope["path"])
    log.info("%s %s -> %d", request.method, path, status)


class _LikeExpress:
    """Preflight, body, rate limit and path rules, in the order in which the real server applies them."""

    def __init__(self, app: AsgiApp, server: Server) -> None:
        self._app = app
        self._server = server

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request, or have a route answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        request.state.original_url = _original_url(request)
        if request.method == "OPTIONS":
            await Response(status_code=204, headers=_CORS_HEADERS)(scope, receive, send)
            return
        try:
            request.state.body = parse_body(await request.body(), request.headers.get("content-type", ""))
        except PaiError as error:
            _log_request(request, error.status)
            await error_answer(error)(scope, receive, send)
            return
        request.state.rate = self._server.all_limit.hit(_address(request))
        if request.state.rate and request.state.rate.exceeded:
            await _too_many(request.state.rate)(scope, receive, send)
            return
        scope["path"] = _plain_path(scope["path"])
        if request.method == "HEAD":
            scope["method"] = "GET"

        async def shown(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if request.state.rate:
                    headers.update(request.state.rate.headers())
                headers["access-control-allow-origin"] = "*"
                _log_request(request, message["status"])
            await send(message)

        try:
            _check_encoding(_raw_path(request))
        except PaiError as error:
            await error_answer(error)(scope, receive, shown)
            return
        await self._app(scope, receive, shown)


async def _on_pai_error(request: Request, error: Exception) -> Response:
    return error_answer(cast(PaiError, error))


async def _on_http_error(request: Request, error: Exception) -> Response:
    return error_answer(no_api(request.state.original_url))


async def _on_too_many(request: Request, error: Exception) -> Response:
    return _too_many(cast(TooManyRequests, error).verdict)


async def _on_bug(request: Request, error: Exception) -> Response:
    log.exception("%s %s failed", request.method, request.scope["path"])
    return error_answer(PaiError(500, None, str(error)))


def build_server(settings: Settings) -> Server:
    """The parts of a sandbox, with its memory open. Raises ``ValueError`` for a bad users file."""
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    store = Store(settings.state_dir / "pai.sqlite")
    users = Users(settings.users_file, store)
    ledger = Ledger(store)
    logs = TaskLogs(settings.state_dir / "logs", store.secret_key())
    engine = Engine(settings.name, settings.state_dir) if settings.containers else None
    launcher = Launcher(store, ledger, engine, logs, settings.stop_timeout_s) if engine else None
    return Server(
        settings=settings,
        store=store,
        users=users,
        tokens=Tokens(store, users, settings.login_token_s),
        runner=Runner(settings, store, ledger, launcher, logs),
        engine=engine,
        logs=logs,
        all_limit=RateLimiter(settings.requests_per_minute, 60),
        list_limit=RateLimiter(settings.lists_per_minute, 60),
        submit_limit=RateLimiter(settings.submits_per_hour, 3600),
    )


def _no_connection(scope: MutableMapping[str, Any]) -> None:
    raise ConnectionResetError("a fault of the schedule")


def _no_restart(seconds: float) -> None:
    raise ConnectionResetError("a fault of the schedule")


def create_app(
    settings: Settings,
    faults: Faults | None = None,
    reset: Callable[[MutableMapping[str, Any]], None] = _no_connection,
    restart: Callable[[float], None] = _no_restart,
) -> FastAPI:
    """The application of a sandbox; its cluster runs while the application does.

    ``faults``, ``reset`` and ``restart`` come from whoever listens: a schedule outlives restarts, and only the listener
    has the connections. Without them a fault of these kinds raises ``ConnectionResetError``.
    """
    server = build_server(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        server.runner.start()
        log.info("sandbox %s is up, state in %s", settings.name, settings.state_dir)
        yield
        server.runner.stop()
        server.store.close()
        log.info("sandbox %s is down; its containers go on", settings.name)

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.server = server
    app.add_middleware(_LikeExpress, server=server)
    hooks = Hooks(reset, server.tokens.expire_logins, restart)
    app.add_middleware(FaultInjector, faults=faults or Faults(settings.faults_file), hooks=hooks)
    app.add_exception_handler(PaiError, _on_pai_error)
    app.add_exception_handler(TooManyRequests, _on_too_many)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_bug)
    for router in _ROUTERS:
        app.include_router(router)
    return app
