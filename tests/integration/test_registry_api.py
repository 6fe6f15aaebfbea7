"""A registry's own API: tags, digests, labels and deletion on Debian's docker-registry, with a password, with tokens, and without."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.golden_jobs import registry_delete, registry_tags
from ansible.module_utils.golden_jobs.errors import GoldenJobsError
from ansible.module_utils.golden_jobs.registry_api import RegistryApi, newest

from tests.integration.pushing import OwnRegistry
from tests.pusher import Pusher
from tests.support import Registry, free_ports
from tests.token_server import Authority, TokenServer

IMMUTABLE = "v1-0123456789ab"


@pytest.fixture
def pusher(registry: Registry) -> Pusher:
    return Pusher(registry.address, (registry.username, registry.password))


@pytest.fixture
def api(registry: Registry) -> Iterator[RegistryApi]:
    with RegistryApi(registry.address, registry.username, registry.password) as api:
        yield api


def test_tags_digests_and_what_an_image_says_of_itself(pusher: Pusher, api: RegistryApi):
    one = pusher.image("api/read", IMMUTABLE, "v1")
    other = pusher.image("api/read", "v1-ba9876543210", label="other")
    index = pusher.index("api/read", "v2-0123456789ab", one)
    assert api.tags("api/read") == ["v1", IMMUTABLE, "v1-ba9876543210", "v2-0123456789ab"]
    assert api.digest("api/read", "v1") == api.digest("api/read", IMMUTABLE) == one
    assert api.digest("api/read", "nothing") is None
    assert api.tags("api/nothing") == []
    for digest, label in ((one, "one"), (other, "other"), (index, "one")):
        found = api.describe("api/read", digest)
        assert (found["created"], found["labels"]) == ("2026-01-02T03:04:05Z", {"course": label})
    tags = {tag: api.digest("api/read", tag) or "" for tag in api.tags("api/read")}
    assert newest(tags, "v1") == IMMUTABLE
    assert newest(tags, "v2") is None


def test_more_tags_than_one_page_holds(pusher: Pusher, api: RegistryApi):
    tags = [f"t{number:04d}" for number in range(1, 26)]
    pusher.image("api/pages", *tags)
    asked = api._ask

    def small_pages(method: str, path: str, repository: str) -> Any:
        return asked(method, path.replace("n=1000", "n=7"), repository)

    api._ask = small_pages  # type: ignore[method-assign]
    assert api.tags("api/pages") == tags


def options(registry: Registry, **more: Any) -> dict[str, Any]:
    return {"address": registry.address, "username": registry.username, "password": registry.password, **more}


def test_an_image_is_deleted_only_while_the_one_tag_names_it(pusher: Pusher, api: RegistryApi, registry: Registry):
    gone, kept = pusher.image("api/delete", "v1-000000000001"), pusher.image("api/delete", "v1-000000000002", "v1", label="kept")
    images = [
        {"repository": "api/delete", "tag": "v1-000000000001", "digest": gone},
        {"repository": "api/delete", "tag": "v1-000000000002", "digest": kept},  # v1 names it meanwhile
        {"repository": "api/delete", "tag": "v1-000000000003", "digest": gone},  # never was there
    ]
    args = {"registry": options(registry), "images": images}
    assert registry_delete.run(args, "", True) == {"changed": True, "deleted": ["api/delete:v1-000000000001"]}
    assert len(api.tags("api/delete")) == 3
    assert registry_delete.run(args, "", False) == {"changed": True, "deleted": ["api/delete:v1-000000000001"]}
    assert api.tags("api/delete") == ["v1", "v1-000000000002"]
    assert registry_delete.run(args, "", False) == {"changed": False, "deleted": []}


def test_a_registry_that_does_not_allow_deletions_says_what_to_set(tmp_path: Path):
    own = OwnRegistry(tmp_path / "own", config={"storage": {"filesystem": {"rootdirectory": str(tmp_path / "images")}}})
    own.start()
    try:
        digest = Pusher(own.address).image("a/b", IMMUTABLE)
        args = {"registry": {"address": own.address}, "images": [{"repository": "a/b", "tag": IMMUTABLE, "digest": digest}]}
        with pytest.raises(GoldenJobsError) as refused:
            registry_delete.run(args, "", False)
        assert str(refused.value) == (
            f"The registry {own.address} does not allow deletions: set storage.delete.enabled in its configuration, "
            "or REGISTRY_STORAGE_DELETE_ENABLED=true for its container."
        )
        assert refused.value.details == {"changed": False, "deleted": []}
    finally:
        own.stop()


def test_a_wrong_password_and_a_registry_that_is_down_are_one_sentence_each(pusher: Pusher, registry: Registry):
    pusher.image("api/login", "v1", IMMUTABLE)
    nowhere = f"127.0.0.1:{free_ports(1)}"
    repositories = [
        {"name": "api/login", "registry": options(registry)},
        {"name": "api/wrong", "registry": options(registry, password="wr0ng-password")},
        {"name": "api/nobody", "registry": {"address": registry.address}},
        {"name": "api/down", "registry": options(registry, address=nowhere)},
    ]
    found = registry_tags.run({"repositories": repositories, "describe": True}, "", False)["repositories"]
    good = found[f"{registry.address}/api/login"]
    assert (sorted(good["tags"]), good["problem"], len(good["images"])) == (["v1", IMMUTABLE], "", 1)
    assert {name.partition("/api/")[2]: one["problem"] for name, one in found.items() if one["problem"]} == {
        "wrong": f"The registry {registry.address} refuses user '{registry.username}' for api/wrong (HTTP 401).",
        "nobody": f"The registry {registry.address} refuses anybody without a login for api/nobody (HTTP 401).",
        "down": f"The registry {nowhere} does not answer: Connection refused.",
    }
    assert "wr0ng-password" not in json.dumps(found)
    assert [one["tags"] for one in found.values() if one["problem"]] == [None] * 3


def test_the_token_flow_as_harbor_and_docker_hub_have_it(tmp_path: Path):
    authority = Authority(tmp_path / "authority", "127.0.0.1")
    tokens = TokenServer(authority, "tester", "good", writable="mine/")
    own = OwnRegistry(tmp_path / "own", config={"auth": tokens.registry_config})
    own.start()
    try:
        token = tokens.token(["repository:mine/a:pull,push"], tokens._login) or ""
        digest = Pusher(own.address, token=token).image("mine/a", IMMUTABLE)
        with RegistryApi(own.address, "tester", "good") as api:
            assert api.tags("mine/a") == [IMMUTABLE]
            assert api.delete("mine/a", digest)
            assert not api.delete("mine/a", digest)
            assert api.digest("mine/a", IMMUTABLE) is None
        with RegistryApi(own.address, "tester", "bad") as api, pytest.raises(GoldenJobsError, match="refuses user 'tester' for mine/a"):
            api.tags("mine/a")
    finally:
        own.stop()
        tokens.close()


def test_tls_with_a_ca_of_the_site(tmp_path: Path):
    authority = Authority(tmp_path / "authority", "127.0.0.1")
    tls = {"certificate": str(authority.ca_file), "key": str(authority.key_file)}
    own = OwnRegistry(tmp_path / "own", config={"http": {"tls": tls}}, ca=str(authority.ca_file))
    own.start()
    try:
        Pusher(own.address, verify=str(authority.ca_file)).image("a/b", "v1")
        with RegistryApi(own.address, ca_file=str(authority.ca_file)) as api:
            assert api.tags("a/b") == ["v1"]
        with RegistryApi(own.address) as api, pytest.raises(GoldenJobsError) as refused:
            api.tags("a/b")
        assert "certificate" in str(refused.value).lower()
        assert "Traceback" not in str(refused.value)
    finally:
        own.stop()
