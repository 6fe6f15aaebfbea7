"""Sends the recorded requests to a sandbox, in order, and makes the states that the recording's missing exchanges made."""

from __future__ import annotations

import base64
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from fastapi.testclient import TestClient
from httpx import Response

from tests.support import ROOT

sys.path.insert(0, str(ROOT / "roles" / "pai_sandbox" / "files"))

from pai_sandbox import jwt
from pai_sandbox.app import create_app
from pai_sandbox.settings import Node, Settings

from tests.transcripts.compare import differences

FOLDER = Path(__file__).parent
ADMIN, ALICE, BOB = "admin", "alice", "bob"
#: What the recorded cluster was: two workers, no log manager, a poller that has not come by yet.
WORKERS = tuple(Node(name, 24, 222575, 4) for name in ("worker-1", "worker-2"))
RULES = {
    "rules": [
        {"job": "ok_job", "run_s": 0},
        {"job": "bad_job", "run_s": 0, "exit_code": 1, "killed": True},
        {"job": "bad_job2", "run_s": 0, "exit_code": 137, "killed": True},
        {"job": "bad_job3", "run_s": 0, "exit_code": 77, "killed": True},
    ]
}


def exchanges() -> list[dict[str, Any]]:
    """The recorded exchanges in order."""
    return [json.loads(line) for line in (FOLDER / "exchanges.jsonl").read_text(encoding="utf-8").splitlines()]


def unmatched() -> dict[int, str]:
    """Numbers of the exchanges that the sandbox does not match, with the reason."""
    content: dict[int, str] = yaml.safe_load((FOLDER / "unmatched.yml").read_text(encoding="utf-8")) or {}
    return content


