"""What a student sees: Chromium opens live Golden Jobs and finds our logo where Jupyter and code-server draw theirs.

With `GOLDEN_JOBS_SCREENSHOTS=docs/images` in the environment the pages are saved there: `tools/screenshots.py` does that.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.browser import Browser, box_of, likeness
from tests.platform import Platform, get
from tests.support import wait_for

LOGO = {"notebook": "#jp-NotebookLogo", "lab": "#jp-MainLogo"}
PAGE = {"notebook": "/tree", "lab": "/lab"}
ALIKE = 0.9


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as running:
        yield running


@pytest.fixture(scope="module")
def logo(platform: Platform) -> Image.Image:
    return picture((platform.project / "branding" / "logo.png").read_bytes())


def picture(content: bytes) -> Image.Image:
    with Image.open(io.BytesIO(content)) as opened:
        return opened.convert("RGBA")


def save(browser: Browser, name: str) -> None:
    folder = os.environ.get("GOLDEN_JOBS_SCREENSHOTS")
    if folder:
        browser.script("document.querySelectorAll('.Toastify').forEach(toast => toast.remove())")
        browser.save(Path(folder) / f"{name}.png")


def drawn(browser: Browser, selector: str) -> Image.Image:
    """What the element shows, without the empty ground around it."""
    whole = browser.element(selector)
    box = box_of(whole)
    return whole.crop(box) if box else whole


@pytest.fixture(scope="module")
def login(platform: Platform, engine: Any) -> Iterator[str]:
    """Address of the Golden Job's image with a token."""
    image = f"{platform.registry_address}/shaiic/ai-edu:v1.0"
    command = "exec jupyter notebook --allow-root --no-browser --ip=0.0.0.0 --port=8888 --IdentityProvider.token=secret"
    host = engine.create_host_config(port_bindings={8888: ("127.0.0.1",)})
    container = engine.create_container(image, ["sh", "-c", command], ports=[8888], host_config=host)["Id"]
    try:
        engine.start(container)
        address = f"http://127.0.0.1:{engine.port(container, 8888)[0]['HostPort']}"
        wait_for(lambda: get(f"{address}/api").ok, 120)
        yield address
    finally:
        engine.remove_container(container, force=True, v=True)


@pytest.mark.parametrize("page", LOGO)
def test_the_top_left_logo_is_ours(platform: Platform, browser: Browser, logo: Image.Image, page: str):
    browser.open(platform.url("pai-a") + PAGE[page])
    browser.wait(LOGO[page])
    assert browser.style(f"{LOGO[page]} svg", "display") == "none"
    ground = browser.style(LOGO[page], "backgroundImage")
    assert ground == f'url("{platform.url("pai-a")}/static/logo/logo.png")'
    wait_for(lambda: likeness(drawn(browser, LOGO[page]), logo) > ALIKE)
    box = browser.script(f"const r = document.querySelector('{LOGO[page]}').getBoundingClientRect(); return [r.left, r.top, r.width];")
    assert box[0] < 30
    assert box[1] < 30
    assert box[2] >= 90
    if page == "notebook":
        browser.wait(".jp-DirListing-item")
    else:
        browser.wait(".jp-LauncherCard")
    save(browser, page)


@pytest.mark.parametrize("page", LOGO)
def test_the_colour_of_the_theme_is_drawn(platform: Platform, browser: Browser, page: str):
    browser.open(platform.url("pai-a") + PAGE[page])
    browser.wait(LOGO[page])
    assert browser.script("return getComputedStyle(document.body).getPropertyValue('--jp-brand-color1').trim();") == "#b8860b"


@pytest.mark.parametrize("page", LOGO)
def test_the_tab_has_our_icon(platform: Platform, browser: Browser, page: str):
    browser.open(platform.url("pai-a") + PAGE[page])
    browser.wait(LOGO[page])
    assert get(browser.icon()).content == (platform.project / "branding" / "favicon.ico").read_bytes()


def test_the_log_in_page_shows_our_logo_and_name(platform: Platform, browser: Browser, logo: Image.Image, login: str):
    browser.open(f"{login}/login")
    browser.wait("input[name=password]")
    assert browser.script("return document.title") == "Golden Jobs"
    image = browser.script(
        "const i = document.querySelector('#header img, img'); return [i.src.split('?')[0], i.naturalWidth, i.naturalHeight];"
    )
    assert image == [f"{login}/static/logo/logo.png", *logo.size]
    assert likeness(drawn(browser, "img"), logo) > ALIKE
    assert get(browser.icon()).content == (platform.project / "branding" / "favicon.ico").read_bytes()
    save(browser, "login")


@pytest.fixture(scope="module")
def code_server(platform: Platform) -> str:
    """Address of code-server in the live Golden Job of OOB2."""
    with contextlib.suppress(AssertionError):
        platform.current("pai-a", "OOB2")
        return code_server_url(platform)
    done = platform.rebuild(course="OOB2")
    assert done.returncode == 0, done.stdout[-4000:]
    return code_server_url(platform)


def code_server_url(platform: Platform) -> str:
    job = platform.api("pai-a", f"jobs/operator~{platform.current('pai-a', 'OOB2')['name']}")
    task = job["taskRoles"]["taskrole"]["taskStatuses"][0]
    address = f"http://{task['containerIp']}:{task['containerPorts']['code']}"
    wait_for(lambda: get(f"{address}/healthz").ok, 120)
    return address


def test_code_server_shows_our_icon_watermark_and_name(platform: Platform, browser: Browser, logo: Image.Image, code_server: str):
    browser.open(code_server)
    browser.wait(".monaco-workbench", 240)
    browser.wait(".editor-group-watermark, .letterpress", 120)
    assert "Golden Jobs" in browser.script("return document.title")
    icon = get(browser.icon())
    assert icon.content.startswith(b"<svg")
    assert b"data:image/png;base64," in icon.content
    ground = browser.style(".letterpress", "backgroundImage")
    shown = get(ground.partition('url("')[2].partition('")')[0])
    assert b"data:image/png;base64," in shown.content
    wait_for(lambda: likeness(drawn(browser, ".letterpress"), logo) > ALIKE)
    save(browser, "code-server")


def test_code_server_installs_as_our_application(platform: Platform, code_server: str):
    manifest = get(f"{code_server}/manifest.json").json()
    assert manifest["name"] == manifest["short_name"] == "Golden Jobs"
    for icon in manifest["icons"]:
        answer = get(f"{code_server}/{icon['src'].lstrip('/').removeprefix('./')}")
        assert f"{picture(answer.content).width}x{picture(answer.content).height}" == icon["sizes"]
