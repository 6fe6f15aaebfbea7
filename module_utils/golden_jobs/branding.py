"""course_branding: from the declared logo and favicons, every file that a branded image shows, in one folder.

All pictures are made here, on the control node: the image needs no program for pictures, and the smoke test compares
what is served with these very files. A PNG logo and ICO favicons are taken over byte by byte.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
from collections.abc import Mapping
from typing import Any

from .errors import GoldenJobsError
from .hashing import file_sha256

try:
    from PIL import Image
except ImportError:
    Image = None  # type: ignore[assignment]

SPEC: dict[str, Any] = {
    "dest": {"type": "path", "required": True},
    "product_name": {"type": "str", "required": True},
    "logo": {"type": "path", "required": True},
    "favicon": {"type": "path", "required": True},
    "favicon_busy": {"type": "path"},
    "favicon_terminal": {"type": "path"},
    "theme": {
        "type": "dict",
        "default": {},
        "options": {"color": {"type": "str", "default": "#b8860b"}, "background": {"type": "str", "default": "#ffffff"}},
    },
    "files": {"type": "list", "elements": "path", "default": []},
    "written": {"type": "dict", "default": {}},
}
IMAGES = ("logo", "favicon", "favicon_busy", "favicon_terminal")
#: Widths in pixels of the icons of an installed web application.
ICON_SIZES = (192, 512)
ICO_SIZES = [(16, 16), (32, 32), (48, 48), (64, 64)]
#: A maskable icon may be cut to a circle of 80 % of its width.
MASKABLE_SHARE = 0.6
SVG_SIZE = 128

_FORMATS = ("PNG", "ICO", "JPEG", "WEBP", "GIF")
_MOST_BYTES = 4 << 20
_MOST_PIXELS = 4096 * 4096
_NAME = re.compile(r"[^\x00-\x1f\x7f{}<>\"\\%]{1,60}")
_COLOR = re.compile(r"#[0-9A-Fa-f]{6}")


def run(args: Mapping[str, Any], _host: str, _check: bool) -> dict[str, Any]:
    """`{dest, files}`. Nothing is written when a picture or a value is not usable. Never changed: scratch space.

    Drawing takes a second, so what was made of the very same declaration stays.
    """
    _check_texts(args)
    made_from = _made_from(args)
    files = _made_already(args["dest"], made_from)
    if files is None:
        files = _make(args)
        _write_one(_note(args["dest"]), json.dumps({"made_from": made_from, "files": files}).encode())
    return {"dest": args["dest"], "files": _pictures(files)}


def _make(args: Mapping[str, Any]) -> dict[str, str]:
    """Every file of the folder, by name with its sha256."""
    pictures = {name: _open(name, _path(args, name), args["written"]) for name in IMAGES}
    files = _files(args, pictures)
    for path in args["files"]:
        try:
            with open(path, "rb") as handle:
                files[os.path.basename(path)] = handle.read()
        except OSError as error:
            raise GoldenJobsError(f"The file {path} of the branding cannot be read: {error.strerror}.") from error
    description = {"product_name": args["product_name"], "theme": args["theme"], "files": _pictures(_digests(files))}
    files["brand.json"] = (json.dumps(description, indent=2, sort_keys=True) + "\n").encode()
    _write(args["dest"], files)
    _remove_others(args["dest"], set(files))
    return _digests(files)


def _digests(files: Mapping[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


def _pictures(digests: Mapping[str, str]) -> dict[str, str]:
    """Without the programs and the description."""
    return {name: sha256 for name, sha256 in digests.items() if name.endswith((".png", ".ico", ".svg"))}


def _made_from(args: Mapping[str, Any]) -> str | None:
    """The sha256 of all that decides what is made: values, files, and this program. None where a file cannot be read."""
    paths = {name: _path(args, name) for name in IMAGES} | {os.path.basename(path): path for path in args["files"]}
    try:
        contents = {name: file_sha256(path) for name, path in {**paths, "": __file__}.items()}
    except OSError:
        return None
    values = {"product_name": args["product_name"], "theme": args["theme"], "contents": contents}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _made_already(dest: str, made_from: str | None) -> dict[str, str] | None:
    """The files of the folder, if it holds exactly what was made from that."""
    try:
        with open(_note(dest), encoding="utf-8") as handle:
            note = json.load(handle)
        files: dict[str, str] = note["files"]
        whole = made_from is not None and note["made_from"] == made_from and set(os.listdir(dest)) == set(files)
        return files if whole and all(file_sha256(os.path.join(dest, name)) == sha256 for name, sha256 in files.items()) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _note(dest: str) -> str:
    """Beside the folder, whose every file goes into the context."""
    return f"{dest.rstrip('/')}.json"


def served_sha256(name: str, path: str) -> str:
    """The sha256 of what a branded image serves as the picture `name` (one of IMAGES) that is declared as the file `path`."""
    wanted = "PNG" if name == "logo" else "ICO"
    return hashlib.sha256(_as(path, _open(name, path, {}), wanted)).hexdigest()


def _path(params: Mapping[str, Any], name: str) -> str:
    return str(params[name] or (params["favicon"] if name.startswith("favicon_") else ""))


def _check_texts(params: Mapping[str, Any]) -> None:
    written = params["written"]
    if not _NAME.fullmatch(params["product_name"]) or params["product_name"] != params["product_name"].strip():
        raise GoldenJobsError(
            f"The product_name {params['product_name'][:80]!r}{_where(written, 'product_name')} cannot be shown everywhere: "
            'up to 60 characters without { } < > " \\ % and line breaks are allowed.'
        )
    for name, value in params["theme"].items():
        if not _COLOR.fullmatch(value):
            raise GoldenJobsError(f"The theme's {name} {value!r}{_where(written, name)} is no colour: write it as '#b8860b'.")


def _where(written: Mapping[str, Any], name: str) -> str:
    return f" ({written[name]})" if written.get(name) else ""


def _open(name: str, path: str, written: Mapping[str, Any]) -> Any:
    """The picture, fully read, as RGBA; the biggest one of an ICO."""
    if Image is None:
        raise GoldenJobsError("The Python package pillow is not installed on the control node: `make venv` installs it.")
    label = f"The {name} {path}{_where(written, name)}"
    if not path:
        raise GoldenJobsError(f"The {name}{_where(written, name)} is empty: write the path of a picture.")
    allowed = "PNG, ICO, JPEG, WebP and GIF are allowed"
    try:
        size = os.path.getsize(path)
        with open(path, "rb") as handle:
            content = handle.read(_MOST_BYTES + 1)
    except OSError as error:
        raise GoldenJobsError(f"{label} cannot be read: {error.strerror}.") from error
    if size > _MOST_BYTES:
        raise GoldenJobsError(f"{label} has {size >> 20} MiB: at most {_MOST_BYTES >> 20} MiB are allowed for what each page loads.")
    if re.search(rb"<svg[\s>]", content[:4096]):
        raise GoldenJobsError(f"{label} is an SVG drawing: {allowed}; `rsvg-convert -h 112` makes a PNG of it.")
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as picture:
            if picture.width * picture.height > _MOST_PIXELS:
                raise GoldenJobsError(f"{label} has {picture.width} x {picture.height} pixels: at most 4096 x 4096 are allowed.")
            picture.load()
            return picture.convert("RGBA")
    except GoldenJobsError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds for a damaged file
        raise GoldenJobsError(f"{label} is not an image, or a damaged one: {allowed}.") from error


def _files(params: Mapping[str, Any], pictures: Mapping[str, Any]) -> dict[str, bytes]:
    """Name in the context -> content, of all pictures."""
    icon = pictures["favicon"]
    files = {
        "logo.png": _as(_path(params, "logo"), pictures["logo"], "PNG"),
        "favicon.ico": _as(_path(params, "favicon"), icon, "ICO"),
        "favicon-busy.ico": _as(_path(params, "favicon_busy"), pictures["favicon_busy"], "ICO"),
        "favicon-terminal.ico": _as(_path(params, "favicon_terminal"), pictures["favicon_terminal"], "ICO"),
        "favicon.svg": _svg(_fitted(icon, SVG_SIZE, SVG_SIZE)),
        "letterpress.svg": _svg(pictures["logo"], opacity=0.4),
    }
    for size in ICON_SIZES:
        files[f"icon-{size}.png"] = _png(_fitted(icon, size, size))
        files[f"icon-maskable-{size}.png"] = _png(_fitted(icon, size, size, MASKABLE_SHARE, params["theme"]["background"]))
    return files


def _as(path: str, picture: Any, wanted: str) -> bytes:
    """The file's own bytes when it has the format already."""
    with open(path, "rb") as handle:
        content = handle.read()
    with Image.open(io.BytesIO(content), formats=_FORMATS) as original:
        if original.format == wanted:
            return content
    if wanted == "PNG":
        return _png(picture)
    buffer = io.BytesIO()
    side = max(picture.size)
    _fitted(picture, side, side).save(buffer, format="ICO", sizes=[size for size in ICO_SIZES if size[0] <= max(side, 16)])
    return buffer.getvalue()


