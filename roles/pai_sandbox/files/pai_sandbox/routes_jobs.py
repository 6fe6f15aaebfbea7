"""Routes for jobs."""

from __future__ import annotations

import json
import math
import re
import time
from typing import Any

from fastapi import APIRouter, Request, Response

from . import inputs, js_values, js_yaml, views
from .context import Body, CurrentCaller, CurrentServer, Server, count, job_of
from .errors import PaiError, answer, forbidden, invalid_parameters, no_job_attempt
from .ledger import now_ms
from .protocol import JobSpec, read_job
from .states import COMPLETED
from .store import JobQuery, Row
from .tokens import Caller

router = APIRouter()

_DEFAULT_LIMIT = 5000
_MOST_ROWS = 50000
_LARGEST_BIGINT = 2**63 - 1
_LARGEST_INTEGER = 2**31 - 1
_LONGEST_TAG = 512
_EXECUTION = [inputs.Field("value", inputs.one_of("STOP", "START"))]
_TAG = [inputs.Field("value", inputs.text(re.compile(r"[^,]+"), "value"))]
_ORDER_COLUMNS = {
    "jobName": "job_name",
    "submissionTime": "submission_time",
    "username": "user_name",
    "vc": "virtual_cluster",
    "retries": "user_retries + platform_retries",
    "totalTaskNumber": "total_task_number",
    "totalGpuNumber": "total_gpu_number",
    "state": "state",
    "completionTime": "completion_time",
    "jobPriority": "job_priority",
}


# Submit


@router.post("/api/v2/jobs")
async def submit(request: Request, server: CurrentServer, caller: CurrentCaller, body: Body) -> Response:
    """Keep a new job; the cluster takes it up afterwards."""
    count(request, server.submit_limit, caller)
    spec = read_job(body)
    frame = f"{caller.username}~{spec.name}"
    used = PaiError(409, "ConflictJobError", f"Job {frame} already exists.")
    if server.store.job(frame):
        raise used
    _check_grants(server, caller, spec)
    for number in (spec.total_gpus, spec.total_tasks):
        if abs(number) > _LARGEST_INTEGER:
            raise PaiError(500, "UnknownError", f'value "{number}" is out of range for type integer')
    if not spec.instances_given:
        # The GPU total of a missing number is NaN, which the database column does not take.
        raise PaiError(500, "UnknownError", 'invalid input syntax for type integer: "NaN"')
    if not server.store.add_job(_job_fields(frame, caller, spec, body)):
        raise used
    server.runner.notice(frame)
    return answer({"status": 202, "message": f"Update job {spec.name} for user {caller.username} successfully."}, 202)


def _check_grants(server: Server, caller: Caller, spec: JobSpec) -> None:
    user = server.users.get(caller.username)
    if user is None or spec.virtual_cluster not in server.users.granted(user):
        raise forbidden(f"User {caller.username} is not allowed to do operation in {spec.virtual_cluster}")
    known = [storage.name for storage in server.settings.storages]
    for name in spec.storages:
        if name not in known:
            raise PaiError(404, "NoStorageError", f"Storage {name} is not found.")


def _job_fields(frame: str, caller: Caller, spec: JobSpec, text: str) -> Row:
    return {
        "frame": frame,
        "user_name": caller.username,
        "job_name": spec.name,
        "virtual_cluster": spec.virtual_cluster,
        "config": js_yaml.mask_secrets(text),
        "spec": spec.to_json(),
        "submission_time": now_ms(),
        "total_gpu_number": spec.total_gpus,
        "total_task_number": spec.total_tasks,
        "total_task_role_number": len(spec.roles),
        # Priority classes belong to the hived scheduler, which the sandbox does not have.
        "job_priority": None,
    }


# List


def _whole(request: Request, name: str, default: int) -> int:
    text = js_values.joined(request, name)
    if text is None:
        return default
    number = js_values.whole_of(text)
    if number is None:
        raise PaiError(500, None, 'column "nan" does not exist')
    if name == "limit" and number > _MOST_ROWS:
        raise invalid_parameters(f"Limit exceeds max number {_MOST_ROWS}.")
    if number < 0:
        raise PaiError(500, None, f"{name.upper()} must not be negative")
    if number > _LARGEST_BIGINT:
        raise PaiError(500, None, "bigint out of range")
    return number


def _order(words: list[str] | None) -> str:
    field, direction = [*(words or []), "", ""][:2]
    if field not in _ORDER_COLUMNS or direction not in ("ASC", "DESC"):
        return "submission_time DESC, id DESC"
    nulls = "LAST" if direction == "ASC" else "FIRST"
    # The database leaves ties as it finds its rows; of one second's submissions the newest is wanted first.
    ties = "DESC" if field == "submissionTime" else "ASC"
    return f"{_ORDER_COLUMNS[field]} {direction} NULLS {nulls}, id {ties}"


