"""What a rollout decides and asks: layers of a job, the clusters' memory, the four outcomes of a probe."""

from __future__ import annotations

import hashlib
import io
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.golden_jobs import golden_job
from ansible.module_utils.golden_jobs.effective_job import LAYERS, effective_job
from ansible.module_utils.golden_jobs.errors import GoldenJobsError
from ansible.module_utils.golden_jobs.golden_probe import ERROR, HEALTHY, UNDECIDED, UNHEALTHY, Way, check_checks, of_any_image, probe
from PIL import Image

from tests.support import ROOT

R0, R1, R2 = "00000000", "11111111", "22222222"


def item(revision: str, at: int, *tags: str, state: str = "STOPPED", n: int = 1) -> dict[str, Any]:
    name = f"golden-OOB3-{revision}-{n}"
    return {
        "name": name,
        "state": state,
        "executionType": "START",
        "submissionTime": at,
        "tags": ["golden-job:OOB3", *tags],
        "username": "op",
    }


def live(revision: str, at: int, *tags: str, n: int = 1) -> dict[str, Any]:
    return item(revision, at, f"golden-promoted:{at}", "golden-current", *tags, state="RUNNING", n=n)


# ------------------------------------------------------------------------------------------------- memory


def test_a_rollback_goes_to_the_newest_that_was_current_and_is_neither_bad_nor_failed():
    jobs = [
        live(R2, 50),
        item("33333333", 40, "golden-failed:no answer"),
        item("44444444", 30, "golden-promoted:30", "golden-bad:op:31"),
        item("55555555", 25, "golden-promoted:25", "golden-failed:it ended before the old one was stopped"),
        item(R1, 20, "golden-promoted:20"),
        item(R0, 10, "golden-promoted:10"),
    ]
    planned = golden_job.plan_back("OOB3", jobs)
    assert (planned["action"], planned["name"], planned["source"], planned["bad"]) == (
        "submit",
        f"golden-OOB3-{R1}-2",
        f"golden-OOB3-{R1}-1",
        R2,
    )
    named = golden_job.plan_back("OOB3", jobs, R0)
    assert (named["revision"], named["bad"]) == (R0, R2)
    assert golden_job.plan_back("OOB3", jobs, "44444444")["action"] == "refused"
    assert golden_job.plan_back("OOB3", jobs, "44444444", force=True)["action"] == "submit"


def test_the_same_rollback_again_is_no_second_step_back():
    left = item(R1, 20, "golden-promoted:20", f"golden-bad:op:{30}", "golden-current", state="RUNNING")
    back = live(R0, 30, f"golden-back-from:{R1}", n=2)
    halfway = golden_job.plan_back("OOB3", [left, back, item(R0, 10, "golden-promoted:10")])
    assert (halfway["action"], halfway["revision"], halfway["retire"]) == ("resume", R0, [left["name"]])
    done = golden_job.plan_back("OOB3", [back, item(R0, 10, "golden-promoted:10"), item("99999999", 5, "golden-promoted:5")])
    assert done["action"] == "none"


def test_a_bad_revision_is_refused_unless_it_is_forced():
    jobs = [live(R0, 30), item(R1, 20, "golden-promoted:20", "golden-bad:op:25")]
    assert golden_job.plan("OOB3", jobs, R1)["action"] == "refused"
    assert golden_job.plan("OOB3", jobs, R1, force=True)["action"] == "submit"


@pytest.mark.parametrize("scope", ["OOB3", "*"])
def test_a_hold_is_read_back_whole_and_stops_what_would_change(scope: str):
    tag = golden_job.hold_tag(scope, "alice@pc:1", 1000.7, "exam, 100 %: until Friday")
    jobs = [live(R0, 30), item(R0, 10, tag, n=7)]
    hold = golden_job.hold_of("OOB3", jobs)
    assert hold is not None
    assert (hold["scope"], hold["by"], hold["at_s"], hold["reason"]) == (scope, "alice@pc:1", 1000, "exam, 100 %: until Friday")
    assert "," not in tag
    assert golden_job.plan("OOB3", jobs, R1)["action"] == "held"
    assert golden_job.plan("OOB3", jobs, R0)["action"] == "none"
    assert golden_job.hold_of("OOB31", jobs) == (hold if scope == "*" else None)


