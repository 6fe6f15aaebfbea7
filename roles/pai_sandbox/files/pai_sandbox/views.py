"""Stored rows as the JSON that the API shows."""

from __future__ import annotations

import json
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


def summary(job: Row, tags: list[str]) -> dict[str, Any]:
    """A job in the list."""
    return {
        "debugId": job["debug_id"],
        "name": job["job_name"],
        "username": job["user_name"],
        "state": job["state"],
        "subState": job["sub_state"],
        "executionType": job["execution_type"],
        "tags": tags,
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


def _container(task: Row) -> dict[str, Any]:
    ports: dict[str, str] = {}
    if task["pod_uid"]:
        numbers = port_numbers(task["pod_uid"], json.loads(task["port_counts"]))
        ports = {label: ",".join(map(str, found)) for label, found in numbers.items()}
    path = f"/api/v2/jobs/{task['frame']}/attempts/{task['attempt']}/taskRoles/{task['role']}/taskIndex/{task['task_index']}"
    return {
        "containerId": task["pod_uid"],
        "containerIp": task["host_ip"],
        "containerNodeName": task["node_name"],
        "containerPorts": ports,
        "containerGpus": None,
        "containerLog": f"{path}/attempts/0/logs",
        "containerExitCode": task["exit_code"],
        "containerExitSpec": exit_spec(task["exit_code"]),
        "containerExitDiagnostics": task["diagnostics"],
    }


def _launched(row: Row) -> int | None:
    """When it ran; what ended without running counts as launched at its end, as on the real server."""
    found: int | None = row["run_time"] or row["completion_time"]
    return found


def _task_attempt(task: Row) -> dict[str, Any]:
    # Task retries need gangAllocation false and are not offered: a task has one attempt, number 0.
    return {
        "attemptId": 0,
        "attemptState": shown_attempt_state(task["sub_state"], task["exit_code"]),
        "currentAttemptCreatedTime": task["start_time"],
        "currentAttemptLaunchedTime": _launched(task),
        "currentAttemptCompletedTime": task["completion_time"],
    }


def _task_times(task: Row) -> dict[str, Any]:
    return {
        "retries": 0,
        "accountableRetries": 0,
        "createdTime": task["start_time"],
        "launchedTime": _launched(task),
        "completedTime": task["completion_time"],
    }


def _task(task: Row) -> dict[str, Any]:
    return {
        "taskIndex": task["task_index"],
        "taskUid": task["task_uid"],
        "taskState": shown_state(task["sub_state"], task["exit_code"]),
        **_container(task),
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
    """One task with its attempts."""
    return {
        "username": job["user_name"],
        "jobName": job["job_name"],
        "jobAttemptId": task["attempt"],
        "taskRoleName": task["role"],
        "taskIndex": task["task_index"],
        "taskUid": task["task_uid"],
        "taskState": shown_state(task["sub_state"], task["exit_code"]),
        **_task_times(task),
        "attempts": [{**_task_attempt(task), **_container(task)}],
    }


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
