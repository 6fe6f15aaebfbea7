"""pai_job and pai_job_info as Ansible runs them, against a cluster that lives in this process."""

from __future__ import annotations

import importlib.util
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import yaml
from ansible.module_utils.golden_jobs import pai_jobs
from ansible.module_utils.testing import patch_module_args

PROJECT = Path(__file__).resolve().parents[2]
JOB = {
    "protocolVersion": 2,
    "name": "anything",
    "type": "job",
    "prerequisites": [
        {
            "type": "dockerimage",
            "name": "image",
            "uri": "reg:5000/a:v1",
            "auth": {"username": "u", "password": "<% $secrets.p %>", "registryuri": "reg:5000"},
        }
    ],
    "taskRoles": {
        "web": {"instances": 1, "dockerImage": "image", "resourcePerInstance": {"cpu": 1, "memoryMB": 64, "gpu": 0}, "commands": ["serve"]}
    },
}


class Cluster:
    """OpenPAI with one user, in memory: `script` gives the states that a job goes through, one per look at it."""

    def __init__(self):
        self.jobs = {}
        self.script = ["WAITING", "RUNNING"]
        self.exit_code = 0
        self.calls = []
        self.broken = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def handle_one(self):
                url = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                outer.calls.append(f"{self.command} {url.path}")
                if outer.broken and "/jobs/" in url.path:
                    status, content = outer.broken.pop(0), {"message": "broken"}
                else:
                    status, content = outer.answer(self.command, unquote(url.path), parse_qs(url.query), body)
                data = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_DELETE = handle_one

            def log_message(self, *_args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.http.server_address[1]}"

    def answer(self, method, path, query, body):
        path = path.removeprefix("/api/v2")
        fixed = {
            "/info": {"name": "PAI RESTful API", "version": "v1.8.1", "authnMethod": "basic"},
            "/authn/basic/login": {"token": "t"},
            "/tokens/check": {"username": "op"},
            "/users/op": {"username": "op", "admin": False, "virtualCluster": ["default"]},
        }
        if path in fixed:
            return 200, fixed[path]
        if path == "/jobs" and method == "POST":
            config = yaml.safe_load(body)
            self.jobs[config["name"]] = {"config": config, "text": body, "tags": [], "states": list(self.script), "execution": "START"}
            return 202, {"status": 202}
        if path == "/jobs":
            keyword = query.get("keyword", [""])[0]
            items = [self.item(name) for name in self.jobs if keyword in name]
            return 200, {"totalCount": len(items), "data": items}
        name, _, rest = path.removeprefix("/jobs/op~").partition("/")
        job = self.jobs.get(name)
        if job is None:
            return 404, {"code": "NoJobError", "message": f"Job {name} is not found."}
        return self.job_answer(method, name, job, rest, body)

    def job_answer(self, method, name, job, rest, body):
        if rest == "config":
            return 200, {**job["config"], "secrets": "******"} if "secrets" in job["config"] else job["config"]
        if rest == "executionType":
            job["execution"], job["states"] = "STOP", ["RUNNING", "STOPPED"]
            return 202, {"status": 202}
        if rest == "tag":
            change = job["tags"].append if method == "PUT" else job["tags"].remove
            change(json.loads(body)["value"])
            return 200, {"status": 200}
        if rest == "events":
            return 200, {"totalCount": 1, "data": [{"reason": "FailedScheduling", "message": "no node has 1 cpu", "type": "Warning"}]}
        if rest.endswith("logs"):
            return 404, {"code": "NoTaskLogError", "message": "x"}
        if len(job["states"]) > 1:
            job["states"].pop(0)
        return 200, self.detail(name)

    def item(self, name):
        job = self.jobs[name]
        return {"name": name, "username": "op", "state": job["states"][0], "executionType": job["execution"], "tags": job["tags"]}

    def detail(self, name):
        state = self.jobs[name]["states"][0]
        task = {"taskIndex": 0, "taskState": state, "containerIp": "10.0.0.1", "containerPorts": {"http": "8888,8889", "ssh": "2222"}}
        ended = state in ("FAILED", "SUCCEEDED", "STOPPED")
        return {
            "name": name,
            "tags": list(self.jobs[name]["tags"]),
            "jobStatus": {
                "username": "op",
                "state": state,
                "executionType": self.jobs[name]["execution"],
                "appExitCode": self.exit_code if ended else None,
                "submissionTime": 1,
            },
            "taskRoles": {} if state == "WAITING" else {"web": {"taskStatuses": [task]}},
        }


@pytest.fixture
def cluster():
    running = Cluster()
    yield running
    running.http.shutdown()
    running.http.server_close()


