"""The memory of a sandbox: one SQLite file. Rows are never deleted, so a job name is never freed."""

# ruff: noqa: S608 - only names of columns and placeholders are put into statements, and both are ours.

from __future__ import annotations

import json
import os
import re
import secrets
import sqlite3
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path
from typing import Any

from .protocol import JobSpec, Role

Row = dict[str, Any]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS users (
  username TEXT PRIMARY KEY, password_hash TEXT NOT NULL, admin INTEGER NOT NULL, virtual_clusters TEXT NOT NULL,
  email TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS extensions (username TEXT PRIMARY KEY, extension TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS tokens (id INTEGER PRIMARY KEY, username TEXT NOT NULL, token TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS jobs (
  id INTEGER PRIMARY KEY, frame TEXT NOT NULL UNIQUE, debug_id TEXT NOT NULL, user_name TEXT NOT NULL, job_name TEXT NOT NULL,
  virtual_cluster TEXT NOT NULL, config TEXT NOT NULL, spec TEXT NOT NULL, execution_type TEXT NOT NULL DEFAULT 'START',
  state TEXT NOT NULL DEFAULT 'WAITING', sub_state TEXT NOT NULL DEFAULT 'AttemptCreationPending',
  submission_time INTEGER NOT NULL, creation_time INTEGER, launch_time INTEGER, completion_time INTEGER,
  attempt_id INTEGER, app_exit_code INTEGER, user_retries INTEGER NOT NULL DEFAULT 0,
  platform_retries INTEGER NOT NULL DEFAULT 0, total_gpu_number INTEGER NOT NULL, total_task_number INTEGER NOT NULL,
  total_task_role_number INTEGER NOT NULL, job_priority TEXT);
CREATE INDEX IF NOT EXISTS jobs_open ON jobs (sub_state);
CREATE INDEX IF NOT EXISTS jobs_submitted ON jobs (submission_time, id);
CREATE INDEX IF NOT EXISTS jobs_words ON jobs (user_name, job_name, virtual_cluster, state, submission_time);
CREATE TABLE IF NOT EXISTS attempts (
  frame TEXT NOT NULL, id INTEGER NOT NULL, app_id TEXT, sub_state TEXT NOT NULL, start_time INTEGER NOT NULL,
  run_time INTEGER, completion_time INTEGER, exit_code INTEGER, diagnostics TEXT, runtime TEXT, trigger_message TEXT,
  trigger_role TEXT, trigger_index INTEGER, exit_type TEXT, PRIMARY KEY (frame, id));
CREATE TABLE IF NOT EXISTS tasks (
  id INTEGER PRIMARY KEY, frame TEXT NOT NULL, attempt INTEGER NOT NULL, role TEXT NOT NULL, task_index INTEGER NOT NULL,
  task_uid TEXT NOT NULL, pod_uid TEXT, host_ip TEXT, node_name TEXT, port_counts TEXT NOT NULL, container_id TEXT,
  sub_state TEXT NOT NULL, start_time INTEGER NOT NULL, run_time INTEGER, completion_time INTEGER, exit_code INTEGER,
  diagnostics TEXT, runtime TEXT, UNIQUE (frame, attempt, role, task_index));
CREATE INDEX IF NOT EXISTS tasks_open ON tasks (sub_state);
CREATE TABLE IF NOT EXISTS tags (
  id INTEGER PRIMARY KEY, frame TEXT NOT NULL, name TEXT NOT NULL, UNIQUE (frame, name));
CREATE TABLE IF NOT EXISTS events (
  uid TEXT PRIMARY KEY, frame TEXT NOT NULL, role TEXT, task_index INTEGER, pod_uid TEXT, type TEXT NOT NULL,
  reason TEXT NOT NULL, message TEXT NOT NULL, first_time INTEGER NOT NULL, last_time INTEGER NOT NULL,
  count INTEGER NOT NULL DEFAULT 1, component TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS events_job ON events (frame);
"""
#: Columns that came later than the first stores.
_LATER_COLUMNS = {
    "tasks": {
        "task_attempt": "INTEGER NOT NULL DEFAULT 0",
        "retries": "INTEGER NOT NULL DEFAULT 0",
        "accountable_retries": "INTEGER NOT NULL DEFAULT 0",
        "attempt_start_time": "INTEGER",
        "attempt_run_time": "INTEGER",
        "history": "TEXT",
    }
}
_LISTED_COLUMNS = (
    "frame, debug_id, user_name, job_name, virtual_cluster, execution_type, state, sub_state, submission_time, creation_time,"
    " launch_time, completion_time, app_exit_code, user_retries, platform_retries, total_gpu_number, total_task_number,"
    " total_task_role_number, job_priority"
)


def internal_name(frame: str) -> str:
    """The name that Kubernetes knows: md5 of ``user~job``, but stripped text for names that begin with "unknown"."""
    if frame.startswith("unknown") or "~" not in frame:
        return re.sub(r"[^a-z0-9]", "", frame.lower())
    return md5(frame.encode(), usedforsecurity=False).hexdigest()


@dataclass
class JobQuery:
    """What a list asks for; None means no filter."""

    usernames: list[str] | None = None
    clusters: list[str] | None = None
    states: list[str] | None = None
    keyword: str | None = None
    tags_any: list[str] | None = None
    tags_none: list[str] | None = None
    priorities: list[str] | None = None
    order: str = "submission_time DESC, id DESC"
    offset: int = 0
    limit: int = 5000


def _where(query: JobQuery) -> tuple[str, list[Any]]:
    clauses: list[str] = []
    values: list[Any] = []

    def among(column: str, allowed: list[str]) -> str:
        values.extend(allowed)
        return f"{column} IN ({', '.join('?' * len(allowed))})"

    for column, allowed in (("user_name", query.usernames), ("virtual_cluster", query.clusters), ("state", query.states)):
        if allowed is not None:
            clauses.append(among(column, allowed))
    either: list[str] = []
    if query.keyword is not None:
        for column in ("user_name", "job_name", "virtual_cluster"):
            either.append(f"{column} LIKE ? ESCAPE '\\'")
            values.append(f"%{query.keyword}%")
    if query.priorities is not None and "default" in query.priorities:
        # The server puts this into the same OR as the keyword.
        either.append("job_priority IS NULL")
        named = [name for name in query.priorities if name != "default"]
        either += [among("job_priority", named)] if named else []
    if either:
        clauses.append(f"({' OR '.join(either)})")
    if query.priorities is not None and "default" not in query.priorities:
        clauses.append(among("job_priority", query.priorities))
    for word, names in (("IN", query.tags_any), ("NOT IN", query.tags_none)):
        if names is not None:
            clauses.append(f"frame {word} (SELECT frame FROM tags WHERE {among('name', names)})")
    return (f"WHERE {' AND '.join(clauses)}" if clauses else ""), values


class Store:
    """All rows. Safe to use from several threads; times are ms since the epoch."""

    def __init__(self, path: Path) -> None:
        old_umask = os.umask(0o077)
        try:
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)
        finally:
            os.umask(old_umask)
        self._db.row_factory = sqlite3.Row
        self._lock = threading.RLock()
        self._depth = 0
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute("PRAGMA case_sensitive_like=ON")
        self._db.executescript(_SCHEMA)
        for table, columns in _LATER_COLUMNS.items():
            known = {row["name"] for row in self._rows(f"PRAGMA table_info({table})")}
            for name, kind in columns.items():
                if name not in known:
                    self._run(f"ALTER TABLE {table} ADD COLUMN {name} {kind}")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All changes inside happen, or none."""
        with self._lock:
            if self._depth == 0:
                self._db.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
            except BaseException:
                self._depth -= 1
                if self._depth == 0:
                    self._db.execute("ROLLBACK")
                raise
            self._depth -= 1
            if self._depth == 0:
                self._db.execute("COMMIT")

    def _rows(self, sql: str, values: list[Any] | tuple[Any, ...] = ()) -> list[Row]:
        with self._lock:
            return [dict(row) for row in self._db.execute(sql, values).fetchall()]

    def _run(self, sql: str, values: list[Any] | tuple[Any, ...] = ()) -> int:
        with self._lock:
            return self._db.execute(sql, values).rowcount

    def _insert(self, table: str, fields: Row) -> None:
        columns = ", ".join(fields)
        self._run(f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(fields))})", list(fields.values()))

    def _update(self, table: str, key: str, key_values: list[Any], fields: Row) -> None:
        columns = ", ".join(f"{name} = ?" for name in fields)
        self._run(f"UPDATE {table} SET {columns} WHERE {key}", [*fields.values(), *key_values])

    # Accounts and tokens

    def secret_key(self) -> str:
        """The key that signs tokens, made at the first start."""
        self._run("INSERT OR IGNORE INTO meta VALUES ('jwt_key', ?)", [secrets.token_hex(32)])
        return str(self._rows("SELECT value FROM meta WHERE key = 'jwt_key'")[0]["value"])

    def user(self, username: str) -> Row | None:
        """The fields of a user made through the API."""
        rows = self._rows("SELECT * FROM users WHERE username = ?", [username])
        if not rows:
            return None
        clusters = json.loads(rows[0]["virtual_clusters"])
        extension = self.extension(username)
        return {**rows[0], "admin": bool(rows[0]["admin"]), "virtual_clusters": clusters, "extension": extension}

    def user_names(self) -> list[str]:
        """Names of the users made through the API."""
        return [row["username"] for row in self._rows("SELECT username FROM users")]

    def add_user(self, fields: Row) -> None:
        """Keep a user."""
        clusters = json.dumps(fields["virtual_clusters"])
        values = [fields["username"], fields["password_hash"], int(fields["admin"]), clusters, fields["email"]]
        self._run("INSERT INTO users VALUES (?, ?, ?, ?, ?)", values)
        self.set_extension(fields["username"], fields["extension"])

    def extension(self, username: str) -> Row:
        """Free data of a user."""
        rows = self._rows("SELECT extension FROM extensions WHERE username = ?", [username])
        return dict(json.loads(rows[0]["extension"])) if rows else {}

    def set_extension(self, username: str, extension: Row) -> None:
        """Replace the free data of a user."""
        self._run("INSERT OR REPLACE INTO extensions VALUES (?, ?)", [username, json.dumps(extension)])

    def tokens(self, username: str) -> list[str]:
        """Stored tokens, oldest first."""
        return [row["token"] for row in self._rows("SELECT token FROM tokens WHERE username = ? ORDER BY id", [username])]

    def all_tokens(self) -> list[tuple[str, str]]:
        """User name and token of every stored token."""
        return [(row["username"], row["token"]) for row in self._rows("SELECT username, token FROM tokens ORDER BY id")]

    def add_token(self, username: str, token: str) -> None:
        """Store a token."""
        self._insert("tokens", {"username": username, "token": token})

    def drop_tokens(self, username: str, tokens: list[str]) -> None:
        """Forget tokens."""
        for token in tokens:
            self._run("DELETE FROM tokens WHERE username = ? AND token = ?", [username, token])

    # The engine

    def engine_run(self) -> str | None:
        """The run of the engine that was found last."""
        rows = self._rows("SELECT value FROM meta WHERE key = 'engine_run'")
        return str(rows[0]["value"]) if rows else None

    def set_engine_run(self, run: str) -> None:
        """Keep the run of the engine."""
        self._run("INSERT OR REPLACE INTO meta VALUES ('engine_run', ?)", [run])

    # Jobs

    def add_job(self, fields: Row) -> bool:
        """Keep a new job; False when its name is used."""
        try:
            self._insert("jobs", {**fields, "debug_id": internal_name(fields["frame"])})
        except sqlite3.IntegrityError:
            return False
        return True

    def job(self, frame: str) -> Row | None:
        """One job by ``user~job``."""
        rows = self._rows("SELECT * FROM jobs WHERE frame = ?", [frame])
        return rows[0] if rows else None

    def known_job(self, frame: str) -> Row:
        """A job that is known to be there; ``LookupError`` when it is not."""
        return self._rows("SELECT * FROM jobs WHERE frame = ?", [frame])[0]

    def update_job(self, frame: str, **fields: Any) -> None:
        """Change columns of a job."""
        self._update("jobs", "frame = ?", [frame], fields)

    def open_frames(self) -> list[str]:
        """Names of the jobs that have not ended, oldest first."""
        return [row["frame"] for row in self._rows("SELECT frame FROM jobs WHERE sub_state != 'Completed' ORDER BY id")]

    def list_jobs(self, query: JobQuery, count: bool = False) -> tuple[list[Row], int | None]:
        """A page of jobs with their tags, and how many match in all when ``count``."""
        where, values = _where(query)
        with self._lock:
            total = int(self._rows(f"SELECT COUNT(*) AS n FROM jobs {where}", values)[0]["n"]) if count else None
            page = [*values, query.limit, query.offset]
            rows = self._rows(f"SELECT {_LISTED_COLUMNS} FROM jobs {where} ORDER BY {query.order} LIMIT ? OFFSET ?", page)
            tags = self._tags_of([row["frame"] for row in rows])
        for row in rows:
            row["tags"] = tags.get(row["frame"], [])
        return rows, total

    def _tags_of(self, frames: list[str]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        wanted = json.dumps(frames)
        sql = "SELECT frame, name FROM tags WHERE frame IN (SELECT value FROM json_each(?)) ORDER BY id"
        for row in self._rows(sql, [wanted]):
            found.setdefault(row["frame"], []).append(row["name"])
        return found

    def add_attempt(self, frame: str, attempt: int, fields: Row, tasks: list[Row]) -> None:
        """Keep a new attempt with its tasks and make it the job's latest."""
        with self.transaction():
            self._insert("attempts", {"frame": frame, "id": attempt, **fields})
            for task in tasks:
                self._insert("tasks", {"frame": frame, "attempt": attempt, **task})
            self.update_job(frame, attempt_id=attempt)

    def attempt(self, frame: str, attempt: int) -> Row | None:
        """One attempt of a job."""
        rows = self._rows("SELECT * FROM attempts WHERE frame = ? AND id = ?", [frame, attempt])
        return rows[0] if rows else None

    def known_attempt(self, frame: str, attempt: int) -> Row:
        """An attempt that is known to be there; ``LookupError`` when it is not."""
        return self._rows("SELECT * FROM attempts WHERE frame = ? AND id = ?", [frame, attempt])[0]

    def update_attempt(self, frame: str, attempt: int, **fields: Any) -> None:
        """Change columns of an attempt."""
        self._update("attempts", "frame = ? AND id = ?", [frame, attempt], fields)

    def tasks(self, frame: str, attempt: int) -> list[Row]:
        """The tasks of an attempt in the order of the job file."""
        return self._rows("SELECT * FROM tasks WHERE frame = ? AND attempt = ? ORDER BY id", [frame, attempt])

    def task_of_pod(self, pod_uid: str) -> Row | None:
        """The task whose latest or an earlier attempt had a pod."""
        rows = self._rows("SELECT * FROM tasks WHERE pod_uid = ? OR instr(history, ?)", [pod_uid, pod_uid])
        return rows[0] if rows else None

    def open_tasks(self) -> list[Row]:
        """Tasks that have not ended, with the figures of their job."""
        return self._rows(
            "SELECT t.*, j.spec, j.virtual_cluster FROM tasks t JOIN jobs j ON j.frame = t.frame AND j.attempt_id = t.attempt"
            " WHERE t.sub_state != 'Completed' AND j.sub_state != 'Completed'"
        )

    def _placed(self) -> list[tuple[Row, Role]]:
        found: list[tuple[Row, Role]] = []
        for task in self.open_tasks():
            if task["node_name"]:
                role = next(role for role in JobSpec.from_json(task["spec"]).roles if role.name == task["role"])
                found.append((task, role))
        return found

    def used_nodes(self) -> list[tuple[str, Role]]:
        """Node and task role of each task that has a place."""
        return [(task["node_name"], role) for task, role in self._placed()]

    def used_by_cluster(self) -> dict[str, list[Role]]:
        """The task roles of all tasks that have a place, by virtual cluster."""
        found: dict[str, list[Role]] = {}
        for task, role in self._placed():
            found.setdefault(task["virtual_cluster"], []).append(role)
        return found

    def update_task(self, task_id: int, **fields: Any) -> None:
        """Change columns of a task."""
        self._update("tasks", "id = ?", [task_id], fields)

    # Tags and events

    def tags(self, frame: str) -> list[str]:
        """Tags of a job, oldest first."""
        return [row["name"] for row in self._rows("SELECT name FROM tags WHERE frame = ? ORDER BY id", [frame])]

    def add_tag(self, frame: str, name: str) -> None:
        """Add a tag; one that is there already stays."""
        self._run("INSERT OR IGNORE INTO tags (frame, name) VALUES (?, ?)", [frame, name])

    def delete_tag(self, frame: str, name: str) -> bool:
        """Delete a tag; False when it was not there."""
        return self._run("DELETE FROM tags WHERE frame = ? AND name = ?", [frame, name]) > 0

    def add_event(self, frame: str, now_ms: int, kind: str, reason: str, message: str, task: Row | None = None) -> None:
        """Keep an event; the same one again only counts up."""
        role, index, pod_uid = (task["role"], task["task_index"], task["pod_uid"]) if task else (None, None, None)
        with self.transaction():
            same = [frame, reason, message, role, index]
            found = self._run(
                "UPDATE events SET count = count + 1, last_time = ? WHERE frame = ? AND reason = ? AND message = ?"
                " AND role IS ? AND task_index IS ?",
                [now_ms, *same],
            )
            if not found:
                fields = {
                    "uid": str(uuid.uuid4()),
                    "frame": frame,
                    "role": role,
                    "task_index": index,
                    "pod_uid": pod_uid,
                    "type": kind,
                    "reason": reason,
                    "message": message,
                    "first_time": now_ms,
                    "last_time": now_ms,
                    "component": "default-scheduler" if reason == "FailedScheduling" else "kubelet",
                }
                self._insert("events", fields)

    def events(self, frame: str, kinds: list[str]) -> list[Row]:
        """Events of a job of some types, or of all, newest first."""
        rows = self._rows("SELECT * FROM events WHERE frame = ? ORDER BY last_time DESC, rowid DESC", [frame])
        return [row for row in rows if not kinds or row["type"] in kinds]
