"""What stands beside the rest-server behind the proxy: its health, and the log manager of the nodes."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from .context import CurrentServer
from .logs import KINDS, TAIL_BYTES
from .store import internal_name

router = APIRouter()

_NEEDED = ("username", "framework-name", "pod-uid", "taskrole")


@router.get("/healthz")
async def health() -> Response:
    """The proxy's own sign of life."""
    return Response("Pylon ready.", media_type="text/plain")


@router.get("/log-manager/{node}/api/v1/logs/{name}")
def read_log(request: Request, server: CurrentServer, node: str, name: str) -> Response:
    """A log of a task; the link's own token stands for a login. In tail mode the last 16 KiB."""
    query = request.query_params
    if not server.logs.is_link_token(query.get("token")):
        return Response(status_code=403)
    if not all(query.get(key) for key in _NEEDED):
        return Response(status_code=400)
    kind = name.removeprefix("user-")
    task = server.store.task_of_pod(query["pod-uid"])
    if kind not in KINDS or task is None or task["role"] != query["taskrole"] or internal_name(task["frame"]) != query["framework-name"]:
        return Response(status_code=404)
    text = server.logs.kept(task["frame"], task["role"], query["pod-uid"], kind)
    if text is None and server.engine and task["container_id"] and task["pod_uid"] == query["pod-uid"]:
        text = server.engine.output(task["container_id"], *KINDS[kind])
    if text is None:
        return Response(status_code=404)
    tail = query.get("tail-mode") == "true" and len(text) > TAIL_BYTES
    headers = {"content-range": f"bytes {len(text) - TAIL_BYTES}-{len(text) - 1}/{len(text)}"} if tail else {}
    return Response(text[-TAIL_BYTES:] if tail else text, 206 if tail else 200, headers, "text/plain")
