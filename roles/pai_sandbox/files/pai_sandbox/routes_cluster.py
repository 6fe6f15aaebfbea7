"""Routes for the cluster itself: what it is, its virtual clusters, storages and SKUs."""

from __future__ import annotations

import os
import re
from typing import Any

from fastapi import APIRouter, Request, Response

from .context import CurrentCaller, CurrentServer, Server
from .errors import PaiError, answer, invalid_parameters
from .protocol import JobSpec
from .states import RUNNING

router = APIRouter()

_ANY_METHOD = ["GET", "POST", "PUT", "PATCH", "DELETE"]


@router.api_route("/api/v2/info", methods=_ANY_METHOD)
@router.api_route("/api/v1", methods=_ANY_METHOD)
def info() -> Response:
    """Name, version and way to log in; needs no token."""
    return answer({"name": "PAI RESTful API", "version": "v1.8.1", "launcherType": "k8s", "authnMethod": "basic"})


@router.api_route("/api/v2", methods=_ANY_METHOD)
def banner() -> Response:
    """A line of text."""
    return Response("PAI RESTful API v2 (beta version)", media_type="text/plain; charset=utf-8")


def _memory_mb() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // (1024 * 1024)


def _with_old_names(resources: dict[str, int]) -> dict[str, int]:
    return {**resources, "vCores": resources["cpu"], "GPUs": resources["gpu"]}


def _used(server: Server, cluster: str) -> dict[str, int]:
    used = {"cpu": 0, "memory": 0, "gpu": 0}
    for task in server.store.open_tasks():
        if task["virtual_cluster"] != cluster or task["sub_state"] != RUNNING:
            continue
        role = next(role for role in JobSpec.from_json(task["spec"]).roles if role.name == task["role"])
        used = {"cpu": used["cpu"] + role.cpu, "memory": used["memory"] + role.memory_mb, "gpu": used["gpu"] + role.gpu}
    return used


def _js_number(number: float) -> float | int:
    return int(number) if number.is_integer() else number


def _virtual_clusters(server: Server) -> dict[str, Any]:
    names = server.users.virtual_clusters()
    gpus = server.settings.gpus
    # All virtual clusters share the one host, so each may use all of it.
    total = {"cpu": os.cpu_count() or 1, "memory": _memory_mb(), "gpu": gpus}
    found: dict[str, Any] = {}
    for name in names:
        used = _used(server, name)
        capacity = _js_number(100 / len(names)) if gpus else 0
        found[name] = {
            "capacity": capacity,
            "usedCapacity": _js_number(used["gpu"] / gpus * 100) if gpus else 0,
            "dedicated": False,
            "resourcesUsed": _with_old_names(used),
            "resourcesGuaranteed": _with_old_names(total),
            "resourcesTotal": _with_old_names(total),
        }
        if gpus:
            found[name]["maxCapacity"] = capacity
    return found


@router.get("/api/v2/virtual-clusters")
def list_virtual_clusters(request: Request, server: CurrentServer, caller: CurrentCaller) -> Response:
    """All virtual clusters, or with ``?nodes`` the GPUs of each node."""
    if "nodes" in request.query_params:
        used = sum(_used(server, name)["gpu"] for name in server.users.virtual_clusters())
        gpus = server.settings.gpus
        return answer({server.settings.name: {"gpuUsed": used, "gpuAvailable": gpus - used, "gpuTotal": gpus}})
    return answer(_virtual_clusters(server))


@router.get("/api/v2/virtual-clusters/{name}")
def get_virtual_cluster(server: CurrentServer, caller: CurrentCaller, name: str) -> Response:
    """One virtual cluster."""
    if not re.fullmatch(r"[A-Za-z0-9_]+", name):
        raise invalid_parameters("VC name should only contain alpha-numeric and underscore characters")
    clusters = _virtual_clusters(server)
    if name not in clusters:
        raise PaiError(404, "NoVirtualClusterError", f"Vc {name} not found")
    return answer(clusters[name])


@router.get("/api/v2/cluster/sku-types")
def sku_types(request: Request, caller: CurrentCaller) -> Response:
    """Without the hived scheduler there are no SKUs, and no cluster to ask for."""
    cluster = request.query_params.get("vc")
    if cluster is not None:
        raise PaiError(404, "NoVirtualClusterError", f"VC {cluster} is not found.")
    return answer({})


@router.get("/api/v2/storages")
def list_storages(caller: CurrentCaller) -> Response:
    """The sandbox has no storages."""
    return answer({"storages": []})


@router.get("/api/v2/storages/{name}")
def get_storage(caller: CurrentCaller, name: str) -> Response:
    """The sandbox has no storages."""
    raise PaiError(404, "NoStorageError", f"Storage {name} is not found.")
