"""What happens to jobs and tasks, written down in the store."""

from __future__ import annotations

import json
import logging
import time
import uuid
from typing import Any

from .exits import Ending
from .protocol import JobSpec
from .settings import HOST
from .states import COMPLETED, CREATION_PENDING, PREPARING, RUNNING, shown_attempt_state, shown_state
from .store import Row, Store

log = logging.getLogger("pai_sandbox")


def now_ms() -> int:
    """The time in ms with the resolution of Kubernetes: whole seconds."""
    return int(time.time()) * 1000


def task_name(task: Row) -> str:
    """A task in the words of the log."""
    return f"job {task['frame']} attempt {task['attempt']}: task {task['role']}[{task['task_index']}]"


class Ledger:
    """Writes the steps of jobs and tasks."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def show(self, frame: str, sub_state: str, exit_code: int | None = None, **fields: Any) -> None:
        """Change the state of a job."""
        state = shown_state(sub_state, exit_code)
        self._store.update_job(frame, sub_state=sub_state, state=state, app_exit_code=exit_code, **fields)

    def new_attempt(self, frame: str, attempt_id: int, spec: JobSpec) -> None:
        """Begin an attempt: all its tasks wait for a pod."""
        now = now_ms()
        tasks: list[Row] = [
            {
                "role": role.name,
                "task_index": index,
                "task_uid": str(uuid.uuid4()),
                "port_counts": json.dumps(role.ports),
                "sub_state": CREATION_PENDING,
                "start_time": now,
                "attempt_start_time": now,
            }
            for role in spec.roles
            for index in range(role.instances)
        ]
        self._store.add_attempt(frame, attempt_id, {"sub_state": CREATION_PENDING, "start_time": now}, tasks)

    def prepare_task(self, task: Row, pod_uid: str) -> None:
        """A task has a pod."""
        self._store.update_task(task["id"], sub_state=PREPARING, pod_uid=pod_uid)

    def run_task(self, frame: str, attempt_id: int, task: Row) -> None:
        """A task runs; the first one makes its job run."""
        now = now_ms()
        with self._store.transaction():
            start = task["run_time"] or now
            self._store.update_task(task["id"], sub_state=RUNNING, run_time=start, attempt_run_time=now, host_ip=HOST)
            attempt = self._store.known_attempt(frame, attempt_id)
            job = self._store.known_job(frame)
            self._store.update_attempt(frame, attempt_id, sub_state=RUNNING, run_time=attempt["run_time"] or now)
            self.show(frame, RUNNING, launch_time=job["launch_time"] or now)
        log.info("%s is running", task_name(task))

    def end_task(self, task: Row, ending: Ending) -> None:
        """A task is over."""
        now = now_ms()
        runtime = json.dumps(ending.runtime) if ending.runtime else None
        self._store.update_task(
            task["id"],
            sub_state=COMPLETED,
            completion_time=now,
            exit_code=ending.code,
            diagnostics=ending.diagnostics,
            runtime=runtime,
        )
        log.info("%s ended with exit code %d", task_name(task), ending.code)

    def retry_task(self, task: Row, ending: Ending, accountable: bool) -> None:
        """A task failed and is tried again with a new pod; its failed attempt goes to its history."""
        now = now_ms()
        past = {
            "id": task["task_attempt"],
            "state": shown_attempt_state(COMPLETED, ending.code),
            "start_time": task["attempt_start_time"],
            "run_time": task["attempt_run_time"],
            "completion_time": now,
            "pod_uid": task["pod_uid"],
            "host_ip": task["host_ip"],
            "node_name": task["node_name"],
            "exit_code": ending.code,
            "diagnostics": ending.diagnostics,
        }
        self._store.update_task(
            task["id"],
            history=json.dumps([past, *json.loads(task["history"] or "[]")]),
            task_attempt=task["task_attempt"] + 1,
            retries=task["retries"] + 1,
            accountable_retries=task["accountable_retries"] + accountable,
            sub_state=CREATION_PENDING,
            attempt_start_time=now,
            attempt_run_time=None,
            pod_uid=None,
            host_ip=None,
            node_name=None,
            container_id=None,
            exit_code=None,
            diagnostics=None,
            runtime=None,
        )
        log.info("%s failed with exit code %d and is tried again", task_name(task), ending.code)
