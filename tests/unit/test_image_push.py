"""What docker_push decides without an engine: what to push, what an engine's words mean, when to try again, what to show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.golden_jobs import image_push, retry
from ansible.module_utils.golden_jobs.errors import GoldenJobsError
from ansible.module_utils.golden_jobs.image_push import Plan, Shown, decide, repo_digests
from ansible.module_utils.golden_jobs.layers import Layers
from ansible.module_utils.golden_jobs.progress import Progress
from ansible.module_utils.golden_jobs.registry_fault import fault, refusal
from ansible.module_utils.golden_jobs.registry_probe import Answer, Probe, is_insecure, retry_after_s
from ansible.module_utils.golden_jobs.retry import Retry, TryAgain

NAME = "r.example.com/a/b"
LOGIN = {"username": "builder", "password": "s3cret"}


def decided(before: dict[str, str | None], local: dict[str, Any] | None, **params: Any) -> Plan:
    asked: list[str] = []

    def find(reference: str) -> dict[str, Any] | None:
        asked.append(reference)
        return local

    plan = decide({"name": NAME, "immutable_tag": None, "tags": [], "image": None, **params}, before, find)
    plan.expected["asked"] = asked[0] if asked else None
    return plan


def known_as(*digests: str) -> dict[str, Any]:
    return {"Id": "sha256:1", "RepoDigests": [f"{NAME}@{digest}" for digest in digests]}


def test_a_new_image_is_pushed_under_all_tags():
    plan = decided({"i": None, "v1": "old"}, known_as(), immutable_tag="i", tags=["v1"])
    assert (plan.push, plan.source, plan.truth) == (["i", "v1"], "engine", None)
    assert plan.expected == {"i": None, "v1": None, "asked": f"{NAME}:i"}


def test_an_immutable_tag_in_the_registry_decides_for_the_other_tags():
    plan = decided({"i": "new", "v1": "old", "v2": "new", "v3": None}, known_as("other"), immutable_tag="i", tags=["v1", "v2", "v3"])
    assert (plan.push, plan.source, plan.truth) == (["v1", "v3"], "registry", "new")
    assert plan.expected == {"i": "new", "v1": "new", "v2": "new", "v3": "new", "asked": None}


def test_a_tag_that_names_the_local_image_is_not_pushed():
    plan = decided({"v1": "x", "v2": "old"}, known_as("x"), tags=["v1", "v2"])
    assert plan.push == ["v2"]
    assert plan.expected == {"v1": "x", "v2": "x", "asked": f"{NAME}:v1"}


def test_a_digest_that_the_engine_knows_from_another_repository_says_nothing():
    image = {"Id": "sha256:1", "RepoDigests": ["r.example.com/a/bb@x", "other.example.com/a/b@x"]}
    assert decided({"v1": "x"}, image, tags=["v1"]).push == ["v1"]


def test_an_image_with_two_digests_promises_neither():
    assert decided({"v1": None}, known_as("x", "y"), tags=["v1"]).expected["v1"] is None


def test_an_image_that_is_still_to_be_built_is_absent():
    plan = decided({"v1": None}, None, tags=["v1"], image="elsewhere")
    assert (plan.source, plan.push, plan.expected["asked"]) == ("absent", ["v1"], "elsewhere")


@pytest.mark.parametrize("name", ["docker.io/library/alpine", "index.docker.io/library/alpine", "library/alpine", "alpine"])
def test_docker_hub_has_several_names_for_one_repository(name: str):
    assert repo_digests({"RepoDigests": ["alpine@sha256:1"]}, name) == ["sha256:1"]


@pytest.mark.parametrize(
    "words",
    [
        'Get "https://r.example.com/v2/": dial tcp 10.0.0.1:443: connect: connection refused',
        "read tcp 10.0.0.2:5000->10.0.0.1:443: read: connection reset by peer",
        'Put "http://r.example.com/v2/a/b/manifests/v1": EOF',
        "received unexpected HTTP status: 500 Internal Server Error",
        "received unexpected HTTP status: 503 Service Unavailable",
        "net/http: request canceled (Client.Timeout exceeded while awaiting headers)",
        "context deadline exceeded",
        "toomanyrequests: You have reached your pull rate limit. You may increase the limit by authenticating",
        "toomanyrequests: Rate exceeded",
        'error parsing HTTP 429 response body: unexpected end of JSON input: ""',
        "net/http: TLS handshake timeout",
        "dial tcp: lookup r.example.com: no such host",
    ],
)
def test_what_may_pass_is_tried_again(words: str):
    assert isinstance(fault(words, f"{NAME}:v1", LOGIN, "The push failed"), TryAgain)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("unauthorized: authentication required", "refuses user 'builder' or the password"),
        ("unauthorized: incorrect username or password", "refuses user 'builder' or the password"),
        ("denied: requested access to the resource is denied", f"does not let user 'builder' push to {NAME}: grant that right"),
        ("denied: adding 1 GiB of storage resource, which will exceed the configured upper limit of 10 GiB", f"has no room for {NAME}"),
        ("denied: quota exceeded", f"has no room for {NAME}"),
        ("write /var/lib/registry/x: no space left on device", f"has no room for {NAME}"),
        ("received unexpected HTTP status: 507 Insufficient Storage", f"has no room for {NAME}"),
        (
            "error parsing HTTP 413 response body: invalid character '<': <html>413 Request Entity Too Large</html>",
            "as too large (HTTP 413)",
        ),
        ("name unknown: The repository with name 'a/b' does not exist", f"has no repository {NAME}: create it"),
        ('error parsing HTTP 403 response body: unexpected end of JSON input: ""', "does not let user 'builder' push"),
        ("x509: certificate signed by unknown authority", "put its CA in /etc/docker/certs.d/r.example.com/ca.crt"),
        ("http: server gave HTTP response to HTTPS client", "speaks plain HTTP"),
        (
            "unknown: Failed to process request due to immutable tag",
            "The push failed: unknown: Failed to process request due to immutable tag.",
        ),
    ],
)
def test_what_cannot_pass_is_one_sentence_that_says_what_to_do(words: str, sentence: str):
    error = fault(words, f"{NAME}:v1", LOGIN, "The push failed")
    assert not isinstance(error, TryAgain)
    assert sentence in str(error)
    assert "s3cret" not in str(error)


def test_digits_of_a_digest_are_no_status():
    words = "unknown: blob sha256:4014035004295071f4d4e2f3 is not known"
    assert refusal(words, f"{NAME}:v1", LOGIN) is None
    assert not isinstance(fault(words, f"{NAME}:v1", LOGIN, "The push failed"), TryAgain)


@pytest.mark.parametrize("words", ["denied: requested access to the resource is denied", "no basic auth credentials"])
def test_without_a_login_one_is_asked_for(words: str):
    assert "set registry_username and registry_password" in str(fault(words, f"{NAME}:v1", None, "The push failed"))


def test_a_full_disk_is_seen_in_the_number_that_the_registry_gives():
    body = '{"errors":[{"code":"UNKNOWN","detail":{"DriverName":"filesystem","Enclosed":{"Op":"mkdir","Path":"/x","Err":28}}}]}'
    refused = refusal(Answer(500, body, None).words, f"{NAME}:v1", LOGIN)
    assert "has no room" in str(refused)
    assert "no space left on device" in str(refused)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [("7", 7.0), ("Thu, 01 Jan 1970 00:01:40 GMT", 40.0), ("Thu, 01 Jan 1970 00:00:10 GMT", 0.0), ("soon", None), (None, None)],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, wanted: float | None):
    assert retry_after_s(value, now=60.0) == wanted


def test_the_engine_says_which_registries_may_do_without_certificates():
    info = {
        "RegistryConfig": {
            "InsecureRegistryCIDRs": ["127.0.0.0/8", "10.1.0.0/16"],
            "IndexConfigs": {"old.example.com:5000": {"Secure": False}},
        }
    }
    assert [is_insecure(host, info) for host in ("127.0.0.1:5000", "localhost:5000", "10.1.2.3", "old.example.com:5000")] == [True] * 4
    assert [is_insecure(host, info) for host in ("r.example.com", "10.2.2.3:5000", "docker.io")] == [False] * 3


def test_a_loopback_registry_of_an_engine_elsewhere_is_not_asked_here():
    info = {"RegistryConfig": {"InsecureRegistryCIDRs": ["127.0.0.0/8"]}}
    assert Probe("127.0.0.1:1/a", None, info, "http://build-1.example.com:2375").ask() is None
    assert Probe("127.0.0.1:1/a", None, info, "http+docker://ssh").ask() is None


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    class Clock:
        now, slept = 1000.0, 0.0

        def monotonic(self) -> float:
            return self.now

        def time(self) -> float:
            return self.now

        def sleep(self, seconds: float) -> None:
            self.now += seconds
            self.slept += seconds

    clock = Clock()
    monkeypatch.setattr(retry, "time", clock)
    monkeypatch.setattr(image_push, "time", clock)
    return clock


def failing(times: int, after_s: float | None = None) -> Any:
    left = [times]

    def work() -> str:
        left[0] -= 1
        if left[0] >= 0:
            raise TryAgain("It is down.", after_s)
        return "done"

    return work


def test_pauses_grow_to_half_a_minute_and_no_further(clock: Any):
    patient = Retry(8, 1000.0, "push_timeout_s", Progress(None))
    assert patient.run(failing(7)) == "done"
    assert 1 + 2 + 4 + 8 + 16 + 30 + 30 <= clock.slept <= 1.1 * (1 + 2 + 4 + 8 + 16 + 30 + 30)
    assert patient.repeated == 7


def test_attempts_and_total_time_are_limits(clock: Any):
    with pytest.raises(GoldenJobsError, match=r"^It is down; given up after 3 attempts\.$"):
        Retry(3, 1000.0, "push_timeout_s", Progress(None)).run(failing(99))
    started = clock.now
    with pytest.raises(GoldenJobsError, match=r"^It is down; given up after 4 attempts: push_timeout_s allows 10 s in total\.$"):
        Retry(99, 10.0, "push_timeout_s", Progress(None)).run(failing(99))
    assert clock.now - started <= 10


def test_the_other_side_may_ask_for_a_longer_pause(clock: Any):
    assert Retry(5, 1000.0, "push_timeout_s", Progress(None)).run(failing(1, after_s=40.0)) == "done"
    assert 40 <= clock.slept <= 44


def layers_of(*sizes: int, history: list[int] | None = None) -> Layers:
    ids = [f"sha256:{number:064x}"[:19] for number in range(len(sizes))]
    image = {"Size": sum(sizes), "RootFS": {"Layers": [f"sha256:{number:012d}ffff" for number in range(len(ids))]}}
    steps = [{"Size": size} for size in reversed(sizes if history is None else history)]
    return Layers(image, steps)


def event(number: int, status: str, current: int = 0, total: int = 0) -> dict[str, Any]:
    detail = {"current": current, "total": total} if current else {}
    return {"id": f"{number:012d}", "status": status, "progressDetail": detail}


def test_the_total_is_the_image_and_what_the_registry_has_counts_as_done():
    layers = layers_of(500, 100, 20)
    seen = []
    for one in [
        *(event(number, "Preparing") for number in range(3)),
        event(1, "Pushing", 40, 100),
        event(0, "Layer already exists"),
        event(2, "Mounted from a/c"),
        event(1, "Pushing", 104, 100),
        event(1, "Pushed"),
        event(1, "Layer already exists"),  # the next tag
    ]:
        layers.see(one)
        seen.append((layers.done, layers.total))
    assert seen == [(0, 620), (0, 620), (0, 620), (40, 620), (540, 620), (560, 620), (620, 620), (620, 620), (620, 620)]
    result = layers.result()
    assert (result["bytes_sent"], result["layers_pushed"], result["layers_present"]) == (100, 1, 2)
    assert [layer["state"] for layer in result["layers"]] == ["present", "pushed", "mounted"]


def test_a_layer_of_unknown_size_counts_once_the_others_are_known():
    layers = layers_of(500, 100, history=[600])  # two layers of one step: the history does not say which is how big
    layers.see(event(0, "Preparing"))
    layers.see(event(1, "Preparing"))
    layers.see(event(0, "Layer already exists"))
    assert (layers.done, layers.total) == (0, 600)
    layers.see(event(1, "Pushing", 10, 100))
    assert (layers.done, layers.total) == (510, 600)


def test_an_upload_that_begins_again_is_not_counted_twice():
    layers = layers_of(100)
    for one in (event(0, "Pushing", 90, 100), event(0, "Retrying in 5 seconds"), event(0, "Pushing", 10, 100)):
        layers.see(one)
    assert layers.sent == layers.done == 10
    layers.see(event(0, "Pushed"))
    assert layers.sent == 100


def test_a_line_is_shown_every_five_seconds_with_amount_rate_and_layers(clock: Any, tmp_path: Path):
    path = tmp_path / "progress"
    layers = layers_of(400_000_000, 188_000_000)
    shown = Shown("v1.0", layers, Progress(str(path)))
    layers.see(event(1, "Layer already exists"))
    for second in range(1, 12):
        clock.now += 1
        layers.see(event(0, "Pushing", second * 10_000_000, 400_000_000))
        shown.tick()
    assert [json.loads(line)["text"] for line in path.read_text().splitlines()] == [
        "pushing v1.0: 238 of 588 MB, 10 MB/s, 1 of 2 layers",
        "pushing v1.0: 288 of 588 MB, 10 MB/s, 1 of 2 layers",
    ]