@pytest.fixture
def run(cluster, capsys):
    def call(module, check=False, **options):
        spec = importlib.util.spec_from_file_location(module, PROJECT / "library" / f"{module}.py")
        loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
        options = {"address": cluster.address, "username": "op", "password": "geheim-passwort", **options}
        if module == "pai_job":
            options = {"poll_interval_s": 0.01, "wait_timeout_s": 5, **options}
        cluster.calls.clear()
        with patch_module_args({**options, "_ansible_check_mode": check}), pytest.raises(SystemExit):
            loaded.main()
        output = capsys.readouterr().out
        assert "geheim" not in output
        return json.loads(output)

    return call


def writes(cluster):
    return [call for call in cluster.calls if not call.startswith("GET") and "login" not in call]


def test_a_new_job_is_submitted_tagged_and_awaited(run, cluster, tmp_path):
    result = run("pai_job", name="x-1", job=JOB, secrets={"p": "geheim-1"}, tags=["a"], _progress_file=str(tmp_path / "progress"))
    assert (result["changed"], result["submitted"], result["state"], result["tags"]) == (True, True, "RUNNING", ["a"])
    assert result["tasks"] == [
        {
            "role": "web",
            "index": 0,
            "state": "RUNNING",
            "ip": "10.0.0.1",
            "ports": {"http": [8888, 8889], "ssh": [2222]},
            "urls": {"http": "http://10.0.0.1:8888", "ssh": "http://10.0.0.1:2222"},
            "exit_code": None,
        }
    ]
    assert cluster.jobs["x-1"]["config"]["name"] == "x-1"
    assert cluster.jobs["x-1"]["config"]["secrets"] == {"p": "geheim-1"}
    assert cluster.jobs["x-1"]["text"].splitlines()[-2:] == ["secrets:", "  p: geheim-1"]
    lines = [json.loads(line)["text"] for line in (tmp_path / "progress").read_text().splitlines()]
    assert lines[0] == "x-1: submitted"
    assert lines[-1].startswith("x-1: RUNNING, ")


def test_the_same_job_again_is_unchanged_whatever_its_secrets(run, cluster):
    run("pai_job", name="x-1", job=JOB, secrets={"p": "geheim-1"}, tags=["a"])
    result = run("pai_job", name="x-1", job=JOB, secrets={"p": "geheim-2"}, tags=["a"])
    assert (result["changed"], result["submitted"]) == (False, False)
    assert writes(cluster) == []


def test_the_same_name_with_another_config_is_an_error_that_names_the_difference(run, cluster):
    run("pai_job", name="x-1", job=JOB, secrets={"p": "geheim-1"})
    other = json.loads(json.dumps(JOB))
    other["taskRoles"]["web"]["commands"] = ["serve better"]
    result = run("pai_job", name="x-1", job=other, secrets={"p": "geheim-1"})
    assert result["failed"]
    assert "another config (it differs in taskRoles.web.commands)" in result["msg"]
    assert "serve better" in result["diff"]["after"]
    assert writes(cluster) == []


def test_check_mode_sends_nothing_and_shows_the_job_with_secrets_masked(run, cluster):
    result = run("pai_job", check=True, name="x-1", job=JOB, secrets={"p": "geheim-1"}, tags=["a"])
    assert (result["changed"], result["submitted"], result["diff"]["before"]) == (True, True, "")
    assert "secrets: '******'" in result["diff"]["after"]
    assert writes(cluster) == []


def test_a_bad_job_is_refused_before_the_cluster_is_asked_anything(run, cluster):
    broken = json.loads(json.dumps(JOB))
    del broken["taskRoles"]["web"]["instances"]
    result = run("pai_job", name="x-1", job=broken, secrets={"p": "geheim-1"})
    assert "taskRoles.web: instances is missing" in result["msg"]
    assert cluster.calls == []


def test_a_job_file_is_named_with_its_line(run, tmp_path):
    (tmp_path / "job.yaml").write_text("protocolVersion: 2\nname: x\ntype: jop\ntaskRoles: {}\n")
    result = run("pai_job", name="x-1", job_file=str(tmp_path / "job.yaml"))
    assert "job.yaml, line 4, taskRoles: this must not be empty" in result["msg"] or "line 3, type" in result["msg"]


def test_a_virtual_cluster_that_is_not_granted_stops_before_the_submit(run, cluster):
    result = run("pai_job", name="x-1", job={**JOB, "defaults": {"virtualCluster": "gpu"}}, secrets={"p": "geheim-1"})
    assert "'gpu' does not exist" in result["msg"]
    assert writes(cluster) == []


