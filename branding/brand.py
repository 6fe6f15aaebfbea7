"""Put the project's logos in the place of Jupyter's and code-server's, in the image in which this file runs.

    python3 brand.py                     replace what is there; fails when a stock logo is left or nothing was found
    python3 brand.py list                every logo of Jupyter and code-server as JSON: path, URL, digest, ours or not
    python3 brand.py served ADDRESS...   ask the servers at these addresses for every logo and name that they show

`macros/branding.j2` runs it as the last step of a build; a copy stays in /opt/branding for the other two. What our
files are is in brand.json beside it, which the module course_branding writes. Python's standard library, 3.7 or later.
"""

from __future__ import annotations

import hashlib
import html
import json
import os
import re
import shutil
import struct
import sys
import urllib.error
import urllib.request
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
HOME = Path("/opt/branding")
IMAGE = Path("/")

#: What Jupyter calls a logo -> our file. The same names in jupyter_server, nbclassic and notebook 6.
JUPYTER = {
    "logo.png": "logo.png",
    "favicon.ico": "favicon.ico",
    "favicon-file.ico": "favicon.ico",
    "favicon-notebook.ico": "favicon.ico",
    "favicon-console.ico": "favicon.ico",
    "favicon-terminal.ico": "favicon-terminal.ico",
    "favicon-busy-1.ico": "favicon-busy.ico",
    "favicon-busy-2.ico": "favicon-busy.ico",
    "favicon-busy-3.ico": "favicon-busy.ico",
}
JUPYTER_PACKAGES = ("jupyter_server", "nbclassic", "notebook")
#: The layout of jupyter_server's static folder, for HOME/static.
SERVER_LAYOUT = {name: "logo/logo.png" if name == "logo.png" else "favicons/" + name for name in JUPYTER}

#: code-server: pattern of the path below its root -> our file; {size} is the width in pixels.
CODE_SERVER = [
    (r"src/browser/media/favicon\.ico", "favicon.ico"),
    (r"src/browser/media/favicon[\w-]*\.svg", "favicon.svg"),
    (r"src/browser/media/pwa-icon-maskable[\w-]*\.png", "icon-maskable-{size}.png"),
    (r"src/browser/media/pwa-icon[\w-]*\.png", "icon-{size}.png"),
    (r"lib/vscode/(?!.*node_modules/).*/code-icon\.svg", "favicon.svg"),
    (r"lib/vscode/(?!.*node_modules/).*/letterpress[\w-]*\.svg", "letterpress.svg"),
    (r"lib/vscode/resources/server/favicon\.ico", "favicon.ico"),
    (r"lib/vscode/resources/server/code-\d+\.png", "icon-{size}.png"),
]
NAME_LINE = "process.env.CODE_SERVER_APP_NAME ||= "
#: A file with such a name is a logo: one that no rule above replaces fails the build.
LOGO_NAME = re.compile(r".*(?:favicon|logo|pwa-icon|code-icon|letterpress)[\w-]*\.(?:ico|png|svg|gif|jpe?g|webp)", re.IGNORECASE)
#: Folders of libraries whose own pictures no page shows.
LIBRARIES = re.compile(r"(?:^|/)(?:components|node_modules|extensions)/")
#: Folders of the image in which no program of its own lies, and names of folders of package managers' caches.
NOT_OURS = ("proc", "sys", "dev", "run", "mnt", "tmp")
CACHES = {".cache", "pkgs", "node_modules", ".git"}
#: sha256 of stock logos, whatever their name, and their sizes in bytes: Jupyter's have been the same since notebook 6.4.
STOCK_SIZES = {32038, 5922, 1150}
STOCK = {
    "c2638a89fde3633617ec624088730c1dbe4daf18d4f2e44729ece89df3e60176": "favicon.ico",
    "5578515b485349fe206120dbf5604c75700178867d04331e0942e367370dc244": "logo.png",
    "e3d7b23e611172246668523675a107764d13fe65d0110de3d399de851515fe1c": "favicon-notebook.ico",
    "988e17e98b94c27a9b3065f297041b6a9629aa82819b3ca507e02b6fc1536518": "favicon-terminal.ico",
    "8d19ae451c9f411a6c60124ac750e3bee8719ff26f405de1c5abff629c51b329": "favicon-file.ico",
    "5de41363f5f06a3a2fb517ab570a61138891849f46510b8465c41da02ef49912": "favicon-busy-1.ico",
    "4d9e5bc5bcdb03573d69a1a4c8b33f80bf7b7026117dec844269206c1601e936": "favicon-busy-2.ico",
    "3a646fc14338583dd6624424051856da06b0c06b30045ee268120fa924813522": "favicon-busy-3.ico",
}


