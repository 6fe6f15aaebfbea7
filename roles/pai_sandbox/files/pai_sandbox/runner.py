"""The cluster behind the API: a thread that moves every open job one step further, again and again."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import yaml

from . import policy
from .engine import Cancelled, Engine, EngineError, PortTaken, Start
from .engine_run import was_restarted
from .environment import Place, task_environment
from .exits import (
    ATTEMPT_COMPLETION,
    COMPLETION_TEXT,
    IMAGE_NOT_EXISTS,
    POD_DELETED,
    POD_REFUSED,
    STOP_TEXT,
    USER_STOP,
    Ending,
    container_ending,
    init_ending,
    start_ending,
)
from .images import pull_login, reference_problem
from .ports import choose_pod_uid, port_numbers
from .protocol import JobSpec, Role
from .settings import HOST, Settings
from .states import COMPLETED, CREATION_PENDING, DELETION_PENDING, PREPARING, RUNNING, shown_state
from .store import Row, Store
from .templates import render_secrets

log = logging.getLogger("pai_sandbox")

_PORT_TRIES = 5
_LONGEST_RETRY_WAIT_S = 30.0
_PORT_CONFLICT = 253
_ENDED = ("exited", "dead")
_DELETED_TEXT = "Pod was deleted by others"
_SCRIPT_HEAD = "#!/bin/bash\nset -euo pipefail\n\n"


def now_ms() -> int:
    """The time in ms with the resolution of Kubernetes: whole seconds."""
    return int(time.time()) * 1000


def _ending_of(task: Row) -> Ending:
    runtime = json.loads(task["runtime"]) if task["runtime"] else None
    return Ending(task["exit_code"], task["diagnostics"], runtime)


class Runner:
    """Runs the jobs of a store. ``engine`` None: tasks run without containers."""

    def __init__(self, settings: Settings, store: Store, engine: Engine | None) -> None:
        self._settings = settings
        self._store = store
        self._engine = engine
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._busy: set[str] = set()
        self._rest_until: dict[str, float] = {}
        self._told: set[tuple[str, int]] = set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._loop, name="runner", daemon=True)

    @property
    def _containers(self) -> Engine:
        """The engine, where there is one."""
        if self._engine is None:
            raise RuntimeError("this sandbox runs without containers")
        return self._engine

    def start(self) -> None:
        """Find the containers of an earlier life and begin."""
        self._thread.start()

    def stop(self) -> None:
        """Stop moving jobs; containers go on running."""
        self._stopped.set()
        self._wake.set()
        self._thread.join(timeout=2)

    def notice(self, frame: str) -> None:
        """A request changed a job: act on it, but not before the request has settled."""
        self._rest(frame, self._settings.settle_s)
        self._wake.set()

    def _rest(self, frame: str, seconds: float) -> None:
        self._rest_until[frame] = time.monotonic() + seconds

    def _loop(self) -> None:
        reconciled = self._engine is None
        while not self._stopped.is_set():
            wait_s = self._settings.poll_s
            try:
                if not reconciled:
                    self._reconcile()
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

    def _reconcile(self) -> None:
        """Remove own containers that no running task knows: leftovers of a server that died in the middle."""
        words = self._look()
        known: dict[str, Row] = {task["container_id"]: task for task in self._store.open_tasks() if task["container_id"]}
        for container_id, word in words.items():
            task = known.get(container_id)
            if task is None or task["sub_state"] not in (RUNNING, DELETION_PENDING):
                log.info("remove leftover container %s (%s)", container_id[:12], word)
                self._containers.remove(container_id)
        running = sum(task["sub_state"] == RUNNING for task in known.values())
        log.info("found %d running task(s) of an earlier start", running)

    def _look(self) -> dict[str, str]:
        """The state word of each own container, after the tasks that a restart of the engine ended are taken in.

        The run is asked for after the words: words of the known run are then of no later one. It is asked for every time,
        as a restart need not be seen: with systemd's socket a request just waits for the new engine.
        """
        words = self._containers.own()
        known = self._store.engine_run()
        found = self._containers.run(known)
        if was_restarted(known, found):
            log.info("the engine was restarted")
            words = self._containers.own()
            self._end_lost(words)
        if found is not None and found != known:
            self._store.set_engine_run(found)
        return words

    def _end_lost(self, words: dict[str, str]) -> None:
        """End the tasks whose containers ended with the engine, and forget those: to a cluster, the pods were lost."""
        for task in self._store.open_tasks():
            container_id = task["container_id"]
            if task["sub_state"] == RUNNING and words.get(container_id) in _ENDED:
                self._end_task(task, Ending(POD_DELETED, _DELETED_TEXT))
                self._containers.remove(container_id)
                del words[container_id]

    def _tick(self) -> float:
        """One step for each open job; how long the loop may sleep."""
        sleep_s = self._settings.poll_s
        words: dict[str, str] | None = None
        for job in self._store.open_jobs():
            frame = job["frame"]
            rest_s = self._rest_until.get(frame, 0.0) - time.monotonic()
            if rest_s > 0:
                sleep_s = min(sleep_s, rest_s)
                continue
            self._rest_until.pop(frame, None)
            with self._lock:
                if frame in self._busy:
                    continue
            if words is None:
                words = self._look() if self._engine else {}
            try:
                self._step(job, words)
            except (EngineError, sqlite3.ProgrammingError):
                raise
            except Exception:  # one job must not keep the others from going on
                log.exception("job %s could not be moved on", frame)
                self._rest(frame, 2.0)
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

    def _step(self, job: Row, words: dict[str, str]) -> None:
        frame = job["frame"]
        if job["creation_time"] is None:
            self._store.update_job(frame, creation_time=now_ms())
        if job["attempt_id"] is None:
            self._new_attempt(frame, 0)
            if self._engine:
                self._wake.set()
                return
        attempt_id = job["attempt_id"] or 0
        attempt = self._store.known_attempt(frame, attempt_id)
        spec = JobSpec.from_json(job["spec"])
        if attempt["sub_state"] == DELETION_PENDING:
            self._delete(job, attempt, spec)
            return
        tasks = self._store.tasks(frame, attempt_id)
        if self._engine:
            self._collect(tasks, words)
            tasks = self._store.tasks(frame, attempt_id)
        if job["execution_type"] == "STOP":
            self._end_attempt(job, attempt, policy.Verdict(Ending(USER_STOP, STOP_TEXT)))
            return
        endings = {task["id"]: _ending_of(task) for task in tasks if task["sub_state"] == COMPLETED}
        found = policy.verdict(spec, tasks, endings)
        if found:
            self._end_attempt(job, attempt, found)
        elif any(task["sub_state"] in (CREATION_PENDING, PREPARING) for task in tasks):
            self._start_tasks(job, attempt_id, spec, tasks)

    def _new_attempt(self, frame: str, attempt_id: int) -> None:
        job = self._store.known_job(frame)
        now = now_ms()
        tasks: list[Row] = [
            {
                "role": role.name,
                "task_index": index,
                "task_uid": str(uuid.uuid4()),
                "port_counts": json.dumps(role.ports),
                "sub_state": CREATION_PENDING,
                "start_time": now,
            }
            for role in JobSpec.from_json(job["spec"]).roles
            for index in range(role.instances)
        ]
        self._store.add_attempt(frame, attempt_id, {"sub_state": CREATION_PENDING, "start_time": now}, tasks)

    def _show(self, frame: str, sub_state: str, exit_code: int | None = None, **fields: Any) -> None:
        state = shown_state(sub_state, exit_code)
        self._store.update_job(frame, sub_state=sub_state, state=state, app_exit_code=exit_code, **fields)

    # Start

    def _gpus_in_use(self, but: str) -> int:
        with self._lock:
            busy = set(self._busy)
        return sum(
            job["total_gpu_number"]
            for job in self._store.open_jobs()
            if job["frame"] != but and (job["sub_state"] in (RUNNING, DELETION_PENDING) or job["frame"] in busy)
        )

    def _prepare(self, frame: str, attempt_id: int, tasks: list[Row]) -> None:
        with self._store.transaction():
            for task in tasks:
                if task["sub_state"] == CREATION_PENDING:
                    self._store.update_task(task["id"], sub_state=PREPARING, pod_uid=str(uuid.uuid4()))
            self._store.update_attempt(frame, attempt_id, sub_state=PREPARING, app_id=f"{attempt_id}_{uuid.uuid4()}")
            self._show(frame, PREPARING)

    def _start_tasks(self, job: Row, attempt_id: int, spec: JobSpec, tasks: list[Row]) -> None:
        frame = job["frame"]
        if any(task["sub_state"] == CREATION_PENDING for task in tasks):
            self._prepare(frame, attempt_id, tasks)
            tasks = self._store.tasks(frame, attempt_id)
        if spec.total_gpus and spec.total_gpus > self._settings.gpus - self._gpus_in_use(frame):
            if (frame, attempt_id) not in self._told:
                self._told.add((frame, attempt_id))
                log.info("job %s waits for %d GPU(s)", frame, spec.total_gpus)
                text = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
                for task in tasks:
                    self._store.add_event(frame, now_ms(), "Warning", "FailedScheduling", text, task)
            return
        if self._engine is None:
            for task in tasks:
                self._run_task(frame, attempt_id, task)
            return
        self._in_background(frame, lambda: self._launch(frame, attempt_id, spec))

    def _run_task(self, frame: str, attempt_id: int, task: Row) -> None:
        now = now_ms()
        with self._store.transaction():
            self._store.update_task(task["id"], sub_state=RUNNING, run_time=now, host_ip=HOST, node_name=self._settings.name)
            attempt = self._store.known_attempt(frame, attempt_id)
            job = self._store.known_job(frame)
            self._store.update_attempt(frame, attempt_id, sub_state=RUNNING, run_time=attempt["run_time"] or now)
            self._show(frame, RUNNING, launch_time=job["launch_time"] or now)
        log.info("job %s attempt %d: task %s[%d] is running", frame, attempt_id, task["role"], task["task_index"])

    def _end_task(self, task: Row, ending: Ending) -> None:
        runtime = json.dumps(ending.runtime) if ending.runtime else None
        self._store.update_task(
            task["id"],
            sub_state=COMPLETED,
            completion_time=now_ms(),
            exit_code=ending.code,
            diagnostics=ending.diagnostics,
            runtime=runtime,
        )
        name = f"{task['frame']} attempt {task['attempt']}: task {task['role']}[{task['task_index']}]"
        log.info("job %s ended with exit code %d", name, ending.code)

    def _is_stopped(self, frame: str) -> bool:
        job = self._store.job(frame)
        return self._stopped.is_set() or job is None or job["execution_type"] == "STOP"

    def _launch(self, frame: str, attempt_id: int, spec: JobSpec) -> None:
        """Pull the images, then start all waiting tasks of an attempt. Runs in its own thread."""
        roles = {role.name: role for role in spec.roles}
        waiting = [task for task in self._store.tasks(frame, attempt_id) if task["sub_state"] == PREPARING]
        endings: dict[str, Ending | None] = {}
        for name in {task["role"] for task in waiting}:
            try:
                endings[name] = self._fetch(frame, spec, roles[name])
            except Cancelled:
                return
        missing = [(task, ending) for task in waiting if (ending := endings[task["role"]])]
        for task, ending in missing:
            self._store.add_event(frame, now_ms(), "Warning", "Failed", ending.diagnostics, task)
            self._end_task(task, ending)
        # Tasks of one attempt start together: with one of them missing the completion policy decides first.
        if missing or self._is_stopped(frame):
            return
        for _ in range(_PORT_TRIES):
            try:
                self._place(frame, attempt_id, spec, waiting)
                return
            except PortTaken as error:
                log.info("job %s: %s; try other ports", frame, error)
        for task in waiting:
            self._end_task(task, init_ending(_PORT_CONFLICT, "a port of the task is in use on this host"))

    def _fetch(self, frame: str, spec: JobSpec, role: Role) -> Ending | None:
        """Get a role's image; the ending of its tasks when the runtime or the kubelet would give up."""
        if role.spelling != role.name:
            # The runtime looks the converted name up in the job file and does not find it (openpai-runtime #47).
            return init_ending(1, f"KeyError: '{role.name}'")
        if role.memory_mb <= 0 or role.cpu < 0:
            return Ending(POD_REFUSED, "Failed to create Pod: resource limits must be positive")
        problem = reference_problem(role.image, role.auth)
        if problem:
            return init_ending(IMAGE_NOT_EXISTS, problem)
        auths = [other.auth for other in spec.roles if other.auth]
        log.info("job %s: pull %s", frame, role.image)
        try:
            self._containers.pull(role.image, pull_login(role.image, auths, bool(spec.secrets)), lambda: self._is_stopped(frame))
        except EngineError as error:
            return init_ending(IMAGE_NOT_EXISTS, f"image {role.image} cannot be pulled: {error}")
        return None

    def _taken_ports(self) -> set[int]:
        return {
            number
            for task in self._store.open_tasks()
            if task["sub_state"] in (RUNNING, DELETION_PENDING)
            for numbers in port_numbers(task["pod_uid"], json.loads(task["port_counts"])).values()
            for number in numbers
        }

    def _place(self, frame: str, attempt_id: int, spec: JobSpec, waiting: list[Row]) -> None:
        """Give each waiting task free ports, create its container and start it.

        Raises ``PortTaken`` with nothing left running when another program was faster on one of the ports.
        """
        roles = {role.name: role for role in spec.roles}
        taken = self._taken_ports()
        for task in waiting:
            counts = roles[task["role"]].ports
            pod_uid = choose_pod_uid(counts, taken)
            taken |= {number for numbers in port_numbers(pod_uid, counts).values() for number in numbers}
            self._store.update_task(task["id"], pod_uid=pod_uid)
        places = {
            task["id"]: Place(roles[task["role"]], task["task_index"], task["pod_uid"]) for task in self._store.tasks(frame, attempt_id)
        }
        created: list[tuple[Row, str]] = []
        try:
            for task in waiting:
                start = self._start_of(frame, attempt_id, spec, list(places.values()), places[task["id"]])
                try:
                    container_id = self._containers.create(start)
                except EngineError as error:
                    self._end_task(task, start_ending(str(error)))
                    continue
                self._store.update_task(task["id"], container_id=container_id)
                created.append((task, container_id))
            self._start_all(created)
        except BaseException:
            for _task, container_id in created:
                self._containers.remove(container_id)
            raise
        for task, _container_id in created:
            current = next(row for row in self._store.tasks(frame, attempt_id) if row["id"] == task["id"])
            if current["sub_state"] != COMPLETED:
                self._run_task(frame, attempt_id, current)

    def _start_all(self, created: list[tuple[Row, str]]) -> None:
        for task, container_id in created:
            try:
                self._containers.start(container_id)
            except PortTaken:
                raise
            except EngineError as error:
                self._end_task(task, start_ending(str(error)))
                self._containers.remove(container_id)

    def _start_of(self, frame: str, attempt_id: int, spec: JobSpec, places: list[Place], own: Place) -> Start:
        numbers = [number for found in port_numbers(own.pod_uid, own.role.ports).values() for number in found]
        return Start(
            frame=frame,
            attempt=attempt_id,
            place=own,
            environment=task_environment(frame, spec, places, own, HOST),
            ports=numbers,
            script=_SCRIPT_HEAD + render_secrets(own.role.script, spec.secrets) + "\n",
            secrets_yaml=yaml.safe_dump(spec.secrets) if spec.secrets else None,
        )

    # End

    def _collect(self, tasks: list[Row], words: dict[str, str]) -> None:
        """Take in the tasks whose containers have ended."""
        for task in tasks:
            container_id = task["container_id"]
            if task["sub_state"] != RUNNING or not container_id:
                continue
            word = words.get(container_id)
            if word is None and not self._containers.exists(container_id):
                self._end_task(task, Ending(POD_DELETED, _DELETED_TEXT))
            elif word in _ENDED:
                left = self._containers.exit_of(container_id)
                if left:
                    self._end_task(task, container_ending(left.code, left.out_of_memory, left.log_tail))
                    self._containers.remove(container_id)

    def _end_attempt(self, job: Row, attempt: Row, found: policy.Verdict) -> None:
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
                    self._store.update_task(
                        task["id"], sub_state=DELETION_PENDING, exit_code=ATTEMPT_COMPLETION, diagnostics=COMPLETION_TEXT
                    )
            self._show(frame, DELETION_PENDING, ending.code)
        log.info("job %s attempt %d is over: exit code %d", frame, attempt_id, ending.code)
        self._wake.set()

    def _delete(self, job: Row, attempt: Row, spec: JobSpec) -> None:
        """Stop what still runs of an attempt that is over, then close the attempt."""
        frame = job["frame"]
        left = [task for task in self._store.tasks(frame, attempt["id"]) if task["sub_state"] != COMPLETED]
        if self._engine and any(task["container_id"] for task in left):
            self._in_background(frame, lambda: self._stop_tasks(left))
            return
        for task in left:
            self._end_task(task, Ending(ATTEMPT_COMPLETION, COMPLETION_TEXT))
        self._close_attempt(job, attempt, spec)

    def _stop_tasks(self, tasks: list[Row]) -> None:
        for task in tasks:
            if task["container_id"]:
                self._containers.stop(task["container_id"], self._settings.stop_timeout_s)
                self._containers.remove(task["container_id"])
            self._end_task(task, Ending(ATTEMPT_COMPLETION, COMPLETION_TEXT))

    def _close_attempt(self, job: Row, attempt: Row, spec: JobSpec) -> None:
        frame, code = job["frame"], attempt["exit_code"]
        now = now_ms()
        kind = policy.retry_kind(code, job["user_retries"], spec.max_retries)
        current = self._store.known_job(frame)
        with self._store.transaction():
            self._store.update_attempt(frame, attempt["id"], sub_state=COMPLETED, completion_time=now)
            if kind and current["execution_type"] != "STOP":
                retries = {f"{kind}_retries": job[f"{kind}_retries"] + 1}
                self._show(frame, CREATION_PENDING, None, **retries)
                self._new_attempt(frame, attempt["id"] + 1)
            else:
                # Secrets go when the job is over (1.6+); the masked config stays.
                spec.secrets = None
                for role in spec.roles:
                    role.auth = None
                launch = current["launch_time"] or now
                self._show(frame, COMPLETED, code, completion_time=now, launch_time=launch, spec=spec.to_json())
        if kind and current["execution_type"] != "STOP":
            wait_s = min(2.0 ** min(job[f"{kind}_retries"], 8), _LONGEST_RETRY_WAIT_S)
            self._rest(frame, wait_s)
            log.info("job %s is tried again in %.0f s", frame, wait_s)
        else:
            log.info("job %s is %s", frame, shown_state(COMPLETED, code))