@router.get("/api/v2/jobs")
async def list_jobs(request: Request, server: CurrentServer, caller: CurrentCaller) -> Response:
    """A page of all users' jobs."""
    count(request, server.list_limit, caller)
    query = JobQuery(
        usernames=js_values.words(request, "username"),
        clusters=js_values.words(request, "vc"),
        states=js_values.words(request, "state"),
        offset=_whole(request, "offset", 0),
        limit=_whole(request, "limit", _DEFAULT_LIMIT),
        tags_any=js_values.words(request, "tagsContain"),
        tags_none=js_values.words(request, "tagsNotContain"),
        keyword=js_values.joined(request, "keyword"),
        priorities=js_values.words(request, "jobPriority"),
        order=_order(js_values.words(request, "order")),
    )
    with_total = js_values.only(request, "withTotalCount") == "true"
    rows, total = server.store.list_jobs(query, with_total)
    # Rows with a name that is not a hash are dropped after paging, so a page may be short.
    shown = [row for row in rows if re.fullmatch(r"[0-9a-f]{32}", row["debug_id"])]
    data = [views.summary(row) for row in shown]
    if with_total:
        return answer({"totalCount": total, "data": data})
    return answer(data)


# Read one


def _attempt(server: Server, job: Row, wanted: float | None) -> Row | None:
    """The attempt with a number, the latest for None and for what is not a number; ``LookupError`` when there is none.

    Before the first attempt every number stands for that nothing.
    """
    latest: int | None = job["attempt_id"]
    if latest is None:
        return None
    if wanted is None or math.isnan(wanted) or wanted == latest:
        return server.store.known_attempt(job["frame"], latest)
    found = server.store.attempt(job["frame"], int(wanted)) if 0 <= wanted < latest and wanted == int(wanted) else None
    if found is None:
        raise LookupError
    return found


def _detail(server: Server, frame: str, wanted: float | None = None) -> dict[str, Any]:
    job = job_of(server, frame)
    try:
        attempt = _attempt(server, job, wanted)
    except LookupError as error:
        raise no_job_attempt(f"JobAttemptId {js_values.shown_number(wanted or 0)} is not found in {frame}.") from error
    tasks = server.store.tasks(frame, attempt["id"]) if attempt else []
    return views.detail(job, attempt, tasks, server.store.tags(frame))


@router.get("/api/v2/jobs/{frame}")
async def get_job(server: CurrentServer, caller: CurrentCaller, frame: str) -> Response:
    """A job with its latest attempt."""
    return answer(_detail(server, frame))


@router.get("/api/v2/jobs/{frame}/attempts/{attempt}")
async def get_attempt(server: CurrentServer, caller: CurrentCaller, frame: str, attempt: str) -> Response:
    """A job with one attempt; what is not a number stands for the latest."""
    return answer(_detail(server, frame, js_values.number_of(attempt)))


@router.get("/api/v2/jobs/{frame}/attempts/{attempt}/taskRoles/{role}/taskIndex/{index}/attempts")
async def get_task(server: CurrentServer, caller: CurrentCaller, frame: str, attempt: str, role: str, index: str) -> Response:
    """One task with its attempts."""
    job, task = _task(server, frame, attempt, role, index)
    return answer(views.task_history(job, task))


def _task(server: Server, frame: str, attempt: str, role: str, index: str) -> tuple[Row, Row]:
    job = job_of(server, frame)
    wanted, number = js_values.number_of(attempt), js_values.number_of(index)
    shown = js_values.shown_number(wanted)
    try:
        found = _attempt(server, job, wanted)
    except LookupError as error:
        raise no_job_attempt(f"Job attempt not found in job {frame} with jobAttemptIndex {shown}") from error
    for task in server.store.tasks(frame, found["id"]) if found else []:
        if task["role"] == role and task["task_index"] == number:
            return job, task
    where = f"with jobAttemptIndex {shown}, taskRoleName {role} and taskIndex {js_values.shown_number(number)}"
    raise no_job_attempt(f"Task not found in Job {frame} {where}.")


@router.get("/api/v2/jobs/{frame}/job-attempts/healthz")
async def attempts_health(caller: CurrentCaller) -> Response:
    """Whether the history of attempts can be read."""
    return Response("ok", media_type="text/html; charset=utf-8")


def _old_attempt(server: Server, job: Row, attempt: Row | None, latest: bool) -> dict[str, Any]:
    tasks = server.store.tasks(job["frame"], attempt["id"]) if attempt else []
    return {**views.old_attempt(job, attempt, tasks), "isLatest": latest}


@router.get("/api/v2/jobs/{frame}/job-attempts")
async def list_attempts(server: CurrentServer, caller: CurrentCaller, frame: str) -> Response:
    """All attempts in the form of old versions, the latest first and the earlier ones after it, oldest first."""
    job = server.store.job(frame)
    if job is None:
        return answer(None, 404)
    earlier = [server.store.known_attempt(frame, number) for number in range(job["attempt_id"] or 0)]
    shown = [_old_attempt(server, job, _attempt(server, job, None), True)]
    return answer([*shown, *(_old_attempt(server, job, attempt, False) for attempt in earlier)])