def main(arguments):
    command, rest = (arguments[0] if arguments else "install"), arguments[1:]
    if command == "install" and not rest:
        in_jupyters_python(arguments)
        install()
    elif command == "list" and not rest:
        in_jupyters_python(arguments)
        print(json.dumps(logos(), indent=2))
    elif command == "served" and rest:
        in_jupyters_python(arguments)
        served(rest)
    else:
        sys.exit("usage: brand.py [install | list | served ADDRESS...]")


def brand():
    """What course_branding wrote: product_name, theme, and the sha256 of each of our files."""
    return json.loads((HERE / "brand.json").read_text(encoding="utf-8"))


# -- what is in the image ----------------------------------------------------------------------------------------------


def in_jupyters_python(arguments):
    """Go on in the interpreter that runs `jupyter`: its packages are the ones to look at. Without a jupyter, in this one."""
    jupyter = shutil.which("jupyter")
    python = interpreter(Path(jupyter)) if jupyter else None
    if python and Path(python).parent != Path(sys.executable).parent and "BRAND_PYTHON" not in os.environ:
        os.environ["BRAND_PYTHON"] = python
        os.execv(python, [python, str(HERE / "brand.py"), *arguments])  # noqa: S606 - our own file, no shell wanted


def interpreter(script):
    """The Python of an installed script: from its first line, or from the second where a long path made it `#!/bin/sh`."""
    lines = script.read_bytes().splitlines()[:3]
    found = re.match(rb"#! *(\S*python\S*)", lines[0]) if lines else None
    if not found and len(lines) > 1:
        found = re.match(rb"'''exec' \"?([^\" ]+)", lines[1])
    if not found:
        return None
    python = found.group(1).decode()
    return python if os.path.isabs(python) else shutil.which(python)


def static_folders():
    """Package of Jupyter -> its folder of static files, found without importing it."""
    folders = {}
    for package in JUPYTER_PACKAGES:
        spec = find_spec(package)
        for location in (spec.submodule_search_locations or []) if spec else []:
            if Path(location, "static").is_dir():
                folders[package] = Path(location, "static")
    return folders


def classic_server():
    """Whether `jupyter notebook` is Notebook 6, which serves nbclassic's files itself."""
    spec = find_spec("notebook")
    return any(Path(location, "notebookapp.py").is_file() for location in (spec.submodule_search_locations or [] if spec else []))


def code_server_root():
    """The folder of code-server's package, or None: from the program on PATH, through links and wrapper scripts."""
    program = shutil.which("code-server")
    if not program:
        return None
    path = Path(program).resolve()
    wrapped = re.search(rb"exec +\"?(/[^\s\"]+)", path.read_bytes()[:4096]) if path.suffix != ".js" else None
    starts = [path, *([Path(wrapped.group(1).decode()).resolve()] if wrapped else [])]
    for start in starts:
        for folder in start.parents:
            if (folder / "src/browser/media").is_dir():
                return folder
    sys.exit(f"branding: {program} is not code-server as its packages lay it out: no folder above {starts[-1]} has src/browser/media")


def files_below(root):
    """Paths below a folder, without Node's own packages."""
    for folder, folders, names in os.walk(str(root)):
        folders[:] = sorted(set(folders) - {"node_modules", ".git"})
        for name in sorted(names):
            yield Path(folder, name)


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def linked_size(picture):
    """Width in pixels that a PNG is linked with: the one in its name, else its own."""
    named = re.search(r"(\d+)$", picture.stem)
    return int(named.group(1)) if named else struct.unpack(">I", picture.read_bytes()[16:20])[0]