def test_an_image_that_was_moved_in_the_registry_replaces_the_job_that_was_made_from_the_old_one():
    jobs = [live(R0, 30, "golden-digest:sha256:aa")]
    assert golden_job.plan("OOB3", jobs, R0, digest="sha256:aa")["action"] == "none"
    moved = golden_job.plan("OOB3", jobs, R0, digest="sha256:bb")
    assert (moved["action"], moved["name"], moved["retire"]) == ("submit", f"golden-OOB3-{R0}-2", [f"golden-OOB3-{R0}-1"])
    assert "the registry has another image under its tag now" in moved["reason"]


def test_of_two_runs_the_later_one_goes_on_and_is_not_stopped_by_the_other():
    ours, theirs = item(R1, 20, state="RUNNING"), item(R2, 21, "golden-by:bob", state="WAITING")
    jobs = [live(R0, 10), ours, theirs]
    assert golden_job.newer_rival("OOB3", jobs, ours["name"]) is theirs
    assert golden_job.newer_rival("OOB3", jobs, theirs["name"]) is None
    assert golden_job.to_retire("OOB3", jobs, ours["name"]) == [f"golden-OOB3-{R0}-1"]
    assert golden_job.to_retire("OOB3", jobs, theirs["name"]) == [ours["name"], f"golden-OOB3-{R0}-1"]


def test_a_later_run_that_was_given_up_is_no_rival_and_is_cleared_away():
    ours, theirs = item(R1, 20, state="RUNNING"), item(R2, 21, "golden-failed:no answer", state="RUNNING")
    jobs = [live(R0, 10), ours, theirs]
    assert golden_job.newer_rival("OOB3", jobs, ours["name"]) is None
    assert golden_job.to_retire("OOB3", jobs, ours["name"]) == [theirs["name"], f"golden-OOB3-{R0}-1"]


def test_a_long_reason_fits_into_a_tag():
    tag = golden_job.failed_tag("é, " * 400)
    assert len(tag) <= golden_job.TAG_LIMIT
    assert golden_job.decode(tag.partition(":")[2]).startswith("é, é, ")


# ------------------------------------------------------------------------------------------------- layers

TEMPLATE = {
    "protocolVersion": 2,
    "name": "x",
    "type": "job",
    "prerequisites": [{"type": "dockerimage", "name": "image", "uri": "a"}],
    "taskRoles": {
        "web": {"dockerImage": "image", "resourcePerInstance": {"cpu": 1, "memoryMB": 64, "gpu": 0}, "commands": ["x"]},
    },
}
COURSE = {
    "name": "OOB3",
    "image": "r:5/a/b:v1-00",
    "overrides": {"taskRoles": {"web": {"resourcePerInstance": {"cpu": 2, "memoryMB": 128, "gpu": 1}}}},
    "registry": {"address": "r:5", "username": "u", "password": "p"},
}


def figures(**cluster: Any) -> dict[str, Any]:
    found: dict[str, Any] = effective_job(TEMPLATE, COURSE, cluster)["job"]["taskRoles"]["web"]["resourcePerInstance"]
    return found


def test_each_layer_wins_over_the_one_before():
    assert figures() == {"cpu": 2, "memoryMB": 128, "gpu": 1}
    layers = {
        "resources": {"memoryMB": 256, "gpu": 2},
        "overrides": {"taskRoles": {"web": {"resourcePerInstance": {"gpu": 3, "cpu": 3}}}},
        "course_overrides": {"OOB3": {"taskRoles": {"web": {"resourcePerInstance": {"cpu": 4}}}}, "OOB1": {"type": "no"}},
    }
    assert figures(**layers) == {"cpu": 4, "memoryMB": 256, "gpu": 3}