def test_a_job_that_fails_is_reported_with_code_meaning_and_state(run, cluster):
    cluster.script, cluster.exit_code = ["WAITING", "FAILED"], 254
    result = run("pai_job", name="x-1", job=JOB, secrets={"p": "geheim-1"})
    assert result["msg"] == (
        f"The job 'x-1' on {cluster.address} ended as FAILED with exit code 254 "
        "(the image does not exist, or its registry refuses the login) instead of running."
    )
    assert (result["exit_code"], result["state"], result["log_tail"]) == (254, "FAILED", [])


def test_a_job_that_never_starts_ends_at_the_deadline_with_the_clusters_reason(run, cluster):
    cluster.script = ["WAITING"]
    started = time.monotonic()
    result = run("pai_job", name="x-1", job=JOB, secrets={"p": "geheim-1"}, wait_timeout_s=0.3)
    assert time.monotonic() - started < 5
    assert "is WAITING and not running after 0.3 s (FailedScheduling: no node has 1 cpu)" in result["msg"]


def test_a_wait_outlives_a_restart_of_the_server(run, cluster, monkeypatch):
    monkeypatch.setattr(pai_jobs.PaiClient.__init__, "__kwdefaults__", {**pai_jobs.PaiClient.__init__.__kwdefaults__, "retries": 0})
    cluster.script = ["WAITING"] * 3 + ["RUNNING"]
    cluster.jobs["x-1"] = {"config": JOB, "tags": [], "states": list(cluster.script), "execution": "START"}
    original = cluster.answer

    def answer(*args):
        if len([call for call in cluster.calls if call.endswith("op~x-1")]) == 1:
            cluster.broken[:] = [500, 503]
        return original(*args)

    cluster.answer = answer
    assert run("pai_job", name="x-1")["state"] == "RUNNING"
    assert cluster.broken == []


def test_succeeded_waits_for_the_end(run, cluster):
    cluster.script = ["WAITING", "RUNNING", "RUNNING", "SUCCEEDED"]
    assert run("pai_job", name="x-1", state="succeeded", job=JOB, secrets={"p": "geheim-1"})["exit_code"] == 0


def test_stopping_waits_for_the_end_and_a_second_time_changes_nothing(run, cluster):
    run("pai_job", name="x-1", job=JOB, secrets={"p": "geheim-1"}, tags=["a"])
    result = run("pai_job", name="x-1", state="stopped", tags_absent=["a"])
    assert (result["changed"], result["state"]) == (True, "STOPPED")
    assert writes(cluster) == ["DELETE /api/v2/jobs/op~x-1/tag", "PUT /api/v2/jobs/op~x-1/executionType"]
    result = run("pai_job", name="x-1", state="stopped", tags_absent=["a"])
    assert result["changed"] is False
    assert writes(cluster) == []


def test_stopping_in_check_mode_only_tells(run, cluster):
    run("pai_job", name="x-1", job=JOB, secrets={"p": "geheim-1"})
    assert run("pai_job", check=True, name="x-1", state="stopped")["changed"] is True
    assert writes(cluster) == []


def test_a_job_that_does_not_exist_counts_as_stopped_and_cannot_run(run):
    assert run("pai_job", name="none", state="stopped")["changed"] is False
    assert "There is no job 'none'" in run("pai_job", name="none")["msg"]


def test_info_describes_cluster_and_jobs(run, cluster):
    run("pai_job", name="golden-a-1", job=JOB, secrets={"p": "geheim-1"})
    result = run("pai_job_info", keyword="golden-", detail=True, config=True)
    assert result["cluster"] == {
        "address": cluster.address,
        "version": "v1.8.1",
        "authn": "basic",
        "user": "op",
        "admin": False,
        "virtual_clusters": ["default"],
    }
    (job,) = result["jobs"]
    assert (job["name"], job["tasks"][0]["urls"]["http"], job["config"]["secrets"]) == ("golden-a-1", "http://10.0.0.1:8888", "******")


def test_info_by_name_has_the_shape_of_a_listing(run):
    run("pai_job", name="x-1", job=JOB, secrets={"p": "geheim-1"})
    (job,) = run("pai_job_info", name=["x-1", "none"])["jobs"]
    assert (job["name"], job["username"], job["state"], job["executionType"], job["tags"]) == ("x-1", "op", "RUNNING", "START", [])


def test_info_fails_when_the_virtual_cluster_is_not_granted(run):
    assert "'gpu' does not exist" in run("pai_job_info", require_virtual_cluster="gpu")["msg"]


def test_a_login_is_needed(run):
    assert "give a token, or a user name and a password" in run("pai_job_info", password=None)["msg"]