def targets():
    """Every stock logo of the image as (software, root, path, our file or None when nobody has said what replaces it)."""
    found = []
    for package, folder in static_folders().items():
        for path in files_below(folder):
            relative = path.relative_to(folder).as_posix()
            if LIBRARIES.search(relative):
                continue
            if path.name in JUPYTER or LOGO_NAME.fullmatch(path.name) or (path.suffix in (".ico", ".png") and digest(path) in STOCK):
                found.append((package, folder, path, JUPYTER.get(path.name)))
    root = code_server_root()
    if root:
        for start in ("src/browser", "lib/vscode"):
            for path in files_below(root / start):
                relative = path.relative_to(root).as_posix()
                if LIBRARIES.search(relative):
                    continue
                ours = next((ours for pattern, ours in CODE_SERVER if re.fullmatch(pattern, relative)), None)
                if ours and "{size}" in ours:
                    ours = nearest(ours, linked_size(path))
                if ours or LOGO_NAME.fullmatch(path.name):
                    found.append(("code-server", root, path, ours))
    return found


def copies():
    """Stock logos by their bytes in every other place, such as a second Jupyter: (path, our file)."""
    found = []
    for folder, folders, names in os.walk(str(IMAGE)):
        skipped = {*CACHES, *(NOT_OURS if Path(folder) == IMAGE else ())}
        folders[:] = sorted(set(folders) - skipped)
        for path in (Path(folder, name) for name in sorted(names) if name.endswith((".ico", ".png"))):
            alike = path.is_file() and not path.is_symlink() and path.stat().st_size in STOCK_SIZES
            name = STOCK.get(digest(path)) if alike else None
            if name:
                found.append((path, JUPYTER[name]))
    return found


def nearest(pattern, size):
    """Our picture of that size, or the next bigger one, or the biggest."""
    prefix, _, suffix = pattern.partition("{size}")
    sizes = sorted(
        int(name[len(prefix) : -len(suffix)]) for name in brand()["files"] if re.fullmatch(pattern.replace("{size}", r"\d+"), name)
    )
    return pattern.format(size=next((one for one in sizes if one >= size), sizes[-1]))


# -- replace -----------------------------------------------------------------------------------------------------------


def install():
    files = brand()["files"]
    for name, wanted in files.items():
        if digest(HERE / name) != wanted:
            sys.exit(f"branding: {name} in the context is not the file that brand.json describes")
    found = targets()
    undecided = [str(path) for _, _, path, ours in found if ours is None]
    if undecided:
        sys.exit(f"branding: nobody has said what replaces {', '.join(undecided)}: add a rule to branding/brand.py")
    require(found)
    for _, _, path, ours in found:
        put(HERE / ours, path)
    extra = brand_jupyter() + brand_code_server()
    others = [one for one in copies() if digest(one[0]) not in files.values()]
    for path, ours in others:
        put(HERE / ours, path)
    keep()
    left = [str(path) for _, _, path, ours in targets() if digest(path) != files[ours]]
    left += [str(path) for path, ours in others if digest(path) != files[ours]]
    if left:
        sys.exit(f"branding: these still are not ours: {', '.join(left)}")
    for software in sorted({software for software, _, _, _ in found}):
        mine = [(path, root, ours) for one, root, path, ours in found if one == software]
        print(f"{software}: {len(mine)} logos replaced below {mine[0][1]}")
        for path, root, ours in mine:
            print(f"  {path.relative_to(root).as_posix():58} {ours}")
    for path, ours in others:
        print(f"a copy in {path} replaced by {ours}")
    for line in extra:
        print(line)


def require(found):
    """Stop when a program is there and its logos are not where a logo is expected: then it has moved them."""
    names = {}
    for software, _, path, _ in found:
        names.setdefault(software, set()).add(path.name)
    folders = static_folders()
    jupyter = set().union(*(names.get(package, set()) for package in JUPYTER_PACKAGES))
    if folders and not {"logo.png", "favicon.ico", "favicon-terminal.ico"} <= jupyter:
        sys.exit(f"branding: {', '.join(map(str, folders.values()))} have no logo.png, favicon.ico and favicon-terminal.ico to replace")
    root = code_server_root()
    if root:
        ours = names.get("code-server", set())
        for wanted in ("favicon.ico", "favicon.svg", "code-icon.svg", "letterpress", "pwa-icon"):
            if not any(name.startswith(wanted) for name in ours):
                sys.exit(f"branding: {root} has no {wanted} to replace: code-server has moved its logos")
    if not folders and not root:
        sys.exit(f"branding: this image has neither Jupyter (asked {sys.executable}) nor code-server, so there is nothing to replace")


