"""The PAI sandbox's rules that need neither a server nor an engine."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "roles" / "pai_sandbox" / "files"))

from pai_sandbox import exits, images, js_yaml, jwt, policy, ports, states, templates
from pai_sandbox.bodies import parse_body
from pai_sandbox.errors import PaiError
from pai_sandbox.limits import RateLimiter
from pai_sandbox.protocol import JobSpec, read_job, role_name
from pai_sandbox.store import internal_name

JOB = """protocolVersion: 2
name: job
type: job
prerequisites:
  - {type: dockerimage, name: img, uri: 'r.example/x:1', auth: {username: u, password: <% $secrets.pw %>, registryuri: r.example}}
parameters: {who: world, list: [a, b]}
taskRoles:
  main:
    instances: 2
    dockerImage: img
    resourcePerInstance: {cpu: 1, memoryMB: 64, gpu: 0, ports: {web: 2}}
    commands: ["  echo <% $parameters.who %> <% $parameters.list[1] %>  ", echo <% $secrets.pw %> <% $parameters.nosuch %>]
secrets: {pw: hunter2}
"""


def job(**changes: Any) -> JobSpec:
    document = js_yaml.safe_load(JOB)
    document.update(changes)
    return read_job(json.dumps(document))


def test_ports_are_the_hash_that_the_real_server_recorded() -> None:
    counts = {"jupyter": 1, "ssh": 1, "http": 1}
    found = ports.port_numbers("df85b739-36e6-4169-aa08-16ff44d10dcd", counts)
    assert found == {"jupyter": [26040], "ssh": [36444], "http": [19214]}


def test_a_chosen_pod_uid_avoids_taken_ports() -> None:
    counts = {"http": 1}
    wanted = ports.port_numbers(ports.choose_pod_uid(counts, ()), counts)["http"][0]
    others = set(range(ports.FIRST_PORT, ports.END_PORT)) - set(range(wanted - 2000, wanted + 2000))
    assert abs(ports.port_numbers(ports.choose_pod_uid(counts, others), counts)["http"][0] - wanted) <= 2000


@pytest.mark.parametrize(
    ("text", "value"),
    [("yes", "yes"), ("on", "on"), ("true", True), ("1e3", 1000.0), ("~", None), ("017", 15), ("12:30:45", 45045), ("{1: a}", {"1": "a"})],
)
def test_yaml_words_are_those_of_js_yaml(text: str, value: Any) -> None:
    assert js_yaml.safe_load(text) == value


def test_duplicate_keys_are_a_500_that_names_the_place() -> None:
    with pytest.raises(PaiError) as caught:
        js_yaml.safe_load("name: a\nname: b\n")
    assert (caught.value.status, caught.value.code) == (500, None)
    assert caught.value.message == "duplicated mapping key at line 2, column 1:\n    name: b\n    ^"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("a: 1\nsecrets:\n  pw: x\nb: 2", {"a": 1, "secrets": "******", "b": 2}),
        ("a: 1\nsecrets: {pw: x}", {"a": 1, "secrets": "******"}),
        ('a: 1\n"secrets": {pw: x}', {"a": 1, "secrets": {"pw": "x"}}),
        ('{"secrets": {"pw": "x"}}', {"secrets": {"pw": "x"}}),
        ('secrets:\n  pw: x\n"b": 2\nc: 3', {"secrets": "******", "c": 3}),
    ],
)
def test_secrets_are_masked_by_the_text_pattern_only(text: str, masked: Any) -> None:
    assert js_yaml.safe_load(js_yaml.mask_secrets(text)) == masked


def test_commands_are_rendered_by_the_server_but_not_their_secrets() -> None:
    script = job().roles[0].script
    assert script == "echo world b\necho <% $secrets.pw %> <% $parameters.nosuch %>"


def test_login_of_an_image_is_rendered_with_the_secrets() -> None:
    assert job().roles[0].auth == {"username": "u", "password": "hunter2", "registryuri": "r.example"}


def test_the_runtime_renders_secrets_escaped_and_drops_other_tags() -> None:
    assert templates.render_secrets("<% $secrets.pw %>|<% $parameters.x %>", {"pw": "a&b"}) == "a&amp;b|"
    assert templates.render_secrets("<% $secrets.pw %>", None) == "<% $secrets.pw %>"


def test_an_unclosed_tag_is_a_500() -> None:
    with pytest.raises(PaiError) as caught:
        templates.render("echo <% $parameters.a", {})
    assert (caught.value.status, caught.value.message) == (500, "Unclosed tag at 21")


def test_defaults_are_filled_in() -> None:
    role = job().roles[0]
    assert role.ports == {"web": 2, "ssh": 1, "http": 1}
    assert (role.shm_mb, role.min_failed, role.min_succeeded) == (512, 1, 2)
    assert job().virtual_cluster == "default"


def test_deployment_commands_stand_around_the_commands() -> None:
    deployments = [{"name": "d", "taskRoles": {"main": {"preCommands": ["first"], "postCommands": ["last"]}}}]
    script = job(deployments=deployments, defaults={"deployment": "d"}).roles[0].script
    assert script.splitlines()[0] == "first"
    assert script.splitlines()[-1] == "last"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"defaults": {"deployment": "x"}}, "Default deployment x does not exist."),
        ({"prerequisites": [{"type": "data", "name": "img"}]}, "Prerequisite img does not exist."),
        ({"prerequisites": [{"type": "dockerimage", "name": "img", "uri": "a"}] * 2}, "Duplicate dockerimage prerequisites img."),
    ],
)
def test_references_that_lead_nowhere_are_a_400_with_a_sentence(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PaiError) as caught:
        job(**changes)
    assert (caught.value.status, caught.value.code, caught.value.message) == (400, "InvalidProtocolError", message)


@pytest.mark.parametrize(
    "changes",
    [
        {"secrets": "******"},
        {"surprise": 1},
        {"name": "a.b"},
        {"type": "task"},
        {"protocolVersion": 1},
        {"prerequisites": []},
        {"prerequisites": [{"type": "dockerimage", "name": "img", "uri": "a", "tag": "b"}]},
        {"jobRetryCount": -1},
        {"jobRetryCount": 1.5},
    ],
)
def test_schema_faults_are_a_400_with_a_list_in_its_message(changes: dict[str, Any]) -> None:
    with pytest.raises(PaiError) as caught:
        job(**changes)
    assert (caught.value.status, caught.value.code) == (400, "InvalidProtocolError")
    assert {"keyword", "dataPath", "schemaPath", "params", "message"} == set(json.loads(caught.value.message)[0])


def test_schema_faults_are_worded_as_ajv_words_them() -> None:
    with pytest.raises(PaiError) as caught:
        job(parameters=["a"])
    fault = {
        "keyword": "type",
        "dataPath": ".parameters",
        "schemaPath": "#/properties/parameters/type",
        "params": {"type": "object"},
        "message": "should be object",
    }
    assert json.loads(caught.value.message) == [fault]


def test_role_names_lose_capitals_and_underscores() -> None:
    assert role_name("Worker_1") == "worker1"


def test_internal_names_are_a_hash_with_one_exception() -> None:
    assert internal_name("alice~jupyter_0001") == "4348eeeddbb5ecffe517b291152cd700"
    assert internal_name("unknown1~Job_2") == "unknown1job2"


@pytest.mark.parametrize(
    ("image", "auth", "word"),
    [
        ("r.example/x@sha256:0", None, "digest"),
        ("r.example/Xy:1", None, "upper-case"),
        ("r.example/x:V1", None, "upper-case"),
        ("r.example/x:1", {"username": "u", "password": "p"}, "registryuri"),
    ],
)
def test_references_that_the_image_check_refuses(image: str, auth: dict[str, str] | None, word: str) -> None:
    assert word in (images.reference_problem(image, auth) or "")


def test_a_login_counts_for_its_own_registry_and_only_with_secrets() -> None:
    auths = [{"username": "u", "password": "p", "registryuri": "https://r.example:5000/v2/"}]
    login = {"username": "u", "password": "p"}
    assert images.pull_login("r.example:5000/x:1", auths, has_secrets=True) == login
    assert images.pull_login("r.example:5000/x:1", auths, has_secrets=False) is None
    assert images.pull_login("other.example/x:1", auths, has_secrets=True) is None
    assert images.pull_login("x:1", auths, has_secrets=True) is None


@pytest.mark.parametrize(
    ("exit_code", "oom", "log", "code"),
    [
        (0, False, "", 0),
        (1, False, "", 255),
        (137, False, "", 137),
        (137, True, "", -1200),
        (127, False, "x: command not found", 220),
        (127, False, "", 255),
        (2, False, "ImportError: no module", 232),
    ],
)
def test_exit_codes_are_those_of_the_runtime(exit_code: int, oom: bool, log: str, code: int) -> None:
    assert exits.container_ending(exit_code, oom, log).code == code


def test_exit_specs_fall_back_with_their_own_code() -> None:
    assert (exits.exit_spec(77) or {})["phrase"] == "PAIRuntimeExitAbnormally"
    assert (exits.exit_spec(77) or {})["code"] == 77
    assert exits.exit_spec(None) is None


@pytest.mark.parametrize(
    ("inner", "code", "shown", "shown_attempt"),
    [
        ("AttemptPreparing", None, "WAITING", "WAITING"),
        ("AttemptRunning", None, "RUNNING", "RUNNING"),
        ("AttemptDeletionPending", -210, "STOPPING", "STOPPING"),
        ("AttemptCompleted", 255, "RUNNING", "FAILED"),
        ("Completed", -220, "STOPPED", "STOPPED"),
        ("Completed", 0, "SUCCEEDED", "SUCCEEDED"),
        ("Completed", 255, "FAILED", "FAILED"),
    ],
)
def test_states_are_shown_as_the_server_shows_them(inner: str, code: int | None, shown: str, shown_attempt: str) -> None:
    assert states.shown_state(inner, code) == shown
    assert states.shown_attempt_state(inner, code) == shown_attempt


def test_killed_programs_always_come_back_and_others_as_often_as_asked() -> None:
    assert policy.retry_kind(137, 0, 0) == "platform"
    assert policy.retry_kind(255, 0, 1) == "user"
    assert policy.retry_kind(255, 1, 1) is None
    assert policy.retry_kind(-210, 0, 5) is None


def test_a_token_is_good_only_with_its_key_and_before_its_end() -> None:
    token = jwt.encode({"username": "a", "exp": 100}, "key")
    assert jwt.decode(token, "key", 99) == {"username": "a", "exp": 100}
    assert jwt.decode(token, "key", 100) is None
    assert jwt.decode(token, "other", 99) is None
    assert jwt.decode("garbage", "key", 99) is None


def test_bodies_are_read_by_content_type() -> None:
    assert parse_body(b"a=1&a=2&b=", "application/x-www-form-urlencoded") == {"a": ["1", "2"], "b": ""}
    assert parse_body(b"x: 1", "text/yaml; charset=utf-8") == "x: 1"
    assert parse_body(b"x: 1", "application/x-yaml") == {}
    assert parse_body(b"", "application/json") == {}


@pytest.mark.parametrize(
    ("raw", "content_type", "status"),
    [
        (b"x" * 102401, "text/yaml", 413),
        (b"x", "text/yaml; charset=nosuch", 415),
        (b'{"a":', "application/json", 400),
        (b"name: x", "application/json", 400),
    ],
)
def test_bad_bodies_are_refused_without_a_code(raw: bytes, content_type: str, status: int) -> None:
    with pytest.raises(PaiError) as caught:
        parse_body(raw, content_type)
    assert (caught.value.status, caught.value.code) == (status, None)


def test_a_rate_limit_counts_by_key_and_names_the_whole_window() -> None:
    limiter = RateLimiter(1, 60)
    first, second, other = limiter.hit("a"), limiter.hit("a"), limiter.hit("b")
    assert first is not None
    assert second is not None
    assert other is not None
    assert (first.exceeded, second.exceeded, other.exceeded) == (False, True, False)
    assert second.headers()["retry-after"] == "60"
    assert second.reset_epoch_s - time.time() < 61
    assert RateLimiter(0, 60).hit("a") is None
