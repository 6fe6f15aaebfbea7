"""docker_push on a real engine and a real registry with a password: what moves, what is sent, what is said.

Faults: test_docker_push_faults.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fault_proxy import FaultProxy
from tests.integration.image_modules import build, push
from tests.integration.pushing import OwnRegistry, make_image, push_here, remove, texts
from tests.support import Registry

WRITES = "^(POST|PUT|PATCH|DELETE) "


def test_several_tags_of_one_image_are_one_upload(target: dict[str, Any], proxy: FaultProxy, registry: Registry, engine: Any, lines: Path):
    make_image(engine, f"{target['name']}:v1", 2, 1)
    pushed = push_here(lines, **target, tags=["v1", "latest", "other"])
    assert pushed["changed"]
    assert pushed["pushed_tags"] == pushed["tags"] == ["v1", "latest", "other"]
    assert len(set(pushed["digests"].values())) == 1
    assert pushed["digest"] == pushed["digests"]["v1"]
    assert pushed["previous"] == {"v1": None, "latest": None, "other": None}
    assert (pushed["layers_pushed"], pushed["layers_present"], pushed["attempts"]) == (2, 0, 1)
    assert [(layer["state"], layer["bytes"]) for layer in sorted(pushed["layers"], key=lambda one: one["bytes"])] == [
        ("pushed", 1_000_000),
        ("pushed", 2_000_000),
    ]
    assert pushed["bytes_sent"] == 3_000_000
    assert 3_000_000 < proxy.body_bytes() < 3_100_000
    assert registry.tags(target["name"].partition("/")[2]) == ["latest", "other", "v1"]
    assert texts(lines)[0] == f"pushing {target['name']} as v1, latest, other: 3 MB in 2 layers"
    assert "3 MB sent, 2 layers pushed, 0 already there" in texts(lines)[-1]


def test_an_image_that_the_registry_has_under_this_tag_is_not_sent(target: dict[str, Any], proxy: FaultProxy, engine: Any, lines: Path):
    make_image(engine, f"{target['name']}:v1", 1)
    first = push_here(lines, **target, tags=["v1"])
    proxy.log.clear()
    again = push_here(lines, **target, tags=["v1"])
    assert not again["changed"]
    assert again["pushed_tags"] == []
    assert again["digests"] == again["previous"] == first["digests"]
    assert (again["attempts"], again["bytes_sent"], again["duration_s"]) == (0, 0, 0)
    assert not proxy.requests(WRITES)


def test_a_rebuild_that_changes_only_a_label_moves_the_tag(target: dict[str, Any], engine: Any, lines: Path):
    reference = f"{target['name']}:v1"
    make_image(engine, reference, 1, label="old", seed=1)
    first = push_here(lines, **target, tags=["v1"])
    make_image(engine, reference, 1, label="new", seed=1)
    second = push_here(lines, **target, tags=["v1"])
    assert second["changed"]
    assert second["previous"] == first["digests"]
    assert second["digest"] != first["digest"]
    assert (second["bytes_sent"], second["layers_pushed"], second["layers_present"]) == (0, 0, 1)
    assert first["digest"] in second["diff"]["before"]
    assert second["digest"] in second["diff"]["after"]


def test_an_identical_rebuild_is_no_change(target: dict[str, Any], engine: Any, lines: Path):
    reference = f"{target['name']}:v1"
    make_image(engine, reference, 1, seed=1)
    push_here(lines, **target, tags=["v1"])
    make_image(engine, reference, 1, seed=1)
    assert not push_here(lines, **target, tags=["v1"])["changed"]


def test_a_push_that_moves_nothing_is_no_change(target: dict[str, Any], engine: Any, lines: Path):
    reference = f"{target['name']}:v1"
    make_image(engine, reference, 1)
    first = push_here(lines, **target, tags=["v1"])
    engine.tag(reference, "kept-for-the-test")
    for known in engine.inspect_image(reference)["RepoDigests"]:
        engine.remove_image(known)  # the engine forgets that it has pushed it
    engine.tag("kept-for-the-test", target["name"], "v1")
    engine.remove_image("kept-for-the-test")
    again = push_here(lines, **target, tags=["v1"])
    assert again["pushed_tags"] == ["v1"]
    assert not again["changed"]
    assert again["digest"] == first["digest"]


def test_a_further_tag_of_a_pushed_image_is_pushed_alone(target: dict[str, Any], proxy: FaultProxy, engine: Any, lines: Path):
    make_image(engine, f"{target['name']}:v1", 1)
    first = push_here(lines, **target, tags=["v1"])
    proxy.log.clear()
    second = push_here(lines, **target, tags=["v1", "v2"])
    assert second["changed"]
    assert second["pushed_tags"] == ["v2"]
    assert second["digests"] == {"v1": first["digest"], "v2": first["digest"]}
    assert [one.path.rpartition("/")[2] for one in proxy.requests(WRITES)] == ["v2"]


def test_an_immutable_tag_is_written_once_and_the_other_tags_get_its_image(
    target: dict[str, Any], proxy: FaultProxy, engine: Any, lines: Path
):
    make_image(engine, f"{target['name']}:v1-a", 1)
    first = push_here(lines, **target, immutable_tag="v1-a", tags=["v1"])
    assert (first["source"], first["reference"], first["tags"]) == ("engine", f"{target['name']}:v1-a", ["v1-a", "v1"])
    make_image(engine, f"{target['name']}:v1-b", 1)
    moved = push_here(lines, **target, immutable_tag="v1-b", tags=["v1"])
    assert moved["digests"]["v1"] == moved["digests"]["v1-b"] != first["digest"]

    make_image(engine, f"{target['name']}:v1-a", 1)  # another image under the name that the registry has already
    proxy.log.clear()
    back = push_here(lines, **target, immutable_tag="v1-a", tags=["v1"])
    assert back["changed"]
    assert back["source"] == "registry"
    assert back["pushed_tags"] == ["v1"]
    assert back["digests"] == first["digests"]
    assert back["bytes_sent"] == 0
    assert not proxy.requests("PATCH")
    assert not push_here(lines, **target, immutable_tag="v1-a", tags=["v1"])["changed"]


def test_an_immutable_tag_that_only_the_registry_has_gives_its_image_to_the_other_tags(target: dict[str, Any], engine: Any, lines: Path):
    make_image(engine, f"{target['name']}:v1-a", 1)
    first = push_here(lines, **target, immutable_tag="v1-a")
    remove(engine, target["name"].partition("/")[0])
    assert not engine.images(target["name"])
    second = push_here(lines, **target, immutable_tag="v1-a", tags=["v1"])
    assert second["changed"]
    assert second["digests"] == {"v1-a": first["digest"], "v1": first["digest"]}
    assert second["layers_pushed"] == 0


def test_an_image_is_pushed_by_its_id_and_gets_the_tags_in_the_engine(target: dict[str, Any], engine: Any, lines: Path):
    image = make_image(engine, "test-of-docker-push:1", 1)
    try:
        assert push_here(lines, **target, image=image, tags=["v1"])["changed"]
        assert engine.inspect_image(f"{target['name']}:v1")["Id"] == image
        assert not push_here(lines, **target, image="test-of-docker-push:1", tags=["v1"])["changed"]
    finally:
        engine.remove_image("test-of-docker-push:1", force=True)


def test_a_layer_of_another_repository_of_the_registry_is_not_sent_again(
    target: dict[str, Any], proxy: FaultProxy, engine: Any, lines: Path
):
    make_image(engine, f"{target['name']}:v1", 2)
    push_here(lines, **target, tags=["v1"])
    proxy.log.clear()
    elsewhere = push_here(lines, **{**target, "name": f"{target['name']}-copy"}, image=f"{target['name']}:v1", tags=["v1"])
    assert elsewhere["changed"]
    assert (elsewhere["layers_pushed"], elsewhere["layers_present"]) == (0, 1)
    assert elsewhere["layers"][0]["state"] == "mounted"
    assert proxy.body_bytes() < 100_000


def test_check_mode_tells_old_and_new_digests_and_writes_nothing(target: dict[str, Any], proxy: FaultProxy, engine: Any, lines: Path):
    reference = f"{target['name']}:v1"
    make_image(engine, reference, 1)
    planned = push_here(lines, check_mode=True, **target, tags=["v1"])
    assert planned["changed"]
    assert planned["digests"] == {"v1": None}
    assert planned["diff"] == {"before": f"{reference} absent\n", "after": f"{reference} the digest of the new image\n"}
    assert not proxy.requests(WRITES)

    first = push_here(lines, **target, tags=["v1"])
    proxy.log.clear()
    second = push_here(lines, check_mode=True, **target, tags=["v1", "v2"])
    assert second["changed"]
    assert second["digests"] == {"v1": first["digest"], "v2": first["digest"]}
    assert second["diff"]["after"] == f"{reference} {first['digest']}\n{target['name']}:v2 {first['digest']}\n"
    assert not proxy.requests(WRITES)
    assert not engine.images(f"{target['name']}:v2")
    assert push_here(lines, check_mode=True, **target, immutable_tag="to-be-built")["source"] == "absent"


def test_a_registry_without_a_login_is_pushed_to_without_one(
    engine: Any, registry: Registry, lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    anonymous = OwnRegistry(tmp_path / "anonymous")
    anonymous.start()
    try:
        make_image(engine, f"{anonymous.address}/push/anonymous:v1", 1)
        assert push_here(lines, name=f"{anonymous.address}/push/anonymous", tags=["v1"])["changed"]
    finally:
        anonymous.stop()
        remove(engine, anonymous.address)


def test_the_login_is_written_nowhere(
    target: dict[str, Any], registry: Registry, engine: Any, lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    make_image(engine, f"{target['name']}:v1", 1)
    pushed = push_here(lines, **target, tags=["v1"])
    assert pushed["changed"]
    assert registry.password not in str(pushed) + lines.read_text()
    assert not (tmp_path / "docker").exists()
    assert not (tmp_path / "home").exists()


def test_a_wrong_password_fails_at_once_with_one_attempt(target: dict[str, Any], proxy: FaultProxy, engine: Any, lines: Path):
    make_image(engine, f"{target['name']}:v1", 1)
    failed = push_here(lines, **{**target, "registry_password": "wrong"}, tags=["v1"])
    assert failed["msg"] == (
        f"The registry {proxy.address} refuses user 'tester' or the password: set registry_username and registry_password of that registry."
    )
    assert len(proxy.requests("HEAD .*manifests/v1")) == 1
    assert not proxy.requests(WRITES)


def test_a_missing_login_is_asked_for(target: dict[str, Any], proxy: FaultProxy, engine: Any, lines: Path):
    make_image(engine, f"{target['name']}:v1", 1)
    failed = push_here(lines, name=target["name"], tags=["v1"])
    assert failed["msg"] == f"The registry {proxy.address} wants a login: set registry_username and registry_password of that registry."


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"name": "Upper/Case", "tags": ["v1"]}, "lower-case letters"),
        ({"name": "127.0.0.1:1/x:v1", "tags": ["v1"]}, "no tag"),
        ({"tags": ["-x"]}, "The tag '-x' is not allowed"),
        ({"tags": []}, "set immutable_tag, tags, or both"),
        ({"immutable_tag": "v1", "tags": ["v1"]}, "The tag 'v1' stands twice"),
        ({"tags": ["v1"], "attempts": 0}, "The option attempts is 0"),
        ({"tags": ["v1"], "push_timeout_s": 0}, "The option push_timeout_s is 0"),
        ({"tags": ["v1"], "docker_host": "unix:///nowhere.sock"}, "No Docker engine answers at unix:///nowhere.sock"),
        ({"tags": ["v1"]}, "There is nothing to push: the image"),
        ({"tags": ["v1"], "image": "no-such-image:1"}, "the image no-such-image:1 is not in this engine"),
    ],
)
def test_bad_input_is_one_sentence_before_anything_is_written(
    target: dict[str, Any], proxy: FaultProxy, lines: Path, options: dict[str, Any], sentence: str
):
    failed = push_here(lines, **{**target, **options})
    assert sentence in failed["msg"]
    assert "\n" not in failed["msg"]
    assert not proxy.requests(WRITES)


def test_run_by_ansible_the_module_pushes_once_and_fails_in_one_sentence(course: dict[str, Any]):
    built = build(course)
    failed = push(course, built["tag"], registry_password="wrong")
    assert failed["failed"]
    assert "refuses user 'tester' or the password" in failed["msg"]
    assert push(course, built["tag"])["changed"]
    assert not push(course, built["tag"])["changed"]