def put(source, target):
    """A new file in the place of the old one, which may be a hard link into a package cache."""
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(target.name + ".new")
    shutil.copyfile(str(source), str(new))
    new.chmod(0o644)
    os.replace(str(new), str(target))


def write(target, text):
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    target.chmod(0o644)


def style():
    theme = brand()["theme"]
    colours = f":root {{\n  --brand-color: {theme['color']};\n  --brand-background: {theme['background']};\n}}\n\n"
    return colours + (HERE / "custom.css").read_text(encoding="utf-8")


def brand_jupyter():
    """Style, names and settings, for what of Jupyter is there. What was done, a line each."""
    folders = static_folders()
    if not folders:
        return []
    name = brand()["product_name"]
    done = []
    if "jupyter_server" in folders:
        # One folder of custom.css that Notebook 7 and JupyterLab share and that no volume over the home folder hides.
        write(folders["jupyter_server"] / "custom" / "custom.css", style())
        # A page of Notebook 7 asks for this one; no package brings it.
        put(HERE / "favicon.ico", folders["jupyter_server"] / "favicons" / "favicon-console.ico")
    for package in ("nbclassic", "notebook"):
        if (folders.get(package, HERE) / "base").is_dir():
            write(folders[package] / "custom" / "custom.css", style())
    for ours, place in SERVER_LAYOUT.items():
        put(HERE / JUPYTER[ours], HOME / "static" / place)
    put(HERE / "favicon.ico", HOME / "static" / "favicon.ico")
    write(
        HOME / "templates" / "login.html",
        '{% extends "templates/login.html" %}\n'
        f"{{% block title %}}{html.escape(name)}{{% endblock %}}\n"
        f"{{% block stylesheet %}}{{{{ super() }}}}<style>\n{style()}</style>{{% endblock %}}\n",
    )
    paths = {"extra_static_paths": [str(HOME / "static")], "extra_template_paths": [str(HOME / "templates")]}
    etc = Path(sys.prefix, "etc", "jupyter")
    if "jupyter_server" in folders:
        # Searched before jupyter_server's own folder: a student's `pip install -U` does not bring the stock logos back.
        configure(etc / "jupyter_server_config.json", {"ServerApp": paths, "LabApp": {"custom_css": True}})
        configure(etc / "labconfig" / "page_config.json", {"appName": name})
        done.append(f"jupyter_server: style, log-in page and the name {name} by {etc}")
    if classic_server():
        configure(etc / "jupyter_notebook_config.json", {"NotebookApp": paths})
        done.append(f"notebook 6: style and log-in page by {etc}")
    return done


def brand_code_server():
    """Names of code-server. What was done, a line each."""
    root = code_server_root()
    if not root:
        return []
    name = brand()["product_name"]
    program = root / json.loads((root / "package.json").read_text(encoding="utf-8"))["bin"]["code-server"]
    lines = [line for line in program.read_text(encoding="utf-8").splitlines(True) if not line.startswith(NAME_LINE)]
    # code-server takes its name for title, log-in page and installed app from here; the job can still set another.
    # Behind the directive, which has to stay the first statement.
    place = next((number for number, line in enumerate(lines) if not re.match(r"#!|['\"]use strict['\"]", line)), len(lines))
    lines.insert(place, f"{NAME_LINE}{json.dumps(name)};\n")
    mode = program.stat().st_mode
    program.write_text("".join(lines), encoding="utf-8")
    program.chmod(mode)
    done = [f"code-server: is called {name} by {program}"]
    for path in (root / "lib/vscode/product.json", root / "lib/vscode/resources/server/manifest.json"):
        if path.is_file():
            content = json.loads(path.read_text(encoding="utf-8"))
            for key in ("nameShort", "nameLong", "name", "short_name"):
                if key in content:
                    content[key] = name
            write(path, json.dumps(content, indent=2) + "\n")
            done.append(f"code-server: is called {name} in {path}")
    page = root / "lib/vscode/out/vs/code/browser/workbench/workbench.html"
    if page.is_file():  # the name below the icon on the home screen of a phone
        title = re.compile(r'(<meta name="apple-mobile-web-app-title" content=")[^"]*')
        write(page, title.sub(lambda found: found.group(1) + html.escape(name), page.read_text(encoding="utf-8")))
        done.append(f"code-server: is called {name} in {page}")
    return done