@pytest.mark.parametrize("readme", ["README.md", "README.zh-CN.md"])
def test_the_readme_names_the_layers_in_their_order(readme: str):
    text = " ".join((ROOT / readme).read_text().split())
    at = text.index("template（" if "zh" in readme else "template (")
    for layer in LAYERS:
        at = text.index(layer, at) + len(layer)


def test_pin_mirror_sku_and_secrets_reach_the_job_and_make_another_revision():
    plain = effective_job(TEMPLATE, COURSE, {})
    made = effective_job(
        TEMPLATE,
        COURSE,
        {
            "pins": {"OOB3": "v1-0f"},
            "registry_mirrors": {"r:5": {"address": "m:6", "username": "mu", "password": "mp"}},
            "sku": "K80",
            "secrets": {"own": "s"},
            "virtual_cluster": "gpu",
        },
    )
    image = made["job"]["prerequisites"][0]
    assert (made["image"], image["uri"], image["auth"]["registryuri"]) == ("m:6/a/b:v1-0f", "m:6/a/b:v1-0f", "m:6")
    assert made["job"]["secrets"] == {"registry_password": "mp", "own": "s"}
    assert made["job"]["extras"]["hivedScheduler"]["taskRoles"] == {"web": {"skuType": "K80"}}
    assert made["job"]["defaults"]["virtualCluster"] == "gpu"
    assert made["revision"] != plain["revision"]
    with pytest.raises(GoldenJobsError, match="mirror of the registry r:5 has no address"):
        effective_job(TEMPLATE, COURSE, {"registry_mirrors": {"r:5": "m:6"}})


# ------------------------------------------------------------------------------------------------- probes


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, body = self.server.answers.get(self.path, (404, b""))  # type: ignore[attr-defined]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture(scope="module")
def served() -> Iterator[Any]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    server.answers = {"/api": (200, b'{"version": "1"}'), "/busy": (503, b""), "/broken": (500, b"")}  # type: ignore[attr-defined]
    server.answers[f"/a/127.0.0.1:{server.server_port}/api"] = (200, b"through pylon")  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def running(port: int, state: str = "RUNNING") -> dict[str, Any]:
    task = {"taskIndex": 0, "taskState": "RUNNING", "containerIp": "127.0.0.1", "containerPorts": {"http": str(port)}}
    return {"name": "x", "jobStatus": {"state": state}, "taskRoles": {"web": {"taskStatuses": [task]}}}


@pytest.mark.parametrize(
    ("check", "outcome", "words"),
    [
        ({"path": "/api", "contains": "version"}, HEALTHY, "1 checks passed"),
        ({"path": "/api", "sha256": hashlib.sha256(b'{"version": "1"}').hexdigest()}, HEALTHY, ""),
        ({"path": "/api", "sha256": "0" * 64}, UNHEALTHY, "serves other bytes than sha256 000000000000"),
        ({"path": "/api", "contains": "no such"}, UNHEALTHY, "answers without 'no such'"),
        ({"path": "/broken"}, UNHEALTHY, "HTTP 500 instead of 200"),
        ({"path": "/broken", "status": 500}, HEALTHY, ""),
        ({"path": "/busy"}, UNDECIDED, "HTTP 503"),
        ({"path": "/api", "port": "ssh"}, UNDECIDED, "no running task has an address for the port ssh"),
        ({"path": "/api", "url": "http://127.0.0.1:1"}, ERROR, "Connection refused"),
        ({"kernel": True, "url": "http://127.0.0.1:1"}, ERROR, "no answer from"),
    ],
)
def test_a_probe_has_four_outcomes(served: Any, check: dict[str, Any], outcome: str, words: str):
    found = probe([check], lambda: running(served.server_port), Way(), timeout_s=0)
    assert found.outcome == outcome
    assert words in found.reason


