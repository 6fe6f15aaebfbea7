"""What a student sees of code-server: Chromium opens the live Golden Job of OOB2 and finds our icon, watermark and name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PIL import Image

from tests.browser import ALIKE, Browser, likeness, picture_of
from tests.platform import Platform, get
from tests.support import wait_for


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as running:
        yield running


@pytest.fixture(scope="module")
def logo(platform: Platform) -> Image.Image:
    return picture_of((platform.project / "branding" / "logo.png").read_bytes())


def favicon(platform: Platform) -> Image.Image:
    return picture_of((platform.project / "branding" / "favicon.ico").read_bytes())


@pytest.fixture(scope="module")
def code_server(platform: Platform) -> str:
    """Address of code-server in the live Golden Job of OOB2."""
    done = platform.rebuild(course="OOB2")  # nothing to do when another test has done it
    assert done.returncode == 0, done.stdout[-4000:]
    address = platform.url("pai-a", "OOB2", "code")
    wait_for(lambda: get(f"{address}/healthz").ok, 120)
    return address


def test_code_server_shows_our_icons_watermark_and_name(platform: Platform, browser: Browser, logo: Image.Image, code_server: str):
    browser.open(code_server)
    browser.wait(".monaco-workbench", 240)
    browser.click(".tab [aria-label^='Close']", 120)  # the welcome page: below it is the empty editor
    browser.click(".part.auxiliarybar [aria-label^='Hide Secondary']")
    browser.wait(".letterpress")
    assert "Golden Jobs" in browser.script("return document.title")
    icon = get(browser.icon())
    assert icon.content.startswith(b"<svg")
    assert b"data:image/png;base64," in icon.content
    ours = {"letterpress": (logo, 0.4), "window-appicon": (favicon(platform), 1.0)}
    for name, (picture, opacity) in ours.items():
        shown = get(browser.style(f".{name}", "backgroundImage").removeprefix('url("').removesuffix('")'))
        assert b"data:image/png;base64," in shown.content
        wait_for(lambda name=name, picture=picture, opacity=opacity: likeness(browser.element(f".{name}"), picture, opacity) > ALIKE)
    browser.wait(".explorer-viewlet [aria-label*='.ipynb']")
    browser.save_for_readme("code-server")


def test_code_server_installs_as_our_application(platform: Platform, code_server: str):
    manifest = get(f"{code_server}/manifest.json").json()
    assert manifest["name"] == manifest["short_name"] == "Golden Jobs"
    for icon in manifest["icons"]:
        answer = get(f"{code_server}/{icon['src'].lstrip('/').removeprefix('./')}")
        assert f"{picture_of(answer.content).width}x{picture_of(answer.content).height}" == icon["sizes"]
