"""Routes for the cluster itself: what it is, its virtual clusters, nodes, storages, SKUs and alerts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from fastapi import APIRouter, Request, Response

from . import inputs, js_values
from .context import Body, CurrentAdmin, CurrentCaller, CurrentServer, Server, caller_of, person_of, refuse_others
from .errors import PaiError, answer, forbidden, invalid_parameters
from .protocol import Role
from .settings import Node, Storage
from .users import ADMIN_GROUP, DEFAULT_CLUSTER

router = APIRouter()

_ANY_METHOD = ["GET", "POST", "PUT", "PATCH", "DELETE"]
_CAPACITY = [
    inputs.Field("vcCapacity", inputs.number(0, 100)),
    inputs.Field("vcMaxCapacity", inputs.number(0, 100), required=False),
    inputs.Field("description", inputs.text(empty=True), required=False),
    inputs.Field("externalName", inputs.text(empty=True), required=False),
]
_STATUS = [inputs.Field("vcStatus", inputs.one_of("stopped", "running"))]


@router.api_route("/api/v2/info", methods=_ANY_METHOD)
@router.api_route("/api/v1", methods=_ANY_METHOD)
async def info(server: CurrentServer) -> Response:
    """Name, version and way to log in; needs no token."""
    authn = server.settings.authn
    return answer({"name": "PAI RESTful API", "version": "v1.8.1", "launcherType": "k8s", "authnMethod": authn})


@router.api_route("/api/v2", methods=_ANY_METHOD)
async def banner() -> Response:
    """A line of text."""
    return Response("PAI RESTful API v2 (beta version)", media_type="text/plain; charset=utf-8")


# Virtual clusters


def _shown(cpus: int, memory_mb: int, gpus: int) -> dict[str, int]:
    return {"cpu": cpus, "memory": memory_mb, "gpu": gpus, "vCores": cpus, "GPUs": gpus}


def _sum_of_roles(roles: Iterable[Role]) -> dict[str, int]:
    taken = list(roles)
    return _shown(sum(role.cpu for role in taken), sum(role.memory_mb for role in taken), sum(role.gpu for role in taken))


def _sum_of_nodes(nodes: Iterable[Node]) -> dict[str, int]:
    there = list(nodes)
    return _shown(sum(node.cpus for node in there), sum(node.memory_mb for node in there), sum(node.gpus for node in there))


def _js_number(number: float) -> float | int:
    return int(number) if number.is_integer() else number


def _virtual_clusters(server: Server) -> dict[str, Any]:
    names = server.users.virtual_clusters()
    used = server.store.used_by_cluster()
    # All virtual clusters share all nodes.
    total = _sum_of_nodes(server.settings.workers)
    gpus = total["gpu"]
    found: dict[str, Any] = {}
    for name in names:
        used_here = _sum_of_roles(used.get(name, []))
        found[name] = {
            "capacity": _js_number(100 / len(names)) if gpus else 0,
            "usedCapacity": _js_number(used_here["gpu"] / gpus * 100) if gpus else 0,
            "dedicated": False,
            "resourcesUsed": used_here,
            "resourcesGuaranteed": total,
            "resourcesTotal": total,
        }
        if gpus:
            found[name]["maxCapacity"] = found[name]["capacity"]
    return found


def _nodes(server: Server) -> dict[str, Any]:
    used: dict[str, int] = {}
    for node, role in server.store.used_nodes():
        used[node] = used.get(node, 0) + role.gpu
    return {
        node.name: {"gpuUsed": used.get(node.name, 0), "gpuAvailable": node.gpus - used.get(node.name, 0), "gpuTotal": node.gpus}
        for node in server.settings.workers
    }


@router.get("/api/v2/virtual-clusters")
async def list_virtual_clusters(request: Request, server: CurrentServer, caller: CurrentCaller) -> Response:
    """All virtual clusters, or with ``?nodes`` the GPUs of each node."""
    return answer(_nodes(server) if "nodes" in request.query_params else _virtual_clusters(server))


def _check_name(request: Request, name: str) -> None:
    """What the server looks at before it asks who sent the request."""
    if not re.fullmatch(r"[A-Za-z0-9_]+", name):
        raise invalid_parameters("VC name should only contain alpha-numeric and underscore characters")
    if name == DEFAULT_CLUSTER and request.method not in ("GET", "HEAD"):
        raise forbidden("Update operation to default vc isn't allowed")


@router.get("/api/v2/virtual-clusters/{name}")
async def get_virtual_cluster(request: Request, server: CurrentServer, name: str) -> Response:
    """One virtual cluster."""
    _check_name(request, name)
    caller_of(request)
    clusters = _virtual_clusters(server)
    if name not in clusters:
        raise PaiError(404, "NoVirtualClusterError", f"Vc {name} not found")
    return answer(clusters[name])


def _not_implemented(what: str) -> PaiError:
    return PaiError(400, "NotImplementedError", f"{what} not implemented in k8s")


def _check_admin(request: Request, fields: list[inputs.Field] | None, body: Any) -> dict[str, Any]:
    caller = person_of(request)
    given = inputs.check_input(body, fields) if fields else {}
    refuse_others(caller)
    return given


@router.put("/api/v2/virtual-clusters/{name}")
async def put_virtual_cluster(request: Request, server: CurrentServer, name: str, body: Body) -> Response:
    """Not there on Kubernetes."""
    _check_name(request, name)
    _check_admin(request, _CAPACITY, body)
    if name == ADMIN_GROUP:
        raise PaiError(409, "ConflictVcError", f"Group name {name} already exists.")
    raise _not_implemented("updateVc")


@router.delete("/api/v2/virtual-clusters/{name}")
async def delete_virtual_cluster(request: Request, name: str) -> Response:
    """Not there on Kubernetes."""
    _check_name(request, name)
    _check_admin(request, None, None)
    if name == ADMIN_GROUP:
        raise forbidden(f"The name '{name}' is occupied by admin group.")
    raise _not_implemented("removeVc")


@router.put("/api/v2/virtual-clusters/{name}/status")
async def put_virtual_cluster_status(request: Request, name: str, body: Body) -> Response:
    """Not there on Kubernetes."""
    _check_name(request, name)
    given = _check_admin(request, _STATUS, body)
    raise _not_implemented("stopVc" if given["vcStatus"] == "stopped" else "activeVc")


# The rest


@router.get("/api/v2/cluster/sku-types")
async def sku_types(request: Request, caller: CurrentCaller) -> Response:
    """Without the hived scheduler there are no SKUs, and no cluster to ask for."""
    cluster = js_values.joined(request, "vc")
    if cluster:
        raise PaiError(404, "NoVirtualClusterError", f"Cannot get sku types for virtual clyster {cluster}.")
    return answer({})


def _summary(storage: Storage) -> dict[str, Any]:
    return {"name": storage.name, "share": storage.share, "volumeName": f"{storage.name}-pv"}


@router.get("/api/v2/storages")
async def list_storages(request: Request, server: CurrentServer, caller: CurrentCaller) -> Response:
    """The storages of the caller, or with ``?default=true`` those that a job gets without naming any."""
    only_default = js_values.only(request, "default") == "true"
    shown = [storage for storage in server.settings.storages if storage.default or not only_default]
    return answer({"storages": [{**_summary(storage), "default": storage.default} for storage in shown]})


@router.get("/api/v2/storages/{name}")
async def get_storage(server: CurrentServer, caller: CurrentCaller, name: str) -> Response:
    """One storage with where it is."""
    found = next((storage for storage in server.settings.storages if storage.name == name), None)
    if found is None:
        raise PaiError(404, "NoStorageError", f"Storage {name} is not found.")
    place = {"server": found.server, "path": found.path}
    return answer({**_summary(found), "type": "nfs", "data": place, "readOnly": found.read_only})


@router.get("/api/v2/alerts")
async def list_alerts(caller: CurrentCaller) -> Response:
    """Nothing here raises alerts."""
    return answer([])


@router.get("/api/v1/kubernetes/nodes")
@router.get("/api/v2/kubernetes/nodes")
async def list_nodes(server: CurrentServer, caller: CurrentAdmin) -> Response:
    """The workers as Kubernetes lists them, with the fields that clients read."""
    items = [
        {
            "metadata": {"name": node.name, "labels": {"pai-worker": "true"}},
            "status": {
                "capacity": {"cpu": str(node.cpus), "memory": f"{node.memory_mb}Mi", "nvidia.com/gpu": str(node.gpus)},
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        }
        for node in server.settings.workers
    ]
    return answer({"kind": "NodeList", "apiVersion": "v1", "metadata": {}, "items": items})


@router.get("/api/v1/kubernetes/pods")
@router.get("/api/v2/kubernetes/pods")
async def list_pods(server: CurrentServer, caller: CurrentAdmin) -> Response:
    """The pods of tasks that have a place."""
    tasks = [task for task in server.store.open_tasks() if task["pod_uid"]]
    items = [{"metadata": {"uid": task["pod_uid"]}, "spec": {"nodeName": task["node_name"]}} for task in tasks]
    return answer({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})
