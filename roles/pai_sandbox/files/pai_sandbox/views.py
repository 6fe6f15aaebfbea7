"""Stored rows as the JSON that the API shows."""

from __future__ import annotations

import json
import uuid
from datetime import datetime, timezone
from typing import Any

from .exits import exit_messages, exit_spec
from .ports import port_numbers
from .states import shown_attempt_state, shown_state
from .store import Row


def _retry_details(job: Row) -> dict[str, int]:
    return {"user": job["user_retries"], "platform": job["platform_retries"], "resource": 0}


def _retries(job: Row) -> int:
    return int(job["user_retries"] + job["platform_retries"])


def summary(job: Row) -> dict[str, Any]:
    """A job in the list, with its ``tags`` in the row."""
    return {
        "debugId": job["debug_id"],
        "name": job["job_name"],
        "username": job["user_name"],
        "state": job["state"],
        "subState": job["sub_state"],
        "executionType": job["execution_type"],
        "tags": job["tags"],
        "retries": _retries(job),
        "retryDetails": _retry_details(job),
        "retryDelayTime": None,
        "submissionTime": job["submission_time"],
        "createdTime": job["creation_time"],
        "launchedTime": job["launch_time"],
        "completedTime": job["completion_time"],
        "appExitCode": job["app_exit_code"],
        "virtualCluster": job["virtual_cluster"],
        "totalGpuNumber": job["total_gpu_number"],
        "totalTaskNumber": job["total_task_number"],
        "totalTaskRoleNumber": job["total_task_role_number"],
        "jobPriority": job["job_priority"],
    }


def _container(task: Row, attempt: Row) -> dict[str, Any]:
    """The container of an attempt of a task; ``attempt`` is the task's own row for the latest one."""
    ports: dict[str, str] = {}
    if attempt["pod_uid"]:
        numbers = port_numbers(attempt["pod_uid"], json.loads(task["port_counts"]))
        ports = {label: ",".join(map(str, found)) for label, found in numbers.items()}
    path = f"/api/v2/jobs/{task['frame']}/attempts/{task['attempt']}/taskRoles/{task['role']}/taskIndex/{task['task_index']}"
    return {
        "containerId": attempt["pod_uid"],
        "containerIp": attempt["host_ip"],
        "containerNodeName": attempt["node_name"],
        "containerPorts": ports,
        "containerGpus": None,
        "containerLog": f"{path}/attempts/{attempt.get('task_attempt', attempt['id'])}/logs",
        "containerExitCode": attempt["exit_code"],
        "containerExitSpec": exit_spec(attempt["exit_code"]),
        "containerExitDiagnostics": attempt["diagnostics"],
    }


def _launched(row: Row, name: str = "run_time") -> int | None:
    """When it ran; what ended without running counts as launched at its end, as on the real server."""
    found: int | None = row[name] or row["completion_time"]
    return found


def _task_attempt(task: Row) -> dict[str, Any]:
    return {
        "attemptId": task["task_attempt"],
        "attemptState": shown_attempt_state(task["sub_state"], task["exit_code"]),
        "currentAttemptCreatedTime": task["attempt_start_time"] or task["start_time"],
        "currentAttemptLaunchedTime": _launched(task, "attempt_run_time" if task["task_attempt"] else "run_time"),
        "currentAttemptCompletedTime": task["completion_time"],
    }


def _past_attempt(past: Row) -> dict[str, Any]:
    return {
        "attemptId": past["id"],
        "attemptState": past["state"],
        "currentAttemptCreatedTime": past["start_time"],
        "currentAttemptLaunchedTime": _launched(past),
        "currentAttemptCompletedTime": past["completion_time"],
    }


def _task_times(task: Row) -> dict[str, Any]:
    return {
        "retries": task["retries"],
        "accountableRetries": task["accountable_retries"],
        "createdTime": task["start_time"],
        "launchedTime": _launched(task),
        "completedTime": task["completion_time"],
    }


def _task(task: Row) -> dict[str, Any]:
    return {
        "taskIndex": task["task_index"],
        "taskUid": task["task_uid"],
        "taskState": shown_state(task["sub_state"], task["exit_code"]),
        **_container(task, task),
        **_task_times(task),
        **_task_attempt(task),
    }


def _attempt_head(attempt: Row | None) -> dict[str, Any]:
    if attempt is None:
        return {"attemptState": "WAITING"}
    return {
        "attemptId": attempt["id"],
        "attemptState": shown_attempt_state(attempt["sub_state"], attempt["exit_code"]),
        "appId": attempt["app_id"],
    }


def _attempt_status(attempt: Row | None) -> dict[str, Any]:
    found: Row = attempt or {}
    code = found.get("exit_code")
    return {
        **_attempt_head(attempt),
        "appProgress": 0 if code is None else 1,
        "appTrackingUrl": "",
        "appCreatedTime": found.get("start_time"),
        "appLaunchedTime": _launched(found) if found else None,
        "appCompletedTime": found.get("completion_time"),
        "appExitCode": code,
        "appExitSpec": exit_spec(code),
        "appExitDiagnostics": found.get("diagnostics"),
        "appExitMessages": exit_messages(found.get("diagnostics"), found.get("runtime")),
        "appExitTriggerMessage": found.get("trigger_message"),
        "appExitTriggerTaskRoleName": found.get("trigger_role"),
        "appExitTriggerTaskIndex": found.get("trigger_index"),
        "appExitType": found.get("exit_type"),
    }


