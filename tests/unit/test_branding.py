"""course_branding makes each picture that is shown; branding/brand.py puts them in the place of the stock ones."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.golden_jobs import branding
from ansible.module_utils.golden_jobs.errors import GoldenJobsError
from PIL import Image

from tests.drawn import draw
from tests.support import ROOT

LOGO = ROOT / "branding" / "logo.png"
FAVICON = ROOT / "branding" / "favicon.ico"
PROGRAMS = [str(ROOT / "branding" / name) for name in ("brand.py", "custom.css")]


def make(dest: Path, **options: Any) -> dict[str, Any]:
    """The module's result, without Ansible around it."""
    return draw(dest, **{"logo": str(LOGO), "favicon": str(FAVICON), "files": PROGRAMS, **options})


def picture(path: Path) -> Image.Image:
    with Image.open(path) as opened:
        opened.load()
        return opened


# -- the pictures ------------------------------------------------------------------------------------------------------


def test_the_projects_own_files_are_taken_over_byte_by_byte(tmp_path: Path):
    make(tmp_path, favicon_terminal=str(ROOT / "branding" / "favicon-terminal.ico"))
    for name in ("logo.png", "favicon.ico", "favicon-terminal.ico", "brand.py", "custom.css"):
        assert (tmp_path / name).read_bytes() == (ROOT / "branding" / name).read_bytes()
    assert (tmp_path / "favicon-busy.ico").read_bytes() == FAVICON.read_bytes()  # not given


def test_each_picture_is_what_its_name_says(tmp_path: Path):
    files = make(tmp_path)["files"]
    for size in branding.ICON_SIZES:
        for kind in ("icon", "icon-maskable"):
            assert picture(tmp_path / f"{kind}-{size}.png").size == (size, size)
    assert picture(tmp_path / "icon-maskable-512.png").convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 255)
    assert picture(tmp_path / "icon-512.png").convert("RGBA").getpixel((0, 0))[3] == 0
    for name in ("favicon.svg", "letterpress.svg"):
        data = re.search(r"base64,([^\"]+)", (tmp_path / name).read_text())
        assert data
        Image.open(io.BytesIO(base64.b64decode(data[1]))).load()
    described = json.loads((tmp_path / "brand.json").read_text())
    assert described["files"] == files == {name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in files}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "ICO"])
def test_a_logo_and_a_favicon_may_be_of_any_usual_format(tmp_path: Path, kind: str):
    given = tmp_path / "given"
    Image.new("RGB", (120, 60), "#b8860b").save(given, format=kind)
    make(tmp_path / "out", logo=str(given), favicon=str(given))
    assert picture(tmp_path / "out" / "logo.png").format == "PNG"
    icon = picture(tmp_path / "out" / "favicon.ico")
    assert icon.format == "ICO"
    assert kind == "ICO" or {(16, 16), (32, 32), (64, 64)} <= icon.info["sizes"]


def test_the_same_branding_is_the_same_bytes_and_what_is_left_over_goes(tmp_path: Path):
    first = make(tmp_path / "a")["files"]
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "old-logo.png").write_bytes(b"old")
    assert make(tmp_path / "b")["files"] == first
    assert sorted(os.listdir(tmp_path / "a")) == sorted(os.listdir(tmp_path / "b"))
    changed = make(tmp_path / "b", logo=str(FAVICON))["files"]
    assert {name for name in first if changed[name] != first[name]} == {"logo.png", "letterpress.svg"}


def bad_png(path: Path) -> None:
    path.write_bytes(LOGO.read_bytes()[:3000])