class Replay:
    """One pass over the recording."""

    def __init__(self, folder: Path) -> None:
        users = [{"username": ADMIN, "password": f"{ADMIN}-password", "admin": True}]
        (folder / "users.json").write_text(json.dumps({"users": users}))
        (folder / "rules.yml").write_text(yaml.safe_dump(RULES))
        settings = Settings(
            name="recorded",
            state_dir=folder / "state",
            users_file=folder / "users.json",
            rules_file=folder / "rules.yml",
            containers=False,
            nodes=WORKERS,
            log_manager=False,
        )
        app = create_app(settings)
        self._server = app.state.server
        # Outside of "with", the client does not start the cluster: jobs are moved on step by step.
        self._client = TestClient(app)
        self._tokens: dict[str, str] = {}
        self._job_file = ""
        self._completed = 0
        self._before = self._preparations()

    def run(self) -> dict[int, list[str]]:
        """The differences of each exchange by its number."""
        found: dict[int, list[str]] = {}
        for exchange in exchanges():
            for prepare in self._before.pop(exchange["number"], []):
                prepare()
            answer = self._send(exchange)
            found[exchange["number"]] = differences(exchange["response"], answer.status_code, dict(answer.headers), answer.text)
            self._learn(exchange, answer)
        self._server.store.close()
        assert not self._before, f"preparations for exchanges that are not there: {list(self._before)}"
        return found

    # Requests

    def _send(self, exchange: dict[str, Any]) -> Response:
        request = exchange["request"]
        headers = {name.lower(): value for name, value in request["headers"].items()}
        if "authorization" in headers:
            headers["authorization"] = self._authorization(exchange, headers["authorization"])
        path = request["path"]
        for name, token in self._tokens.items():
            path = path.replace(name, token)
        body = request["body"]
        content = body if isinstance(body, str) or body is None else json.dumps(body)
        return self._client.request(request["method"], path, headers=headers, content=content)

    def _authorization(self, exchange: dict[str, Any], value: str) -> str:
        if exchange["name"] == "expired-token":
            return f"Bearer {self._expired_token()}"
        if value.startswith("Basic"):
            word = "<app-token>" if "<app-token>" in exchange["note"] else "<token>"
            return "Basic " + base64.b64encode(f"{ADMIN}:{self._tokens[word]}".encode()).decode()
        scheme, _, word = value.partition(" ")
        return f"{scheme} {self._tokens.get(word, word)}"

    def _expired_token(self) -> str:
        past = int(time.time()) - 7200
        payload = {"username": ADMIN, "application": False, "jobSpecific": False, "encodedFrameworkName": ""}
        token = jwt.encode({**payload, "iat": past, "exp": past + 3600}, self._server.store.secret_key())
        self._server.store.add_token(ADMIN, token)
        return token

    def _learn(self, exchange: dict[str, Any], answer: Response) -> None:
        """Take the tokens and the job file that later exchanges need; a new job is taken up by the cluster soon."""
        body = answer.json() if "json" in answer.headers.get("content-type", "") else None
        if isinstance(body, dict) and "token" in body:
            user = str(body.get("user", ADMIN))
            self._tokens["<app-token>" if "application" in body else _word(user)] = body["token"]
        if exchange["name"] == "submit-ok":
            self._job_file = exchange["request"]["body"]
        elif answer.status_code == 202 and exchange["request"]["method"] == "POST":
            self._steps(f"{ALICE}~{yaml.safe_load(exchange['request']['body'])['name']}", 1)

    def _call(self, user: str, method: str, path: str, **options: Any) -> Response:
        headers = {"authorization": f"Bearer {self._tokens[_word(user)]}", **options.pop("headers", {})}
        answer = self._client.request(method, path, headers=headers, **options)
        assert answer.status_code < 300, answer.text
        return answer

    # States

    def _login(self, user: str, word: str | None = None) -> Callable[[], None]:
        def do() -> None:
            answer = self._client.post("/api/v2/tokens", json={"username": user, "password": f"{user}-password"})
            assert answer.status_code == 200, answer.text
            self._tokens[word or _word(user)] = answer.json()["token"]

        return do

    def _make_alice(self) -> None:
        account = {"username": ALICE, "email": "alice@example.com", "password": "alice-password", "virtualCluster": ["default"]}
        self._call(ADMIN, "POST", "/api/v2/users", json=account)

    def _steps(self, frame: str, count: int) -> None:
        for _ in range(count):
            self._server.runner.step(frame)

    def _step(self, frame: str, count: int) -> Callable[[], None]:
        return lambda: self._steps(frame, count)

    def _until(self, frame: str, *states: str) -> None:
        for _ in range(20):
            job = self._server.store.job(frame)
            if job["sub_state"] in states:
                if job["completion_time"]:
                    # One second after the other, as it was recorded; otherwise their order would be left to chance.
                    self._completed += 1
                    self._server.store.update_job(frame, completion_time=job["completion_time"] + self._completed * 1000)
                return
            self._steps(frame, 1)
        raise AssertionError(f"{frame} does not reach {states}")

    def _submit(self, user: str, name: str, *states: str) -> Callable[[], None]:
        """Submit the recording's job file under another name, and move it on to one of the states."""

        def do() -> None:
            text = self._job_file.replace("jupyter_0001", name)
            self._call(user, "POST", "/api/v2/jobs", content=text, headers={"content-type": "text/yaml"})
            self._steps(f"{user}~{name}", 1)
            if states:
                self._until(f"{user}~{name}", *states)

        return do

    def _no_retry(self, frame: str) -> Callable[[], None]:
        """Take the job's wish to stop for a moment, so that its failed attempt is its last."""

        def do() -> None:
            self._server.store.update_job(frame, execution_type="STOP")
            self._until(frame, "Completed")
            self._server.store.update_job(frame, execution_type="START")

        return do

    def _tag(self, frame: str, tag: str) -> Callable[[], None]:
        return lambda: self._server.store.add_tag(frame, tag)

    def _poller_was_there(self, frame: str) -> Callable[[], None]:
        past = int(time.time() - 2 * Settings.cleanup_after_s) * 1000
        return lambda: self._server.store.update_job(frame, completion_time=past)

    def _use_up_lists(self, user: str) -> None:
        while not self._server.list_limit.hit(user).exceeded:
            pass

    def _preparations(self) -> dict[int, list[Callable[[], None]]]:
        """What to do before an exchange, by its number."""
        jupyter, waiting, multi = f"{ALICE}~jupyter_0001", f"{ALICE}~wait_stop", f"{ALICE}~multi_role"
        return {
            24: [self._login(ADMIN)],
            42: [self._make_alice],
            69: [self._step(jupyter, 1)],
            124: [self._login(BOB, "<token-bob-2>")],
            132: [self._login(BOB)],
            135: [self._submit(ALICE, "by_app_token")],
            137: [self._step(jupyter, 1)],
            138: [self._step(jupyter, 2)],
            140: [self._step(jupyter, 1)],
            166: [self._step(jupyter, 1)],
            167: [lambda: self._until(jupyter, "Completed")],
            172: [
                self._submit(ALICE, "ok_job", "Completed"),
                self._submit(ALICE, "bad_job", "Completed"),
                self._submit(ALICE, "bad_job2", "AttemptDeletionPending"),
                self._no_retry(f"{ALICE}~bad_job2"),
                self._submit(ALICE, "bad_job3", "Completed"),
            ],
            176: [self._submit(ALICE, "wait_stop", "AttemptPreparing"), self._step(waiting, 1)],
            178: [lambda: self._until(waiting, "Completed")],
            181: [self._step(multi, 4)],
            182: [self._submit(BOB, "bob_job"), self._submit(BOB, "bob_job2")],
            193: [self._tag(f"{BOB}~bob_job", "exp1")],
            239: [self._poller_was_there(f"{ALICE}~ok_job")],
            243: [lambda: self._use_up_lists(BOB)],
        }


def _word(user: str) -> str:
    return "<token>" if user == ADMIN else f"<token-{user}>"