def _png(picture: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _fitted(picture: Any, width: int, height: int, share: float = 1.0, background: str | None = None) -> Any:
    """The picture in the middle of a canvas, as big as the share of the canvas allows, its proportions kept."""
    scale = min(width * share / picture.width, height * share / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    canvas = Image.new("RGBA", (width, height), background or (0, 0, 0, 0))
    scaled = picture.resize(size, Image.Resampling.LANCZOS)
    canvas.alpha_composite(scaled, ((width - size[0]) // 2, (height - size[1]) // 2))
    return canvas


def _svg(picture: Any, opacity: float = 1.0) -> bytes:
    """The picture inside an SVG: code-server links some logos as SVG only."""
    data = base64.b64encode(_png(picture)).decode()
    box = f'width="{picture.width}" height="{picture.height}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} viewBox="0 0 {picture.width} {picture.height}">'
        f'<image {box} opacity="{opacity:g}" href="data:image/png;base64,{data}"/></svg>\n'
    ).encode()


def _write(folder: str, files: Mapping[str, bytes]) -> None:
    try:
        os.makedirs(folder, exist_ok=True)
        for name, content in files.items():
            _write_one(os.path.join(folder, name), content)
    except OSError as error:
        raise GoldenJobsError(f"The folder {folder} for the branding cannot be written: {error.strerror}.") from error


def _write_one(path: str, content: bytes) -> None:
    """Whole or not at all: another run may be reading the file."""
    with open(f"{path}.{os.getpid()}", "wb") as handle:
        handle.write(content)
    os.replace(f"{path}.{os.getpid()}", path)


def _remove_others(folder: str, kept: set[str]) -> None:
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if name not in kept and os.path.isfile(path):
            os.unlink(path)