BAD = {
    "not an image": (lambda path: path.write_text("<html>404</html>"), "is not an image"),
    "empty": (lambda path: path.write_bytes(b""), "is not an image"),
    "cut off": (bad_png, "is not an image, or a damaged one"),
    "a drawing": (lambda path: path.write_text('<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>'), "is an SVG drawing"),
    "too heavy": (lambda path: path.write_bytes(b"x" * (5 << 20)), "has 5 MiB: at most 4 MiB"),
    "too big": (lambda path: Image.new("1", (9000, 9000)).save(path, format="PNG"), "has 9000 x 9000 pixels: at most 4096 x 4096"),
    "missing": (lambda path: None, "cannot be read: No such file or directory"),
    "a folder": (lambda path: path.mkdir(), "cannot be read: Is a directory"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("option", branding.IMAGES)
def test_what_is_no_image_is_refused_in_one_sentence_before_anything_is_written(tmp_path: Path, case: str, option: str):
    write, words = BAD[case]
    given = tmp_path / "given.png"
    write(given)
    with pytest.raises(GoldenJobsError) as refused:
        make(tmp_path / "out", **{option: str(given), "written": {option: "inventory/courses.yml:12"}})
    assert str(refused.value).startswith(f"The {option} {given} (inventory/courses.yml:12) ")
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["", " x", "a{{ b }}", "<b>", 'say "x"', "a\nb", "x" * 61])
def test_a_name_that_cannot_be_shown_everywhere_is_refused(tmp_path: Path, name: str):
    with pytest.raises(GoldenJobsError, match="cannot be shown everywhere"):
        make(tmp_path / "out", product_name=name)


@pytest.mark.parametrize("colour", ["gold", "#fff", "#12345g", "#b8860b;}"])
def test_a_colour_that_is_none_is_refused(tmp_path: Path, colour: str):
    with pytest.raises(GoldenJobsError, match="is no colour: write it as '#b8860b'"):
        make(tmp_path / "out", theme={"color": colour})


def test_pictures_are_drawn_again_only_when_something_they_are_made_of_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    logo, out = tmp_path / "logo.png", tmp_path / "out"
    logo.write_bytes(LOGO.read_bytes())
    first = make(out, logo=str(logo))
    drawn = picture(out / "icon-192.png").tobytes()

    def forbidden(*_args: Any) -> None:
        raise AssertionError("drawn again")

    with monkeypatch.context() as patched:
        patched.setattr(branding, "_files", forbidden)
        assert make(out, logo=str(logo)) == first
        for change in ({"product_name": "Another"}, {"theme": {"color": "#000000"}}, {"logo": str(FAVICON)}, {"files": PROGRAMS[:1]}):
            with pytest.raises(AssertionError, match="drawn again"):
                make(out, **{"logo": str(logo), **change})
    (out / "icon-192.png").write_bytes(b"damaged")
    assert make(out, logo=str(logo)) == first
    assert picture(out / "icon-192.png").tobytes() == drawn
    Image.new("RGB", (20, 10), "red").save(logo)
    assert make(out, logo=str(logo))["files"]["logo.png"] != first["files"]["logo.png"]
    assert (out / "logo.png").read_bytes() == logo.read_bytes()


def brand(branding: dict[str, Any], course_branding: Any, root: str = "/project") -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location("course_image_filters", ROOT / "plugins" / "filter" / "course_image.py")
    assert spec
    assert spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    made: dict[str, Any] = loaded.FilterModule().filters()["course_image_brand"](branding, course_branding, root)
    return made


@pytest.mark.parametrize(
    ("course", "changed"),
    [
        ({}, {}),
        (None, {}),
        ({"logo": "dockerfiles/OOB3/logo.png"}, {"logo": "/project/dockerfiles/OOB3/logo.png"}),
        ({"theme": {"color": "#000000"}}, {"theme": {"color": "#000000", "background": "#ffffff"}}),
        ({"favicon_busy": "", "product_name": None}, {"favicon_busy": ""}),
    ],
)
def test_a_course_lays_its_own_branding_on_top(course: Any, changed: dict[str, Any]):
    everywhere = {
        "product_name": "Golden Jobs",
        "logo": "branding/logo.png",
        "favicon": "/elsewhere/favicon.ico",
        "favicon_busy": "branding/busy.ico",
        "theme": {"color": "#b8860b", "background": "#ffffff"},
    }
    paths = {"logo": "/project/branding/logo.png", "favicon_busy": "/project/branding/busy.ico"}
    assert brand(everywhere, course) == {**everywhere, **paths, **changed, "written": {}}


# -- the program in the image ------------------------------------------------------------------------------------------


def stock(name: str) -> bytes:
    return b"stock " + name.encode()


def png(width: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, width)).save(buffer, format="PNG")
    return buffer.getvalue()


