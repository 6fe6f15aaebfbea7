"""Routes for jobs."""

from __future__ import annotations

import json
import re
import time
from typing import Any

from fastapi import APIRouter, Request, Response

from . import inputs, js_yaml, views
from .context import Body, CurrentCaller, CurrentServer, Server, count, first_query, job_of
from .errors import PaiError, answer, forbidden, invalid_parameters
from .protocol import JobSpec, read_job
from .runner import now_ms
from .states import COMPLETED
from .store import JobQuery, Row
from .tokens import Caller

router = APIRouter()

_DEFAULT_LIMIT = 5000
_MOST_ROWS = 50000
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
def submit(request: Request, server: CurrentServer, caller: CurrentCaller, body: Body) -> Response:
    """Keep a new job; the cluster takes it up afterwards."""
    count(request, server.submit_limit, caller)
    spec = read_job(body)
    frame = f"{caller.username}~{spec.name}"
    used = PaiError(409, "ConflictJobError", f"Job {frame} already exists.")
    if server.store.job(frame):
        raise used
    _check_grants(server, caller, spec)
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
    for name in spec.storages:
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


def _whole(request: Request, name: str, default: int, word: str) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    found = re.match(r"\s*([+-]?\d+)", text)
    if not found:
        raise PaiError(500, None, 'column "nan" does not exist')
    number = int(found.group(1))
    if name == "limit" and number > _MOST_ROWS:
        raise invalid_parameters(f"Limit exceeds max number {_MOST_ROWS}.")
    if number < 0:
        raise PaiError(500, None, f"{word} must not be negative")
    return number


def _words(request: Request, name: str) -> list[str] | None:
    text = first_query(request, name)
    return None if text is None else text.split(",")


def _order(text: str | None) -> str:
    field, direction = [*(text or "").split(","), "", ""][:2]
    if field not in _ORDER_COLUMNS or direction not in ("ASC", "DESC"):
        return "submission_time DESC, id DESC"
    nulls = "LAST" if direction == "ASC" else "FIRST"
    return f"{_ORDER_COLUMNS[field]} {direction} NULLS {nulls}, id DESC"


@router.get("/api/v2/jobs")
def list_jobs(request: Request, server: CurrentServer, caller: CurrentCaller) -> Response:
    """A page of all users' jobs."""
    count(request, server.list_limit, caller)
    query = JobQuery(
        usernames=_words(request, "username"),
        clusters=_words(request, "vc"),
        states=_words(request, "state"),
        offset=_whole(request, "offset", 0, "OFFSET"),
        limit=_whole(request, "limit", _DEFAULT_LIMIT, "LIMIT"),
        tags_any=_words(request, "tagsContain"),
        tags_none=_words(request, "tagsNotContain"),
        keyword=request.query_params.get("keyword"),
        priorities=_words(request, "jobPriority"),
        order=_order(first_query(request, "order")),
    )
    rows, total = server.store.list_jobs(query)
    # Rows with a name that is not a hash are dropped after paging, so a page may be short.
    shown = [row for row in rows if re.fullmatch(r"[0-9a-f]{32}", row["debug_id"])]
    data = [views.summary(row, server.store.tags(row["frame"])) for row in shown]
    if request.query_params.get("withTotalCount") == "true":
        return answer({"totalCount": total, "data": data})
    return answer(data)


# Read one


def _detail(server: Server, frame: str, attempt_id: int | None = None) -> dict[str, Any]:
    job = job_of(server, frame)
    chosen = job["attempt_id"] if attempt_id is None else attempt_id
    attempt = None if chosen is None else server.store.attempt(frame, chosen)
    if attempt is None and attempt_id is not None:
        raise PaiError(404, "NoJobError", f"JobAttemptId {attempt_id} is not found in {frame}.")
    tasks = server.store.tasks(frame, chosen) if attempt else []
    return views.detail(job, attempt, tasks, server.store.tags(frame))


@router.get("/api/v2/jobs/{frame}")
def get_job(server: CurrentServer, caller: CurrentCaller, frame: str) -> Response:
    """A job with its latest attempt."""
    return answer(_detail(server, frame))


@router.get("/api/v2/jobs/{frame}/attempts/{attempt}")
def get_attempt(server: CurrentServer, caller: CurrentCaller, frame: str, attempt: str) -> Response:
    """A job with one attempt; what is not a number stands for the latest."""
    return answer(_detail(server, frame, int(attempt) if attempt.isdecimal() else None))


