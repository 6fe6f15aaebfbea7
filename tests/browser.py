"""Debian's Chromium without a window, driven by its chromedriver over the W3C WebDriver protocol."""

from __future__ import annotations

import base64
import io
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import requests
from PIL import Image, ImageChops

from tests.support import free_ports, install, wait_for

WINDOW = (1000, 640)
#: From here on two pictures show the same, see `likeness`.
ALIKE = 0.9


class Browser:
    """One browser window. A context manager; pages are asked by JavaScript, pictures are of what is really drawn."""

    def __init__(self) -> None:
        if not (shutil.which("chromium") and shutil.which("chromedriver")):
            install("chromium", "chromium-driver")
        self._folder = tempfile.TemporaryDirectory(prefix="golden-jobs-browser-", ignore_cleanup_errors=True)
        port = free_ports(1)
        self._driver = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._http = requests.Session()
        self._http.trust_env = False
        self._address = f"http://127.0.0.1:{port}"
        try:
            wait_for(lambda: self._http.get(f"{self._address}/status", timeout=5).json()["value"]["ready"])
            arguments = [
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-proxy-server",
                "--hide-scrollbars",
                "--lang=en-US",
                f"--user-data-dir={self._folder.name}",
                f"--window-size={WINDOW[0]},{WINDOW[1]}",
            ]
            wanted = {"browserName": "chrome", "goog:chromeOptions": {"args": arguments}, "goog:loggingPrefs": {"browser": "ALL"}}
            self._session = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        if hasattr(self, "_session"):
            self._ask("DELETE", f"/session/{self._session}")
            del self._session
        self._driver.terminate()
        self._driver.wait()
        self._http.close()
        self._folder.cleanup()

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        answer = self._http.request(method, self._address + path, json=body, timeout=120)
        value = answer.json()["value"]
        assert answer.ok, value
        return value

    def _do(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        return self._ask(method, f"/session/{self._session}/{path}", body)

    def open(self, url: str) -> None:
        try:
            self._do("POST", "url", {"url": url})
        except AssertionError as error:
            if "ERR_NETWORK_CHANGED" not in str(error):  # else `wait` loads it again
                raise

    def script(self, code: str, *arguments: Any) -> Any:
        """What JavaScript `return`s in the page."""
        return self._do("POST", "execute/sync", {"script": code, "args": list(arguments)})

    def wait(self, selector: str, timeout_s: float = 120.0) -> None:
        """Until an element of that CSS selector is visible. A container that comes or goes changes the machine's network, for
        which Chromium breaks off what it loads: the page is then loaded again, as a person would."""
        visible = "const e = document.querySelector(arguments[0]); return !!e && e.getClientRects().length > 0 && e.offsetWidth > 0;"
        deadline = time.monotonic() + timeout_s
        reload = time.monotonic() + timeout_s / 4
        while not self.script(visible, selector):
            text = str(self.script("return document.body ? document.body.innerText : ''"))
            assert time.monotonic() < deadline, f"{selector} did not appear: {text[:500]!r}"
            if "ERR_NETWORK_CHANGED" in text or time.monotonic() > reload:
                reload = time.monotonic() + timeout_s / 4
                self._do("POST", "refresh", {})
            time.sleep(0.1)

    def style(self, selector: str, name: str, pseudo: str | None = None) -> str:
        """A property of the element's computed style."""
        code = "return getComputedStyle(document.querySelector(arguments[0]), arguments[2])[arguments[1]];"
        return str(self.script(code, selector, name, pseudo))

    def element(self, selector: str) -> Image.Image:
        """The element as it is drawn."""
        return _picture(self._do("GET", f"{self._found(selector)}/screenshot"))

    def click(self, selector: str, timeout_s: float = 30.0) -> None:
        """What a person's click does. A page that is still being drawn replaces its elements or lays others over them: then again."""
        self.wait(selector)
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self._do("POST", f"{self._found(selector)}/click", {})
                return
            except AssertionError as error:
                if time.monotonic() > deadline or not re.search(
                    "stale element|click intercepted|not interactable|no such element", str(error)
                ):
                    raise
                time.sleep(0.1)

    def _found(self, selector: str) -> str:
        found = self._do("POST", "element", {"using": "css selector", "value": selector})
        return f"element/{next(iter(found.values()))}"

    def window(self) -> Image.Image:
        return _picture(self._do("GET", "screenshot"))

    def icon(self) -> str:
        """Address of the tab's icon as the page links it; of several, the first that is no alternate."""
        code = (
            "const links = [...document.querySelectorAll('link[rel~=icon]')];"
            "return (links.find(one => !one.rel.includes('alternate')) || links[0]).href;"
        )
        return str(self.script(code))

    def save(self, path: Path, colours: int = 64) -> None:
        """The window as a small PNG: pages have few colours."""
        self.window().convert("RGB").quantize(colours, dither=Image.Dither.NONE).save(path, optimize=True)

    def save_for_readme(self, name: str) -> None:
        """Where `tools/screenshots.py` wants it, else not at all."""
        folder = os.environ.get("GOLDEN_JOBS_SCREENSHOTS")
        if folder:
            self.script("document.querySelectorAll('.Toastify').forEach(toast => toast.remove())")
            self.save(Path(folder) / f"{name}.png")


def picture_of(content: bytes) -> Image.Image:
    """A picture file's content."""
    with Image.open(io.BytesIO(content)) as opened:
        return opened.convert("RGBA")


def _picture(data: str) -> Image.Image:
    return picture_of(base64.b64decode(data))


def likeness(drawn: Image.Image, ours: Image.Image, opacity: float = 1.0) -> float:
    """How alike a part of a page and a picture of ours are: 1 is the same, 0.5 is chance. Ours is laid on the page's ground, both get one size."""
    laid = Image.new("RGBA", ours.size, drawn.convert("RGBA").getpixel((0, 0)))
    faded = ours.convert("RGBA")
    faded.putalpha(faded.getchannel("A").point(lambda value: round(value * opacity)))
    laid.alpha_composite(faded)
    laid = laid.crop(box_of(laid))
    size = (120, max(1, round(120 * laid.height / laid.width)))
    plain = [one.convert("L").resize(size, Image.Resampling.BOX) for one in (drawn.crop(box_of(drawn)), laid)]
    values = [list(one.tobytes()) for one in plain]
    means = [sum(one) / len(one) for one in values]
    spread = [sum((value - mean) ** 2 for value in one) ** 0.5 for one, mean in zip(values, means, strict=True)]
    if not all(spread):
        return 0.0
    product = sum((a - means[0]) * (b - means[1]) for a, b in zip(*values, strict=True))
    return 0.5 + 0.5 * product / (spread[0] * spread[1])


def box_of(picture: Image.Image) -> tuple[int, int, int, int] | None:
    """Bounds of what differs from the colour of the picture's top left pixel."""
    plain = picture.convert("RGB")
    ground = Image.new("RGB", plain.size, plain.getpixel((0, 0)))
    return ImageChops.difference(plain, ground).convert("L").point(lambda value: 255 if value > 24 else 0).getbbox()