def configure(path, settings):
    """Our settings on top of those that the base image may have there."""
    config = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for key, value in settings.items():
        config[key] = {**config.get(key, {}), **value} if isinstance(value, dict) else value
    write(path, json.dumps(config, indent=2) + "\n")


def keep():
    """What the two other commands need later."""
    for name in ("brand.py", "brand.json"):
        if HERE != HOME:
            put(HERE / name, HOME / name)


# -- look --------------------------------------------------------------------------------------------------------------


def logos():
    """Rows {software, path, url, sha256, ours}; url is null for what no server shows."""
    described = HERE / "brand.json"
    ours = set(brand()["files"].values()) if described.exists() else set()
    rows = []
    for software, root, path, _ in targets():
        sha256 = digest(path)
        rows.append({"software": software, "path": str(path), "url": url(software, root, path), "sha256": sha256, "ours": sha256 in ours})
    return rows


def url(software, root, path):
    """Where a server of that software shows the file, without log-in."""
    relative = path.relative_to(root).as_posix()
    if software == "code-server":
        return "/_static/" + relative
    if software == "nbclassic" and not classic_server():
        # Linked by no page, and refused once jupyter_server has served its own file of that relative path.
        return None if relative == "favicon.ico" else "/static/nbclassic/" + relative
    return "/static/" + relative


def served(addresses):
    problems, count = [], 0
    for address in (one.rstrip("/") for one in addresses):
        for path, file in shown_at(address):
            count += 1
            status, body = get(address + path)
            if status != 200:
                problems.append(f"{address}{path} answers {status or body.decode()}")
            elif hashlib.sha256(body).hexdigest() != brand()["files"][file]:
                problems.append(f"{address}{path} does not serve our {file}")
        problem = name_problem(address)
        if problem:
            problems.append(problem)
    if problems:
        sys.exit(f"branding: {'; '.join(problems)}")
    print(f"{count} addresses show our logos")


def shown_at(address):
    """(path, our file) of every logo that the server at this address shows."""
    if get(address + "/healthz")[0] == 200:
        software, paths = ("code-server",), []
    else:
        version = json.loads(get(address + "/api")[1].decode() or "{}").get("version")
        if not version:
            sys.exit(f"branding: neither Jupyter nor code-server answers at {address}")
        software = ("nbclassic", "notebook") if classic_server() else ("jupyter_server", "nbclassic")
        # With a base URL jupyter_server drops the connection for this one.
        paths = [("/favicon.ico", "favicon.ico")] if not re.match(r"https?://[^/]+/", address) else []
    found = [(url(one, root, path), ours) for one, root, path, ours in targets() if one in software]
    return paths + [(path, ours) for path, ours in found if path]


def name_problem(address):
    """What is wrong with the name on the log-in page or in the installed app's manifest, or None."""
    name = brand()["product_name"]
    if get(address + "/healthz")[0] == 200:
        shown = json.loads(get(address + "/manifest.json")[1].decode()).get("name")
        return None if shown == name else f"{address}/manifest.json is called {shown!r} instead of {name!r}"
    body = get(address + "/login")[1].decode(errors="replace")
    title = re.search(r"<title>\s*(.*?)\s*</title>", body, re.DOTALL)
    if 'name="password"' in body and (not title or html.unescape(title.group(1)) != name):
        return f"{address}/login is called {title.group(1) if title else ''!r} instead of {name!r}"
    return None


def get(address):
    """(status, body); status 0 and the reason when there is no answer. Never through a proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(address, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError as error:
        return 0, str(error).encode()


if __name__ == "__main__":
    main(sys.argv[1:])