def test_a_job_that_has_ended_is_unhealthy_at_once_and_not_at_the_deadline():
    ended = {"name": "x", "jobStatus": {"state": "FAILED", "appExitCode": 3}, "taskRoles": {}}
    looks = iter([running(1), ended])
    found = probe([{"path": "/api"}], lambda: next(looks), Way(), timeout_s=1000)
    assert found.outcome == UNHEALTHY
    assert "ended as FAILED with exit code 3" in found.reason


def test_a_job_that_the_cluster_does_not_show_is_undecided():
    assert probe([], lambda: None, Way(), timeout_s=0).outcome == UNDECIDED


def test_a_task_is_reached_through_pylons_proxy(served: Any):
    way = Way("pylon", f"http://127.0.0.1:{served.server_port}")
    assert probe([{"path": "/api", "contains": "through pylon"}], lambda: running(served.server_port), way, timeout_s=0).outcome == HEALTHY


@pytest.mark.parametrize(
    ("check", "way", "words"),
    [
        ({"path": "/", "sha265": "x"}, Way(), "has 'sha265'; allowed: "),
        ({"port": "http"}, Way(), "either a path or a kernel"),
        ({"kernel": True}, Way("pylon"), "pylon's proxy passes none"),
        ({"path": "/", "file": "no/such.png"}, Way(), "no/such.png of a probe cannot be read"),
        ({"path": "/", "branding": "logo"}, Way(), "asks for the branding 'logo'; allowed is what branding or course_branding declares"),
        ({"path": "/", "branding": "product_name"}, Way(), "of logo, favicon, favicon_busy, favicon_terminal"),
    ],
)
def test_a_probe_that_cannot_be_asked_is_refused_before_anything_is_touched(check: dict[str, Any], way: Way, words: str):
    with pytest.raises(GoldenJobsError, match=words):
        check_checks([check], way)


def test_the_logo_that_is_asked_for_is_the_declared_one_with_nothing_rendered_before(served: Any, tmp_path: Path):
    ours = (ROOT / "branding" / "logo.png").read_bytes()
    served.answers |= {"/ours.png": (200, ours), "/stock.png": (200, ours[:-1])}
    Image.open(io.BytesIO(ours)).convert("RGB").save(tmp_path / "logo.jpg")

    def asked(path: str, logo: str, root: Path) -> Any:
        checks = check_checks([{"path": path, "branding": "logo"}], Way(), str(root), {"logo": logo})
        return probe(checks, lambda: running(served.server_port), Way(), timeout_s=0)

    assert asked("/ours.png", "branding/logo.png", ROOT).outcome == HEALTHY
    found = asked("/stock.png", "branding/logo.png", ROOT)
    assert (found.outcome, found.reason.partition(" serves ")[2]) == (UNHEALTHY, "other bytes than our logo branding/logo.png")
    # A picture in another format is served as the PNG that the image gets.
    assert asked("/ours.png", "logo.jpg", tmp_path).outcome == UNHEALTHY


def test_an_earlier_image_is_not_asked_for_the_logo_of_today():
    api, logo = {"path": "/api"}, {"path": "/logo.png", "branding": "logo"}
    assert of_any_image([api, logo]) == [api]


@pytest.mark.parametrize("readme", ["README.md", "README.zh-CN.md"])
def test_the_readme_gives_the_settings_of_a_rollout_their_real_defaults(readme: str):
    files = ("roles/golden_job/defaults/main.yml", "inventory/group_vars/pai_clusters.yml")
    real = {name: value for path in files for name, value in yaml.safe_load((ROOT / path).read_text()).items()}
    rows = re.findall(r"^\| (`(?:rollout|golden_job)_[^|]+) \| ([^|]+) \|", (ROOT / readme).read_text(), re.MULTILINE)
    assert len(rows) == 9
    for names, values in rows:
        for name, text in zip(re.findall(r"`(\w+)`", names), re.findall(r"`([^`]+)`", values) or [""], strict=False):
            assert name in real or name.startswith("course_"), name
            if name in real and name != "golden_job_probes":
                assert real[name] == (yaml.safe_load(text) if text else ""), name
