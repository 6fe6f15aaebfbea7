"""Put our logos in the place of Jupyter's, for the interpreter that runs this file.

jupyter_server (Notebook 7, JupyterLab) looks into `extra_static_paths` before its own folder: its files stay as they
are, and an upgrade of it does not bring its logos back. The classic pages (nbclassic, Notebook 6) do not look there:
their files are replaced in place. Fails when there is nothing to replace: then Jupyter has moved its files, and a
build that goes on would show Jupyter's logo.
"""

from __future__ import annotations

import json
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

BRANDING = Path(__file__).resolve().parent
TARGET = Path("/opt/branding/static")  # as in jupyter_server_config.json
#: Our image -> the files that it replaces, relative to the static folder of jupyter_server.
PLACES = {
    "logo.png": ["logo/logo.png"],
    "favicon.ico": ["favicon.ico", "favicons/favicon.ico", "favicons/favicon-file.ico", "favicons/favicon-notebook.ico"],
    "favicon-busy.ico": ["favicons/favicon-busy-1.ico", "favicons/favicon-busy-2.ico", "favicons/favicon-busy-3.ico"],
    "favicon-terminal.ico": ["favicons/favicon-terminal.ico"],
}
CLASSIC = ("nbclassic", "notebook")


def main() -> None:
    placed = [*brand_server(), *brand_classic()]
    if not placed:
        sys.exit(f"branding: {sys.executable} has no Jupyter whose logos could be replaced (jupyter_server, nbclassic or notebook < 7)")
    print(f"branding: {len(placed)} files of Jupyter replaced for {sys.executable}")


def static_folder(package: str) -> Path | None:
    """The package's folder of static files, found without importing the package."""
    spec = find_spec(package)
    folder = Path(spec.submodule_search_locations[0], "static") if spec and spec.submodule_search_locations else None
    return folder if folder and folder.is_dir() else None


def brand_server() -> list[Path]:
    stock = static_folder("jupyter_server")
    if stock is None:
        return []
    placed = []
    for image, places in PLACES.items():
        for place in places:
            if not (stock / place).is_file():
                sys.exit(
                    f"branding: {stock / place} does not exist, so {image} has nothing to replace: correct PLACES in branding/install.py"
                )
            put(BRANDING / image, TARGET / place)
            placed.append(TARGET / place)
    # The logo in the top left corner is an SVG inside the scripts; this is the one folder of custom.css that
    # Notebook and JupyterLab share and that no volume over the home folder hides.
    put(BRANDING / "custom.css", stock / "custom" / "custom.css")
    configure(Path(sys.prefix, "etc", "jupyter", "jupyter_server_config.json"))
    return placed


def brand_classic() -> list[Path]:
    placed = []
    images = {Path(place).name: image for image, places in PLACES.items() for place in places}
    for package in CLASSIC:
        stock = static_folder(package)
        for old in sorted(stock.rglob("*")) if stock else []:
            if old.name in images and old.is_file():
                put(BRANDING / images[old.name], old)
                placed.append(old)
    return placed


def configure(path: Path) -> None:
    """Our settings on top of those that the base image may have there."""
    config = json.loads(path.read_text()) if path.exists() else {}
    for section, settings in json.loads((BRANDING / "jupyter_server_config.json").read_text()).items():
        config.setdefault(section, {}).update(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(config, indent=2) + "\n")


def put(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o644)


if __name__ == "__main__":
    main()
