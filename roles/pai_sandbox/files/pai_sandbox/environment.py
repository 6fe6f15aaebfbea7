"""The ``PAI_*`` variables of a task, as rest-server and the runtime set them."""

from __future__ import annotations

from dataclasses import dataclass

from .ports import port_numbers
from .protocol import JobSpec, Role


@dataclass(frozen=True)
class Place:
    """Where a task runs: its role, its number and the pod uid that gives its ports."""

    role: Role
    index: int
    pod_uid: str


def _joined(numbers: list[int]) -> str:
    return ",".join(map(str, numbers))


def _job_variables(frame: str, spec: JobSpec) -> dict[str, str]:
    user, _, _ = frame.partition("~")
    roles = ",".join(role.spelling for role in spec.roles)
    count, tasks = str(len(spec.roles)), str(spec.total_tasks)
    variables = {
        "PAI_FRAMEWORK_NAME": frame,
        "PAI_JOB_NAME": frame,
        "PAI_USER_NAME": user,
        "PAI_USERNAME": user,
        "PAI_DEFAULT_FS_URI": "",
        "PAI_VIRTUAL_CLUSTER": spec.virtual_cluster,
        "PAI_TASK_ROLE_COUNT": count,
        "PAI_TASK_ROLES_NUM": count,
        "PAI_JOB_TASK_ROLE_COUNT": count,
        "PAI_TASK_ROLE_LIST": roles,
        "PAI_JOB_TASK_ROLE_LIST": roles,
        "PAI_TASKS_NUM": tasks,
        "PAI_JOB_TASK_COUNT": tasks,
    }
    for role in spec.roles:
        variables[f"PAI_TASK_ROLE_TASK_COUNT_{role.spelling}"] = str(role.instances)
        variables[f"PAI_RESOURCE_{role.spelling}"] = f"{role.gpu},{role.cpu},{role.memory_mb},{role.shm_mb}"
        variables[f"PAI_MIN_FAILED_TASK_COUNT_{role.spelling}"] = str(role.min_failed)
        variables[f"PAI_MIN_SUCCEEDED_TASK_COUNT_{role.spelling}"] = str(role.min_succeeded)
    return variables


def _place_variables(places: list[Place], host_ip: str) -> dict[str, str]:
    variables: dict[str, str] = {}
    hosts: dict[str, list[str]] = {}
    for place in places:
        task = f"{place.role.name}_{place.index}"
        ports = port_numbers(place.pod_uid, place.role.ports)
        variables[f"PAI_HOST_IP_{task}"] = host_ip
        for label, numbers in ports.items():
            variables[f"PAI_PORT_LIST_{task}_{label}"] = _joined(numbers)
            variables[f"PAI_{task}_{label}_PORT"] = _joined(numbers)
        hosts.setdefault(place.role.name, []).append(f"{host_ip}:{_joined(ports['http'][:1])}")
    for role, addresses in hosts.items():
        variables[f"PAI_TASK_ROLE_{role}_HOST_LIST"] = ",".join(addresses)
    variables["PAI_TASK_ROLE_INSTANCES"] = ",".join(f"{place.role.name}:{place.index}" for place in places)
    return variables


def _own_variables(place: Place, host_ip: str) -> dict[str, str]:
    ports = port_numbers(place.pod_uid, place.role.ports)
    http = _joined(ports["http"][:1])
    variables = {
        "PAI_CURRENT_TASK_ROLE_NAME": place.role.spelling,
        "PAI_CURRENT_TASK_ROLE_CURRENT_TASK_INDEX": str(place.index),
        "PAI_TASK_INDEX": str(place.index),
        "PAI_CURRENT_CONTAINER_IP": host_ip,
        "PAI_CURRENT_CONTAINER_PORT": http,
        "PAI_CONTAINER_HOST_IP": host_ip,
        "PAI_CONTAINER_HOST_PORT": http,
        "PAI_CONTAINER_SSH_PORT": _joined(ports["ssh"][:1]),
        "PAI_CONTAINER_HOST_PORT_LIST": "".join(f"{label}:{_joined(numbers)};" for label, numbers in ports.items()),
    }
    for label, numbers in ports.items():
        variables[f"PAI_CONTAINER_HOST_{label}_PORT_LIST"] = _joined(numbers)
    if place.role.gpu == 0:
        variables["NVIDIA_VISIBLE_DEVICES"] = "none"
    return variables


def task_environment(frame: str, spec: JobSpec, places: list[Place], own: Place, host_ip: str) -> dict[str, str]:
    """All variables of the task at ``own``; ``places`` are all tasks of the attempt, ``own`` among them."""
    return {**_job_variables(frame, spec), **_place_variables(places, host_ip), **_own_variables(own, host_ip)}
