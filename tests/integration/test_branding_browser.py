"""What a student sees: Chromium opens a live Golden Job and finds our logo where Jupyter draws its own.

code-server's pages are in `tests/scenarios/test_branding_browser.py`: its image takes longer to build.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator

import pytest
import yaml
from PIL import Image

from tests.browser import ALIKE, Browser, likeness, picture_of
from tests.platform import Platform, get
from tests.support import wait_for

LOGO = {"notebook": "#jp-NotebookLogo", "lab": "#jp-MainLogo"}
PAGE = {"notebook": "/tree", "lab": "/lab"}
#: What appears last, and the bar above it.
LOADED = {"notebook": ".jp-DirListing-item", "lab": ".jp-LauncherCard"}
BAR = {"notebook": "#top-panel-wrapper", "lab": "#jp-top-panel"}
GOLD = (184, 134, 11, 255)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as running:
        yield running


@pytest.fixture(scope="module")
def logo(platform: Platform) -> Image.Image:
    return picture_of((platform.project / "branding" / "logo.png").read_bytes())


@pytest.fixture(scope="module")
def login(platform: Platform) -> Iterator[str]:
    """Address of a job that is cloned from the live Golden Job, as a student's is, and asks for a token."""
    live = platform.current("pai-a")["name"]
    protocol = yaml.safe_load(platform.request("GET", "pai-a", f"jobs/operator~{live}/config").text)
    # Masked in the answer; the one that it has is the registry's.
    protocol["secrets"] = dict.fromkeys(re.findall(r"\$secrets\.(\w+)", json.dumps(protocol)), platform.secret("registry"))
    protocol["name"] = name = f"login-{uuid.uuid4().hex[:8]}"
    role = protocol["taskRoles"]["taskrole"]
    role["commands"] = [re.sub(r"--IdentityProvider\.token=(?=\s)", "--IdentityProvider.token=secret ", one) for one in role["commands"]]
    assert "token=secret" in role["commands"][-1]
    sent = platform.request("POST", "pai-a", "jobs", data=json.dumps(protocol), headers={"Content-Type": "text/yaml"})
    assert sent.status_code == 202, sent.text
    try:

        def runs() -> bool:
            state = platform.api("pai-a", f"jobs/operator~{name}")["jobStatus"]["state"]
            assert state in ("WAITING", "RUNNING"), state
            return bool(state == "RUNNING")

        wait_for(runs)
        address = platform.job_url("pai-a", name)
        wait_for(lambda: get(f"{address}/api").ok, 120)
        yield address
    finally:
        platform.request("PUT", "pai-a", f"jobs/operator~{name}/executionType", json={"value": "STOP"})


@pytest.mark.parametrize("page", LOGO)
def test_the_top_left_logo_is_ours(platform: Platform, browser: Browser, logo: Image.Image, page: str):
    browser.open(platform.url("pai-a") + PAGE[page])
    browser.wait(LOGO[page])
    assert browser.style(f"{LOGO[page]} svg", "display") == "none"
    ground = browser.style(LOGO[page], "backgroundImage")
    assert ground == f'url("{platform.url("pai-a")}/static/logo/logo.png")'
    wait_for(lambda: likeness(browser.element(LOGO[page]), logo) > ALIKE)
    box = browser.script(f"const r = document.querySelector('{LOGO[page]}').getBoundingClientRect(); return [r.left, r.top, r.width];")
    assert box[0] < 30
    assert box[1] < 30
    assert box[2] >= 90
    browser.wait(LOADED[page])
    if page == "lab":
        browser.wait(".jp-DirListing-item")
    browser.save_for_readme(page)
    # Jupyter's own drawing is no such picture: what is compared above can be told apart.
    stock = "const l = document.querySelector(arguments[0]); l.style.background = 'none'; l.querySelector('svg').style.display = 'inline';"
    browser.script(stock, LOGO[page])
    assert likeness(browser.element(LOGO[page]), logo) < ALIKE


@pytest.mark.parametrize("page", LOGO)
def test_the_colour_of_the_theme_is_drawn(platform: Platform, browser: Browser, page: str):
    browser.open(platform.url("pai-a") + PAGE[page])
    browser.wait(LOGO[page])
    browser.wait(LOADED[page])
    bar = browser.element(BAR[page])
    line = [bar.getpixel((x, bar.height - 1)) for x in (0, bar.width // 2, bar.width - 1)]
    assert all(abs(here - wanted) < 8 for pixel in line for here, wanted in zip(pixel, GOLD, strict=True)), line  # a shadow lies on it


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
    assert likeness(browser.element("img"), logo) > ALIKE
    assert get(browser.icon()).content == (platform.project / "branding" / "favicon.ico").read_bytes()
    assert browser.style("#login_submit", "backgroundColor") == "rgb(184, 134, 11)"
    assert browser.style("#jupyter-main-app", "backgroundColor") == "rgb(255, 250, 240)"
    browser.save_for_readme("login")