@router.get("/api/v2/jobs/{frame}/job-attempts/{index}")
async def get_old_attempt(server: CurrentServer, caller: CurrentCaller, frame: str, index: str) -> Response:
    """One attempt in the form of old versions; the server calls each of them the latest."""
    job = job_of(server, frame)
    wanted = js_values.number_of(index)
    try:
        attempt = _attempt(server, job, wanted)
    except LookupError as error:
        where = f"with jobAttemptIndex {js_values.shown_number(wanted)}"
        raise no_job_attempt(f"Job attempt not found in job {frame} {where}") from error
    return answer(_old_attempt(server, job, attempt, True))


@router.get("/api/v2/jobs/{frame}/config")
async def get_config(server: CurrentServer, caller: CurrentCaller, frame: str) -> Response:
    """The submitted job file with masked secrets: JSON under a YAML content type."""
    config = js_yaml.safe_load(job_of(server, frame)["config"])
    text = json.dumps(config, ensure_ascii=False, separators=(",", ":"), default=str)
    return Response(text, media_type="text/yaml; charset=utf-8")


@router.get("/api/v2/jobs/{frame}/ssh")
async def get_ssh(server: CurrentServer, caller: CurrentCaller, frame: str) -> Response:
    """Never there on Kubernetes."""
    raise PaiError(404, "NoJobSshInfoError", f"SSH info of job {frame} is not found.")


@router.get("/api/v2/jobs/{frame}/events")
async def get_events(request: Request, server: CurrentServer, caller: CurrentCaller, frame: str) -> Response:
    """What Kubernetes reported about a job, newest first."""
    job = job_of(server, frame)
    rows = server.store.events(frame, request.query_params.getlist("type"))
    return answer({"totalCount": len(rows), "data": [views.event(job, row, server.settings.name) for row in rows]})


@router.get("/api/v2/jobs/{frame}/attempts/{attempt}/taskRoles/{role}/taskIndex/{index}/attempts/{task_attempt}/logs")
async def get_logs(
    request: Request, server: CurrentServer, caller: CurrentCaller, frame: str, attempt: str, role: str, index: str, task_attempt: str
) -> Response:
    """Links to the logs of one attempt of a task; every trouble but a missing log is one and the same 500."""
    try:
        job, task = _task(server, frame, attempt, role, index)
    except PaiError as error:
        raise _no_log_list() from error
    wanted = js_values.number_of(task_attempt)
    shown = next((one for one in views.task_history(job, task)["attempts"] if one["attemptId"] == wanted), None)
    if shown is None or not shown["containerIp"]:
        raise PaiError(404, "NoTaskLogError", "Log of task is not found.")
    if not server.settings.log_manager:
        raise _no_log_list()
    tail = js_values.only(request, "tail-mode") == "true"
    return answer({"locations": server.logs.locations(frame, role, shown["containerId"], tail)})


def _no_log_list() -> PaiError:
    return PaiError(500, "UnknownError", "Failed to get log list")


# Change


@router.put("/api/v2/jobs/{frame}/executionType")
async def execute(server: CurrentServer, caller: CurrentCaller, frame: str, body: Body) -> Response:
    """Record that a job is to stop or to start; START does not bring back a job that is over."""
    value = inputs.check_input(body, _EXECUTION)["value"]
    job = job_of(server, frame)
    if caller.username != job["user_name"] and not caller.admin:
        raise forbidden(f"User {caller.username} is not allowed to execute job {frame}.")
    if job["sub_state"] == COMPLETED and time.time() - job["completion_time"] / 1000 > server.settings.cleanup_after_s:
        # The poller has removed the framework, and the wiped secret columns cannot be read back.
        raise PaiError(500, "UnknownError", "Unexpected end of JSON input")
    server.store.update_job(frame, execution_type=value)
    server.runner.notice(frame)
    return answer({"status": 202, "message": f"Execute job {frame} successfully."}, 202)


def _tag_of(server: Server, caller: Caller, frame: str, body: Any, action: str) -> str:
    value: str = inputs.check_input(body, _TAG)["value"]
    if caller.username != frame.partition("~")[0] and not caller.admin:
        raise forbidden(f"User {caller.username} is not allowed to {action} job {frame}.")
    job_of(server, frame)
    return value


@router.put("/api/v2/jobs/{frame}/tag")
async def add_tag(server: CurrentServer, caller: CurrentCaller, frame: str, body: Body) -> Response:
    """Add a tag; one that is there already is fine."""
    value = _tag_of(server, caller, frame, body, "add tag to")
    if len(value) > _LONGEST_TAG:
        raise PaiError(500, None, f"value too long for type character varying({_LONGEST_TAG})")
    server.store.add_tag(frame, value)
    return answer({"status": 200, "message": f"Add tag {value} for job {frame} successfully."})


@router.delete("/api/v2/jobs/{frame}/tag")
async def delete_tag(server: CurrentServer, caller: CurrentCaller, frame: str, body: Body) -> Response:
    """Delete a tag; one that is not there is a 404."""
    value = _tag_of(server, caller, frame, body, "delete tag from")
    if not server.store.delete_tag(frame, value):
        raise PaiError(404, "NoTagError", f"Tag {value} is not found for job {frame}.")
    return answer({"status": 200, "message": f"Delete tag {value} from job {frame} successfully."})
