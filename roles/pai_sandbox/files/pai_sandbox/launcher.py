"""Tasks as containers: get the images, give each task its ports, start, take in what ended, stop."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

import yaml

from .engine import Cancelled, Engine, EngineError, PortTaken, Start
from .engine_run import was_restarted
from .environment import Place, task_environment
from .exits import (
    ATTEMPT_COMPLETION,
    COMPLETION_TEXT,
    IMAGE_NOT_EXISTS,
    POD_DELETED,
    POD_REFUSED,
    Ending,
    container_ending,
    init_ending,
    start_ending,
)
from .images import pull_login, reference_problem
from .ledger import Ledger, now_ms
from .logs import TaskLogs
from .ports import choose_pod_uid, port_numbers
from .protocol import JobSpec, Role
from .settings import HOST
from .states import COMPLETED, DELETION_PENDING, PREPARING, RUNNING
from .store import Row, Store
from .templates import render_secrets

log = logging.getLogger("pai_sandbox")

_PORT_TRIES = 5
_PORT_CONFLICT = 253
_ENDED = ("exited", "dead")
_DELETED = Ending(POD_DELETED, "Pod was deleted by others")
_COMPLETION = Ending(ATTEMPT_COMPLETION, COMPLETION_TEXT)
_SCRIPT_HEAD = "#!/bin/bash\nset -euo pipefail\n\n"


class Launcher:
    """Runs tasks as containers of one engine."""

    def __init__(self, store: Store, ledger: Ledger, engine: Engine, logs: TaskLogs, stop_timeout_s: int) -> None:
        self._store = store
        self._ledger = ledger
        self._engine = engine
        self._logs = logs
        self._stop_timeout_s = stop_timeout_s

    # What is there

    def reconcile(self) -> None:
        """Remove own containers that no running task knows: leftovers of a server that died in the middle."""
        words = self.look()
        known: dict[str, Row] = {task["container_id"]: task for task in self._store.open_tasks() if task["container_id"]}
        for container_id, word in words.items():
            task = known.get(container_id)
            if task is None or task["sub_state"] not in (RUNNING, DELETION_PENDING):
                log.info("remove leftover container %s (%s)", container_id[:12], word)
                self._engine.remove(container_id)
        running = sum(task["sub_state"] == RUNNING for task in known.values())
        log.info("found %d running task(s) of an earlier start", running)

    def look(self) -> dict[str, str]:
        """The state word of each own container, after the tasks that a restart of the engine ended are taken in.

        The run is asked for after the words: words of the known run are then of no later one. It is asked for every time,
        as a restart need not be seen: with systemd's socket a request just waits for the new engine.
        """
        words = self._engine.own()
        known = self._store.engine_run()
        found = self._engine.run(known)
        if was_restarted(known, found):
            log.info("the engine was restarted")
            words = self._engine.own()
            self._end_lost(words)
        if found is not None and found != known:
            self._store.set_engine_run(found)
        return words

    def _end_lost(self, words: dict[str, str]) -> None:
        """End the tasks whose containers ended with the engine, and forget those: to a cluster, the pods were lost."""
        for task in self._store.open_tasks():
            container_id = task["container_id"]
            if task["sub_state"] == RUNNING and words.get(container_id) in _ENDED:
                self._keep_log(task)
                self._ledger.end_task(task, _DELETED)
                self._engine.remove(container_id)
                del words[container_id]

    def collect(self, tasks: list[Row], words: dict[str, str]) -> None:
        """Take in the tasks whose containers have ended."""
        for task in tasks:
            container_id = task["container_id"]
            if task["sub_state"] != RUNNING or not container_id:
                continue
            word = words.get(container_id)
            if word is None and not self._engine.exists(container_id):
                self._ledger.end_task(task, _DELETED)
            elif word in _ENDED:
                left = self._engine.exit_of(container_id)
                if left:
                    self._keep_log(task)
                    self._ledger.end_task(task, container_ending(left.code, left.out_of_memory, left.log_tail))
                    self._engine.remove(container_id)

    def _keep_log(self, task: Row) -> None:
        self._logs.keep(task, lambda stdout, stderr: self._engine.output(task["container_id"], stdout, stderr))

    # Start

    def launch(self, frame: str, attempt_id: int, spec: JobSpec, stopped: Callable[[], bool]) -> None:
        """Pull the images, then start all tasks of an attempt that have a place. Takes as long as the pulls do."""
        roles = {role.name: role for role in spec.roles}
        waiting = [task for task in self._store.tasks(frame, attempt_id) if task["sub_state"] == PREPARING and task["node_name"]]
        endings: dict[str, Ending | None] = {}
        for name in {task["role"] for task in waiting}:
            try:
                endings[name] = self._fetch(frame, spec, roles[name], stopped)
            except Cancelled:
                return
        missing = [(task, ending) for task in waiting if (ending := endings[task["role"]])]
        for task, ending in missing:
            self._store.add_event(frame, now_ms(), "Warning", "Failed", ending.diagnostics, task)
            self._ledger.end_task(task, ending)
        # Tasks of one attempt start together: with one of them missing the completion policy decides first.
        if missing or stopped():
            return
        for turn in range(_PORT_TRIES):
            try:
                self._place(frame, attempt_id, spec, waiting, new_ports=turn > 0)
                return
            except PortTaken as error:
                log.info("job %s: %s; try other ports", frame, error)
        for task in waiting:
            self._ledger.end_task(task, init_ending(_PORT_CONFLICT, "a port of the task is in use on this host"))

    def _fetch(self, frame: str, spec: JobSpec, role: Role, stopped: Callable[[], bool]) -> Ending | None:
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
        self._store.add_event(frame, now_ms(), "Normal", "Pulling", f'Pulling image "{role.image}"')
        try:
            self._engine.pull(role.image, pull_login(role.image, auths, bool(spec.secrets)), stopped)
        except EngineError as error:
            return init_ending(IMAGE_NOT_EXISTS, f"image {role.image} cannot be pulled: {error}")
        self._store.add_event(frame, now_ms(), "Normal", "Pulled", f'Successfully pulled image "{role.image}"')
        return None

    def free_pod_uid(self, counts: dict[str, int]) -> str:
        """A pod uid whose ports nobody has."""
        return choose_pod_uid(counts, self._taken_ports())

    def _taken_ports(self) -> set[int]:
        return {
            number
            for task in self._store.open_tasks()
            if task["sub_state"] in (PREPARING, RUNNING, DELETION_PENDING) and task["pod_uid"]
            for numbers in port_numbers(task["pod_uid"], json.loads(task["port_counts"])).values()
            for number in numbers
        }

    def _place(self, frame: str, attempt_id: int, spec: JobSpec, waiting: list[Row], new_ports: bool) -> None:
        """Create and start a container for each waiting task, with ports that are free.

        Raises ``PortTaken`` with nothing left running when another program was faster on one of the ports.
        """
        roles = {role.name: role for role in spec.roles}
        if new_ports:
            for task in waiting:
                self._store.update_task(task["id"], pod_uid=self.free_pod_uid(roles[task["role"]].ports))
        tasks = {task["id"]: task for task in self._store.tasks(frame, attempt_id)}
        places = {key: Place(roles[task["role"]], task["task_index"], task["pod_uid"]) for key, task in tasks.items() if task["pod_uid"]}
        created: list[tuple[Row, str]] = []
        try:
            for task in waiting:
                start = self._start_of(frame, attempt_id, spec, list(places.values()), places[task["id"]])
                try:
                    container_id = self._engine.create(start)
                except EngineError as error:
                    self._ledger.end_task(task, start_ending(str(error)))
                    continue
                self._store.update_task(task["id"], container_id=container_id)
                created.append((task, container_id))
            self._start_all(created)
        except BaseException:
            for _task, container_id in created:
                self._engine.remove(container_id)
            raise
        for task, _container_id in created:
            current = next(row for row in self._store.tasks(frame, attempt_id) if row["id"] == task["id"])
            if current["sub_state"] != COMPLETED:
                self._ledger.run_task(frame, attempt_id, current)

    def _start_all(self, created: list[tuple[Row, str]]) -> None:
        for task, container_id in created:
            try:
                self._engine.start(container_id)
            except PortTaken:
                raise
            except EngineError as error:
                self._ledger.end_task(task, start_ending(str(error)))
                self._engine.remove(container_id)
            else:
                self._store.add_event(task["frame"], now_ms(), "Normal", "Started", "Started container app", task)

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

    def stop(self, tasks: list[Row]) -> None:
        """End what still runs of an attempt that is over. Takes as long as the programs take to end."""
        for task in tasks:
            if task["container_id"]:
                self._engine.stop(task["container_id"], self._stop_timeout_s)
                self._keep_log(task)
                self._engine.remove(task["container_id"])
            self._ledger.end_task(task, _COMPLETION)
