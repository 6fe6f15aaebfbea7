"""Every logo URL of code-server, on a small image; the compiled code-server is the one that OOB2 takes."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.branded import Bench, Kind, Running, started
from tests.platform import Platform, get

MEDIA = {
    "code-icon.svg": "favicon.svg",  # title bar
    **{f"letterpress-{theme}.svg": "letterpress.svg" for theme in ("dark", "light", "hcDark", "hcLight")},  # watermark
}
SHOWN = {
    "/_static/src/browser/media/favicon.ico": "favicon.ico",
    "/_static/src/browser/media/favicon.svg": "favicon.svg",
    "/_static/src/browser/media/favicon-dark-support.svg": "favicon.svg",
    **{f"/_static/src/browser/media/pwa-icon-{size}.png": f"icon-{size}.png" for size in (192, 512)},
    **{f"/_static/src/browser/media/pwa-icon-maskable-{size}.png": f"icon-maskable-{size}.png" for size in (192, 512)},
    **{f"/_static/lib/vscode/out/media/{name}": ours for name, ours in MEDIA.items()},
    "/_static/lib/vscode/resources/server/favicon.ico": "favicon.ico",
    **{f"/_static/lib/vscode/resources/server/code-{size}.png": f"icon-{size}.png" for size in (192, 512)},
}
KIND = Kind(
    "{{ code_server.stage(base) }}\nFROM {{ base }}\n{{ code_server.install() }}",
    "PASSWORD=secret exec code-server --disable-telemetry --disable-update-check --bind-addr=0.0.0.0:8888 /root",
    SHOWN,
    "/healthz",
)


@pytest.fixture(scope="module")
def bench(platform: Platform, engine: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench(platform, tmp_path_factory.mktemp("code-server"))
    yield made
    made.remove(engine)


@pytest.fixture(scope="module")
def running(bench: Bench, engine: Any) -> Iterator[Running]:
    done = bench.build({"code-server": KIND.dockerfile})
    assert done.returncode == 0, done.stdout[-4000:]
    with started(engine, "code-server", KIND) as container:
        yield container


@pytest.fixture(scope="module")
def workbench(running: Running) -> tuple[str, Any]:
    """The workbench's page, and the cookies of the log-in in front of it."""
    with requests.Session() as session:
        session.trust_env = False
        login = session.post(f"{running.address}/login", data={"password": "secret"}, allow_redirects=False, timeout=10)
    assert login.status_code == 302, login.text[:2000]
    page = get(f"{running.address}/?folder=/root", cookies=login.cookies)
    assert page.ok
    return page.text, login.cookies


def test_each_logo_address_serves_our_bytes(running: Running, bench: Bench):
    assert not running.wrong(KIND.shown, bench.logos)


def test_each_address_that_the_workbench_itself_asks_for_serves_our_bytes(running: Running, bench: Bench, workbench: tuple[str, Any]):
    page, cookies = workbench
    static = re.search(r"stable-[0-9a-f]+/static", page)
    assert static, page[:2000]
    assert not running.wrong({f"/{static.group()}/out/media/{name}": ours for name, ours in MEDIA.items()}, bench.logos, cookies=cookies)


def test_it_is_called_by_our_name_everywhere(running: Running, workbench: tuple[str, Any]):
    login = get(f"{running.address}/login").text
    assert re.search(r"<title>\s*Golden Jobs login\s*</title>", login)
    assert "Welcome to Golden Jobs" in login
    manifest = get(f"{running.address}/manifest.json").json()
    assert manifest["name"] == manifest["short_name"] == "Golden Jobs"
    assert '<meta name="apple-mobile-web-app-title" content="Golden Jobs">' in workbench[0]
    shown = re.search(r'id="vscode-workbench-web-configuration" data-settings="([^"]*)"', workbench[0])
    assert shown
    product = json.loads(html.unescape(shown.group(1)))["productConfiguration"]
    assert product["nameShort"] == product["nameLong"] == "Golden Jobs"


def test_the_gates_program_agrees_and_notices_a_stock_logo(running: Running):
    code, output = running.gate()
    assert code == 0, output
    listed = running.listed()
    assert all(row["ours"] for row in listed.values())
    assert {row["url"] for row in listed.values() if row["software"] == "code-server"} >= set(SHOWN)
    path = next(path for path, row in listed.items() if (row["url"] or "").endswith("/favicon-dark-support.svg"))
    code, output = running.gate_with_stock(path)
    assert code == 1
    assert "does not serve our favicon.svg" in output