@router.get("/api/v2/jobs/{frame}/attempts/{attempt}/taskRoles/{role}/taskIndex/{index}/attempts")
def get_task(server: CurrentServer, caller: CurrentCaller, frame: str, attempt: str, role: str, index: str) -> Response:
    """One task with its attempts."""
    job, task = _task(server, frame, attempt, role, index)
    return answer(views.task_history(job, task))


def _task(server: Server, frame: str, attempt: str, role: str, index: str) -> tuple[Row, Row]:
    job = job_of(server, frame)
    tasks = server.store.tasks(frame, int(attempt)) if attempt.isdecimal() else []
    for task in tasks:
        if task["role"] == role and str(task["task_index"]) == index:
            return job, task
    where = f"with jobAttemptIndex {attempt}, taskRoleName {role} and taskIndex {index}"
    raise PaiError(404, "NoJobError", f"Task not found in Job {frame} {where}.")


@router.get("/api/v2/jobs/{frame}/job-attempts/healthz")
def attempts_health(caller: CurrentCaller) -> Response:
    """The attempt history of old versions is not kept here."""
    return answer({"message": "Launcher type is not supported"}, 501)


@router.get("/api/v2/jobs/{frame}/job-attempts")
def list_attempts(server: CurrentServer, caller: CurrentCaller, frame: str) -> Response:
    """Attempts in the old form, which only old clients read: the answer for an unknown job is all that is kept."""
    job_of_old = server.store.job(frame)
    return answer(None, 404) if job_of_old is None else answer([])


@router.get("/api/v2/jobs/{frame}/job-attempts/{index}")
def get_old_attempt(caller: CurrentCaller, frame: str, index: str) -> Response:
    """One attempt in the old form; none is kept."""
    raise PaiError(404, "NoJobError", f"Job attempt not found in job {frame} with jobAttemptIndex {index}")


@router.get("/api/v2/jobs/{frame}/config")
def get_config(server: CurrentServer, caller: CurrentCaller, frame: str) -> Response:
    """The submitted job file with masked secrets: JSON under a YAML content type."""
    config = js_yaml.safe_load(job_of(server, frame)["config"])
    text = json.dumps(config, ensure_ascii=False, separators=(",", ":"), default=str)
    return Response(text, media_type="text/yaml; charset=utf-8")


@router.get("/api/v2/jobs/{frame}/ssh")
def get_ssh(server: CurrentServer, caller: CurrentCaller, frame: str) -> Response:
    """Never there on Kubernetes."""
    raise PaiError(404, "NoJobSshInfoError", f"SSH info of job {frame} is not found.")


@router.get("/api/v2/jobs/{frame}/events")
def get_events(request: Request, server: CurrentServer, caller: CurrentCaller, frame: str) -> Response:
    """What Kubernetes reported about a job, newest first."""
    job = job_of(server, frame)
    rows = server.store.events(frame, request.query_params.get("type"))
    return answer({"totalCount": len(rows), "data": [views.event(job, row, server.settings.name) for row in rows]})


@router.get("/api/v2/jobs/{frame}/attempts/{attempt}/taskRoles/{role}/taskIndex/{index}/attempts/{task_attempt}/logs")
def get_logs(caller: CurrentCaller, frame: str, attempt: str, role: str, index: str, task_attempt: str) -> Response:
    """The sandbox has no log manager; this is the server's answer without one."""
    raise PaiError(500, "UnknownError", "Failed to get log list")


# Change


@router.put("/api/v2/jobs/{frame}/executionType")
def execute(server: CurrentServer, caller: CurrentCaller, frame: str, body: Body) -> Response:
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
def add_tag(server: CurrentServer, caller: CurrentCaller, frame: str, body: Body) -> Response:
    """Add a tag; one that is there already is fine."""
    value = _tag_of(server, caller, frame, body, "add tag to")
    if len(value) > _LONGEST_TAG:
        raise PaiError(500, None, f"value too long for type character varying({_LONGEST_TAG})")
    server.store.add_tag(frame, value)
    return answer({"status": 200, "message": f"Add tag {value} for job {frame} successfully."})


@router.delete("/api/v2/jobs/{frame}/tag")
def delete_tag(server: CurrentServer, caller: CurrentCaller, frame: str, body: Body) -> Response:
    """Delete a tag; one that is not there is a 404."""
    value = _tag_of(server, caller, frame, body, "delete tag from")
    if not server.store.delete_tag(frame, value):
        raise PaiError(404, "NoTagError", f"Tag {value} is not found for job {frame}.")
    return answer({"status": 200, "message": f"Delete tag {value} from job {frame} successfully."})