def detail(job: Row, attempt: Row | None, tasks: list[Row], tags: list[str]) -> dict[str, Any]:
    """A job with one of its attempts; ``attempt`` is None until the cluster has made the first."""
    roles: dict[str, Any] = {}
    for task in tasks:
        role = roles.setdefault(task["role"], {"taskRoleStatus": {"name": task["role"]}, "taskStatuses": []})
        role["taskStatuses"].append(_task(task))
    return {
        "debugId": job["debug_id"],
        "name": job["job_name"],
        "tags": tags,
        "jobStatus": {
            "username": job["user_name"],
            "state": job["state"],
            "subState": job["sub_state"],
            "executionType": job["execution_type"],
            "retries": _retries(job),
            "retryDetails": _retry_details(job),
            "retryDelayTime": None,
            "createdTime": job["creation_time"],
            "launchedTime": job["launch_time"],
            "completedTime": job["completion_time"],
            **_attempt_status(attempt),
            "virtualCluster": job["virtual_cluster"],
            "submissionTime": job["submission_time"],
        },
        "taskRoles": roles,
    }


def task_history(job: Row, task: Row) -> dict[str, Any]:
    """One task with its attempts, the latest first."""
    past = json.loads(task["history"] or "[]")
    return {
        "username": job["user_name"],
        "jobName": job["job_name"],
        "jobAttemptId": task["attempt"],
        "taskRoleName": task["role"],
        "taskIndex": task["task_index"],
        "taskUid": task["task_uid"],
        "taskState": shown_state(task["sub_state"], task["exit_code"]),
        **_task_times(task),
        "attempts": [{**_task_attempt(task), **_container(task, task)}, *({**_past_attempt(one), **_container(task, one)} for one in past)],
    }


def old_attempt(job: Row, attempt: Row | None, tasks: list[Row]) -> dict[str, Any]:
    """An attempt in the form that versions before 1.3 had, without ``isLatest``."""
    found: Row = attempt or {}
    code, diagnostics = found.get("exit_code"), found.get("diagnostics")
    messages = exit_messages(diagnostics, found.get("runtime"))
    spec = exit_spec(code)
    sub_state: str = found.get("sub_state") or job["sub_state"]
    roles: dict[str, Any] = {}
    for task in tasks:
        role = roles.setdefault(task["role"], {"taskRoleStatus": {"name": task["role"]}, "taskStatuses": []})
        container = _container(task, task)
        kept = ("containerId", "containerIp", "containerGpus", "containerLog", "containerExitCode")
        state = shown_state(task["sub_state"], task["exit_code"])
        shown = {"taskIndex": task["task_index"], "taskState": state, **{key: container[key] for key in kept}}
        role["taskStatuses"].append(shown)
    shown_attempt: dict[str, Any] = {
        "jobName": job["job_name"],
        "frameworkName": job["debug_id"],
        "userName": job["user_name"],
        "state": shown_state(sub_state, code),
        "originState": sub_state,
        "jobStartedTime": job["creation_time"],
        "attemptStartedTime": found.get("start_time"),
        "attemptCompletedTime": found.get("completion_time"),
        "exitCode": code,
        "exitPhrase": spec["phrase"] if spec else None,
        "exitType": found.get("exit_type"),
        "exitDiagnostics": {"diagnosticsSummary": diagnostics, "runtime": messages["runtime"], "launcher": messages["launcher"]}
        if messages
        else None,
        "appExitTriggerMessage": found.get("trigger_message"),
        "appExitTriggerTaskRoleName": found.get("trigger_role"),
        "appExitTriggerTaskIndex": found.get("trigger_index"),
        "appExitSpec": spec,
        "appExitDiagnostics": diagnostics,
        "appExitMessages": messages,
        "totalGpuNumber": job["total_gpu_number"],
        "totalTaskNumber": job["total_task_number"],
        "totalTaskRoleNumber": job["total_task_role_number"],
        "taskRoles": roles,
    }
    if attempt is not None:
        # The uid of the framework object, which is there once Kubernetes has taken the job.
        shown_attempt |= {"uid": str(uuid.uuid5(uuid.NAMESPACE_OID, job["frame"])), "attemptIndex": attempt["id"]}
    return shown_attempt


def _iso(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def event(job: Row, row: Row, node: str) -> dict[str, Any]:
    """An event of a job."""
    task_name = f"{job['debug_id']}-{row['role']}-{row['task_index']}" if row["role"] else None
    return {
        "uid": row["uid"],
        "frameworkName": job["debug_id"],
        "podUid": row["pod_uid"],
        "taskroleName": row["role"],
        "taskName": task_name,
        "taskIndex": row["task_index"],
        "type": row["type"],
        "reason": row["reason"],
        "message": row["message"],
        "firstTimestamp": _iso(row["first_time"]),
        "lastTimestamp": _iso(row["last_time"]),
        "count": row["count"],
        "sourceComponent": row["component"],
        "sourceHost": node,
    }
