"""The cluster behind the API: a thread that moves every open job one step further, again and again."""

from __future__ import annotations

import copy
import json
import logging
import math
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from . import policy
from .engine import EngineError
from .exits import ATTEMPT_COMPLETION, COMPLETION_TEXT, FRAMEWORK_REFUSED, STOP_TEXT, USER_STOP, Ending
from .launcher import Launcher
from .ledger import Ledger, now_ms
from .logs import TaskLogs
from .nodes import Capacity
from .protocol import JobSpec
from .rules import Rule, Rules
from .settings import Settings
from .states import COMPLETED, CREATION_PENDING, DELETION_PENDING, PREPARING, RUNNING, shown_state
from .store import Row, Store

log = logging.getLogger("pai_sandbox")

_SCHEDULER_S = 5.0
_AT_ONCE = 0.0
_FOR_EVER = math.inf
_LONG_S = 3600.0


def _ending_of(task: Row) -> Ending:
    runtime = json.loads(task["runtime"]) if task["runtime"] else None
    return Ending(task["exit_code"], task["diagnostics"], runtime)


class Runner:
    """Runs the jobs of a store. ``launcher`` None: tasks run without containers, by rules."""

    def __init__(self, settings: Settings, store: Store, ledger: Ledger, launcher: Launcher | None, logs: TaskLogs) -> None:
        self._settings = settings
        self._store = store
        self._ledger = ledger
        self._launcher = launcher
        self._logs = logs
        # Containers end by themselves; by rules nothing happens before its time, or before a request.
        self._look_again_s = settings.poll_s if launcher else _LONG_S
        self._rules = Rules(settings.rules_file)
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._busy: set[str] = set()
        self._rest_until: dict[str, float] = {}
        self._since: dict[tuple[int, int, str], float] = {}
        self._capacity: Capacity | None = None
        self._unplaced: set[str] = set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._loop, name="runner", daemon=True)

    def start(self) -> None:
        """Find the containers of an earlier life and begin."""
        self._thread.start()

    def stop(self) -> None:
        """Stop moving jobs; containers go on running."""
        self._stopped.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2)

    def notice(self, frame: str) -> None:
        """A request changed a job: act on it, but not before the request has settled."""
        self._rest(frame, self._settings.settle_s)
        self._wake.set()

    def step(self, frame: str) -> None:
        """Move one job one step further, whatever it waits for; for whoever drives the cluster by hand."""
        job = self._store.job(frame)
        self._capacity = None
        if job and job["sub_state"] != COMPLETED:
            self._step(job, self._launcher.look() if self._launcher else {})

    def _rest(self, frame: str, seconds: float) -> None:
        self._rest_until[frame] = time.monotonic() + seconds

    def _loop(self) -> None:
        reconciled = self._launcher is None
        while not self._stopped.is_set():
            wait_s = self._look_again_s
            try:
                if self._launcher and not reconciled:
                    self._launcher.reconcile()
                    reconciled = True
                wait_s = min(wait_s, self._tick())
            except EngineError as error:
                log.warning("engine: %s", error)
                wait_s = 2.0
            except sqlite3.ProgrammingError:
                if self._stopped.is_set():
                    return
                raise
            except Exception:
                log.exception("a job could not be moved on")
            self._wake.wait(max(wait_s, 0.005))
            self._wake.clear()

    def _tick(self) -> float:
        """One step for each open job; how long the loop may sleep."""
        sleep_s = self._look_again_s
        words: dict[str, str] | None = None
        self._capacity = None
        now = time.monotonic()
        for frame in self._store.open_frames():
            rest_s = self._rest_until.get(frame, 0.0) - now
            if rest_s > 0:
                sleep_s = min(sleep_s, rest_s)
                continue
            with self._lock:
                if frame in self._busy:
                    continue
            if words is None:
                words = self._launcher.look() if self._launcher else {}
            self._rest_until.pop(frame, None)
            try:
                rest_s = self._step(self._store.known_job(frame), words)
            except (EngineError, sqlite3.ProgrammingError):
                raise
            except Exception:  # one job must not keep the others from going on
                log.exception("job %s could not be moved on", frame)
                rest_s = 2.0
            # A request that came meanwhile has set a rest of its own.
            if frame not in self._rest_until and rest_s > 0:
                self._rest(frame, rest_s)
            sleep_s = min(sleep_s, rest_s)
        return sleep_s

    def _in_background(self, frame: str, work: Callable[[], None]) -> None:
        with self._lock:
            self._busy.add(frame)

        def run() -> None:
            try:
                work()
            except Exception:
                if not self._stopped.is_set():
                    log.exception("job %s could not be moved on", frame)
                    self._rest(frame, 2.0)
            finally:
                with self._lock:
                    self._busy.discard(frame)
                self._wake.set()

        threading.Thread(target=run, name=f"work {frame}", daemon=True).start()

    # One job

    def _step(self, job: Row, words: dict[str, str]) -> float:
        """Do the next thing for a job; how many seconds it may rest then."""
        frame = job["frame"]
        spec = JobSpec.from_json(job["spec"])
        if job["attempt_id"] is None:
            return self._create(job, spec)
        attempt_id = job["attempt_id"]
        attempt = self._store.known_attempt(frame, attempt_id)
        if attempt["sub_state"] == DELETION_PENDING:
            return self._delete(job, attempt, spec)
        tasks = self._store.tasks(frame, attempt_id)
        if self._launcher:
            self._launcher.collect(tasks, words)
        else:
            self._end_by_rule(job, tasks)
        tasks = self._store.tasks(frame, attempt_id)
        if job["execution_type"] == "STOP":
            return self._end_attempt(job, attempt, policy.Verdict(Ending(USER_STOP, STOP_TEXT)))
        if self._retry_tasks(spec, tasks):
            return _AT_ONCE
        endings = {task["id"]: _ending_of(task) for task in tasks if task["sub_state"] == COMPLETED}
        found = policy.verdict(spec, tasks, endings)
        if found:
            return self._end_attempt(job, attempt, found)
        return self._start_tasks(job, attempt_id, spec, tasks)

    def _create(self, job: Row, spec: JobSpec) -> float:
        frame = job["frame"]
        problem = spec.framework_problem
        if problem:
            rest_s = self._settings.refuse_after_s - (time.time() - job["submission_time"] / 1000)
            return rest_s if rest_s > 0 else self._refuse(frame, spec, problem)
        if job["creation_time"] is None:
            self._store.update_job(frame, creation_time=now_ms())
        else:
            self._ledger.new_attempt(frame, 0, spec)
        return _AT_ONCE

    def _refuse(self, frame: str, spec: JobSpec, problem: str) -> float:
        """Kubernetes does not take the job: the poller gives up on it."""
        now = now_ms()
        ending = Ending(FRAMEWORK_REFUSED, problem)
        fields: Row = {"sub_state": COMPLETED, "start_time": now, "completion_time": now, "exit_code": ending.code}
        with self._store.transaction():
            self._store.add_event(frame, now, "Warning", "CreateFrameworkPermanentFailed", problem)
            self._store.add_attempt(frame, 0, {**fields, "diagnostics": problem, "exit_type": ending.type}, [])
            self._close(frame, spec, ending.code, now)
        return _FOR_EVER

    # Start

    def _start_tasks(self, job: Row, attempt_id: int, spec: JobSpec, tasks: list[Row]) -> float:
        """Give waiting tasks a pod, then a place, then start them."""
        frame = job["frame"]
        if any(task["sub_state"] == CREATION_PENDING for task in tasks):
            self._prepare(frame, attempt_id, spec, tasks)
            return _AT_ONCE
        waiting = [task for task in tasks if task["sub_state"] == PREPARING]
        if any(task["node_name"] is None for task in waiting):
            if self._schedule(spec, waiting):
                return _AT_ONCE
            self._unplaced.add(frame)
        placed = [task for task in waiting if task["node_name"] is not None]
        if self._launcher is None:
            return self._run_by_rule(job, attempt_id, tasks, placed)
        if placed:
            launcher = self._launcher
            self._in_background(frame, lambda: launcher.launch(frame, attempt_id, spec, lambda: self._is_stopped(frame)))
        return _SCHEDULER_S if waiting and not placed else self._settings.poll_s

    def _prepare(self, frame: str, attempt_id: int, spec: JobSpec, tasks: list[Row]) -> None:
        roles = {role.name: role for role in spec.roles}
        with self._store.transaction():
            for task in tasks:
                if task["sub_state"] == CREATION_PENDING:
                    launcher = self._launcher
                    pod_uid = launcher.free_pod_uid(roles[task["role"]].ports) if launcher else str(uuid.uuid4())
                    self._ledger.prepare_task(task, pod_uid)
            if all(task["sub_state"] == CREATION_PENDING for task in tasks) and not any(task["task_attempt"] for task in tasks):
                self._store.update_attempt(frame, attempt_id, sub_state=PREPARING, app_id=f"{attempt_id}_{uuid.uuid4()}")
                self._ledger.show(frame, PREPARING)

    def _schedule(self, spec: JobSpec, waiting: list[Row]) -> bool:
        """Give waiting tasks a node: all of them or, without gang allocation, as many as fit. False when nothing fits."""
        roles = {role.name: role for role in spec.roles}
        if self._capacity is None:
            self._capacity = Capacity(self._settings.workers, self._store.used_nodes())
        trial = copy.deepcopy(self._capacity)
        places: dict[int, str] = {}
        for task in waiting:
            if task["node_name"] is not None:
                continue
            role = roles[task["role"]]
            node = trial.place(role)
            if node is not None:
                places[task["id"]] = node
                continue
            self._store.add_event(task["frame"], now_ms(), "Warning", "FailedScheduling", trial.problem(role), task)
            if spec.gang:
                return False
        self._capacity = trial
        with self._store.transaction():
            for task_id, node in places.items():
                self._store.update_task(task_id, node_name=node)
        return bool(places)

    def _room_again(self) -> None:
        """A place became free: who waits for one may look at once."""
        for frame in self._unplaced:
            self._rest_until.pop(frame, None)
        self._unplaced.clear()
        self._wake.set()

    def _is_stopped(self, frame: str) -> bool:
        job = self._store.job(frame)
        return self._stopped.is_set() or job is None or job["execution_type"] == "STOP"

    # Without containers

    def _due_in(self, task: Row, phase: str, seconds: float | None, began_ms: int | None) -> float:
        """How long until a phase of a task's attempt is over; it began when it is first asked for, or before a restart."""
        if seconds is None:
            return _FOR_EVER
        key = (task["id"], task["task_attempt"], phase)
        if key not in self._since:
            past_s = 0.0 if began_ms is None else max(0.0, time.time() - began_ms / 1000 - 1)
            self._since[key] = time.monotonic() - past_s
        return self._since[key] + seconds - time.monotonic()

    def _rule(self, job: Row) -> Rule:
        return self._rules.of(job["job_name"])

    def _end_by_rule(self, job: Row, tasks: list[Row]) -> None:
        rule = self._rule(job)
        for task in tasks:
            if task["sub_state"] == RUNNING and self._due_in(task, RUNNING, rule.run_s, task["attempt_run_time"]) <= 0:
                self._logs.keep(task, lambda stdout, _stderr: rule.log.encode() if stdout else b"")
                self._ledger.end_task(task, rule.ending())

    def _run_by_rule(self, job: Row, attempt_id: int, tasks: list[Row], placed: list[Row]) -> float:
        rule = self._rule(job)
        rests = [_SCHEDULER_S] if any(task["sub_state"] == PREPARING and task["node_name"] is None for task in tasks) else []
        for task in placed:
            due_s = self._due_in(task, PREPARING, rule.wait_s, None)
            if due_s <= 0:
                self._ledger.run_task(job["frame"], attempt_id, task)
                due_s = _AT_ONCE
            rests.append(due_s)
        for task in tasks:
            if task["sub_state"] == RUNNING:
                rests.append(max(_AT_ONCE, self._due_in(task, RUNNING, rule.run_s, task["attempt_run_time"])))
        return min(rests, default=_FOR_EVER)

    # End

    def _retry_tasks(self, spec: JobSpec, tasks: list[Row]) -> bool:
        """Try failed tasks again, where the job asks for that."""
        if spec.gang:
            return False
        limits = {role.name: role.task_retries for role in spec.roles}
        again = False
        for task in tasks:
            if task["sub_state"] != COMPLETED or task["exit_code"] == 0:
                continue
            kind = policy.retry_kind(task["exit_code"], task["accountable_retries"], limits[task["role"]])
            if kind:
                self._ledger.retry_task(task, _ending_of(task), accountable=kind == "user")
                again = True
        return again

    def _end_attempt(self, job: Row, attempt: Row, found: policy.Verdict) -> float:
        frame, attempt_id = job["frame"], attempt["id"]
        ending = found.ending
        with self._store.transaction():
            self._store.update_attempt(
                frame,
                attempt_id,
                sub_state=DELETION_PENDING,
                exit_code=ending.code,
                diagnostics=ending.diagnostics,
                runtime=json.dumps(ending.runtime) if ending.runtime else None,
                trigger_message=found.trigger_message,
                trigger_role=found.trigger_role,
                trigger_index=found.trigger_index,
                exit_type=ending.type,
            )
            for task in self._store.tasks(frame, attempt_id):
                if task["sub_state"] != COMPLETED:
                    fields: dict[str, Any] = {"exit_code": ATTEMPT_COMPLETION, "diagnostics": COMPLETION_TEXT}
                    self._store.update_task(task["id"], sub_state=DELETION_PENDING, **fields)
            self._ledger.show(frame, DELETION_PENDING, ending.code)
        log.info("job %s attempt %d is over: exit code %d", frame, attempt_id, ending.code)
        return _AT_ONCE

    def _delete(self, job: Row, attempt: Row, spec: JobSpec) -> float:
        """Stop what still runs of an attempt that is over, then close the attempt."""
        frame = job["frame"]
        left = [task for task in self._store.tasks(frame, attempt["id"]) if task["sub_state"] != COMPLETED]
        if self._launcher and any(task["container_id"] for task in left):
            launcher = self._launcher
            self._in_background(frame, lambda: launcher.stop(left))
            return _AT_ONCE
        for task in left:
            self._ledger.end_task(task, Ending(ATTEMPT_COMPLETION, COMPLETION_TEXT))
        return self._close_attempt(job, attempt, spec)

    def _close_attempt(self, job: Row, attempt: Row, spec: JobSpec) -> float:
        frame, code = job["frame"], attempt["exit_code"]
        now = now_ms()
        kind = policy.retry_kind(code, job["user_retries"], spec.max_retries)
        current = self._store.known_job(frame)
        again = bool(kind) and current["execution_type"] != "STOP"
        with self._store.transaction():
            self._store.update_attempt(frame, attempt["id"], sub_state=COMPLETED, completion_time=now)
            if again:
                retries = {f"{kind}_retries": job[f"{kind}_retries"] + 1}
                self._ledger.show(frame, CREATION_PENDING, None, **retries)
                self._ledger.new_attempt(frame, attempt["id"] + 1, spec)
            else:
                self._close(frame, spec, code, now)
        self._room_again()
        if not again:
            return _FOR_EVER
        wait_s = min(2.0 ** min(job[f"{kind}_retries"], 8), self._settings.longest_retry_wait_s)
        log.info("job %s is tried again in %.0f s", frame, wait_s)
        return wait_s

    def _close(self, frame: str, spec: JobSpec, code: int, now: int) -> None:
        # Secrets go when the job is over (1.6+); the masked config stays.
        spec.secrets = None
        for role in spec.roles:
            role.auth = None
        launch = self._store.known_job(frame)["launch_time"] or now
        self._ledger.show(frame, COMPLETED, code, completion_time=now, launch_time=launch, spec=spec.to_json())
        log.info("job %s is %s", frame, shown_state(COMPLETED, code))