class Fake:
    """Folders laid out like an installed Jupyter and code-server, and brand.py with /opt/branding in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "opt"
        self.packages = folder / "packages"
        self.bin = folder / "bin"
        self.bin.mkdir(parents=True)
        make(folder / "branding")
        program = folder / "branding" / "brand.py"
        text = program.read_text()
        # Nothing of the machine that runs the tests may be taken for the image's.
        for old, new in (
            ('HOME = Path("/opt/branding")', f"HOME = Path({str(self.home)!r})"),
            ('IMAGE = Path("/")', f"IMAGE = Path({str(folder)!r})"),
            ("sys.prefix", repr(str(folder / "prefix"))),
        ):
            assert text.count(old) == 1
            text = text.replace(old, new)
        program.write_text(text)

    def package(self, name: str, *files: str) -> Path:
        static = self.packages / name / "static"
        static.mkdir(parents=True)
        (self.packages / name / "__init__.py").write_text("raise SystemExit('imported')\n")
        for file in files:
            (static / file).parent.mkdir(parents=True, exist_ok=True)
            (static / file).write_bytes(stock(file))
        return static

    def server(self) -> Path:
        icons = [f"favicons/favicon{part}.ico" for part in ("", "-busy-1", "-busy-2", "-busy-3", "-file", "-notebook", "-terminal")]
        return self.package("jupyter_server", "favicon.ico", *icons, "logo/logo.png", "style/style.min.css")

    def code_server(self, **more: bytes) -> Path:
        root = self.folder / "node" / "code-server"
        files: dict[str, bytes] = {
            "package.json": b'{"bin": {"code-server": "out/node/entry.js"}}',
            "out/node/entry.js": b'#!/usr/bin/env node\n"use strict";\nstart()\n',
            "lib/vscode/product.json": b'{"nameShort": "code-server", "commit": "1"}',
            "lib/vscode/out/vs/code/browser/workbench/workbench.html": b'<meta name="apple-mobile-web-app-title" content="Code">\n<p>x</p>',
            "lib/vscode/resources/server/code-192.png": png(1024),  # so it is in 4.139.1
            "lib/vscode/node_modules/thing/logo.png": b"a library's",
            "lib/vscode/extensions/theme/logo.png": b"an extension's",
            "src/browser/media/pwa-icon-192.png": png(192),
            "src/browser/media/pwa-icon-maskable-512.png": png(512),
            **{f"lib/vscode/out/media/{name}.svg": stock(name) for name in ("code-icon", "letterpress-dark", "letterpress-hcLight")},
            **{f"src/browser/media/{name}": stock(name) for name in ("favicon.ico", "favicon.svg", "favicon-dark-support.svg")},
            **more,
        }
        for path, content in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content)
        (root / "out/node/entry.js").chmod(0o755)
        (self.bin / "code-server").symlink_to(root / "out/node/entry.js")
        return root

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {"PYTHONPATH": str(self.packages), "PATH": str(self.bin), "PYTHONSAFEPATH": "1"}
        argv = [sys.executable, "-S", str(self.folder / "branding" / "brand.py"), *arguments]
        return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)

    def ours(self, name: str) -> bytes:
        return (self.folder / "branding" / name).read_bytes()


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    return Fake(tmp_path)


def test_jupyters_logos_are_replaced_in_place_and_kept_for_an_upgrade(fake: Fake):
    static = fake.server()
    done = fake.run()
    assert done.returncode == 0, done.stderr
    assert "jupyter_server: 9 logos replaced below" in done.stdout
    assert (static / "logo/logo.png").read_bytes() == fake.ours("logo.png") == (fake.home / "static/logo/logo.png").read_bytes()
    assert (static / "favicons/favicon-busy-2.ico").read_bytes() == fake.ours("favicon-busy.ico")
    assert (static / "favicons/favicon-console.ico").read_bytes() == fake.ours("favicon.ico")
    assert (static / "style/style.min.css").read_bytes() == stock("style/style.min.css")
    assert "--brand-color: #b8860b;" in (static / "custom/custom.css").read_text()
    settings = json.loads((fake.folder / "prefix/etc/jupyter/jupyter_server_config.json").read_text())
    assert settings["ServerApp"]["extra_static_paths"] == [str(fake.home / "static")]


def test_a_second_run_changes_nothing(fake: Fake):
    fake.server()
    fake.code_server()

    def everything() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in fake.folder.rglob("*") if path.is_file()}

    assert fake.run().returncode == 0
    once = everything()
    assert fake.run().returncode == 0
    assert everything() == once


def test_settings_of_the_base_image_stay(fake: Fake):
    fake.server()
    path = fake.folder / "prefix/etc/jupyter/jupyter_server_config.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"ServerApp": {"root_dir": "/home"}, "Other": {"x": 1}}')
    assert fake.run().returncode == 0
    settings = json.loads(path.read_text())
    assert settings["ServerApp"]["root_dir"] == "/home"
    assert settings["Other"] == {"x": 1}


def test_code_servers_logos_and_names_are_replaced(fake: Fake):
    root = fake.code_server()
    done = fake.run()
    assert done.returncode == 0, done.stderr
    media = root / "src/browser/media"
    for name in ("favicon.svg", "favicon-dark-support.svg"):
        assert (media / name).read_bytes() == fake.ours("favicon.svg")
    assert (media / "favicon.ico").read_bytes() == fake.ours("favicon.ico")
    assert (root / "lib/vscode/resources/server/code-192.png").read_bytes() == fake.ours("icon-192.png")
    assert (media / "pwa-icon-192.png").read_bytes() == fake.ours("icon-192.png")
    assert (media / "pwa-icon-maskable-512.png").read_bytes() == fake.ours("icon-maskable-512.png")
    assert (root / "lib/vscode/out/media/letterpress-dark.svg").read_bytes() == fake.ours("letterpress.svg")
    assert (root / "lib/vscode/out/media/code-icon.svg").read_bytes() == fake.ours("favicon.svg")
    assert (root / "lib/vscode/node_modules/thing/logo.png").read_bytes() == b"a library's"
    entry = (root / "out/node/entry.js").read_text().splitlines()
    assert entry == ["#!/usr/bin/env node", '"use strict";', 'process.env.CODE_SERVER_APP_NAME ||= "Golden Jobs";', "start()"]
    assert os.access(root / "out/node/entry.js", os.X_OK)
    page = (root / "lib/vscode/out/vs/code/browser/workbench/workbench.html").read_text()
    assert page == '<meta name="apple-mobile-web-app-title" content="Golden Jobs">\n<p>x</p>'
    assert json.loads((root / "lib/vscode/product.json").read_text()) == {"nameShort": "Golden Jobs", "commit": "1"}


def test_a_hard_link_into_a_package_cache_leaves_the_cache_alone(fake: Fake):
    static = fake.server()
    os.link(static / "logo/logo.png", fake.folder / "cached")
    assert fake.run().returncode == 0
    assert (fake.folder / "cached").read_bytes() == stock("logo/logo.png")


@pytest.mark.parametrize(
    ("path", "program"),
    [("favicons/favicon-new.ico", "jupyter"), ("images/JupyterLogo.svg", "jupyter"), ("src/browser/media/logo-2.webp", "code-server")],
)
def test_a_stock_logo_that_nobody_knows_fails_the_build(fake: Fake, path: str, program: str):
    if program == "jupyter":
        (fake.server() / path).parent.mkdir(exist_ok=True)
        (fake.packages / "jupyter_server/static" / path).write_bytes(b"stock")
    else:
        fake.code_server(**{path: b"stock"})
    done = fake.run()
    assert done.returncode == 1
    assert done.stderr.startswith("branding: nobody has said what replaces ")
    assert path in done.stderr


def test_logos_that_have_moved_fail_the_build(fake: Fake):
    fake.package("jupyter_server", "img/brand.bin")
    done = fake.run()
    assert done.returncode == 1
    assert "have no logo.png, favicon.ico and favicon-terminal.ico to replace" in done.stderr


def test_a_code_server_without_a_watermark_fails_the_build(fake: Fake):
    root = fake.code_server()
    for path in root.rglob("letterpress*"):
        path.unlink()
    done = fake.run()
    assert done.returncode == 1
    assert "has no letterpress to replace" in done.stderr


def test_an_image_with_nothing_to_replace_fails_the_build(fake: Fake):
    done = fake.run()
    assert done.returncode == 1
    assert "has neither Jupyter" in done.stderr


def test_a_stock_logo_that_comes_back_is_listed_as_not_ours(fake: Fake):
    static = fake.server()
    assert fake.run().returncode == 0
    (static / "logo/logo.png").write_bytes(b"stock again")
    rows = json.loads(fake.run("list").stdout)
    assert [row["url"] for row in rows if not row["ours"]] == ["/static/logo/logo.png"]
    assert len(rows) > 8


@pytest.mark.parametrize("head", ["#!{python}\n", "#!/bin/sh\n'''exec' \"{python}\" \"$0\" \"$@\"\n' '''\n"])
def test_the_python_of_jupyter_decides_and_not_the_one_on_the_path(fake: Fake, head: str):
    other = fake.folder / "venv" / "bin"
    other.mkdir(parents=True)
    (other / "python3").symlink_to(sys.executable)
    (fake.bin / "jupyter").write_text(head.format(python=other / "python3"))
    (fake.bin / "jupyter").chmod(0o755)
    done = fake.run()
    assert done.returncode == 1
    assert str(other / "python3") in done.stderr
