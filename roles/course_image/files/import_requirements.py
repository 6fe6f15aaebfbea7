# Imports what the distributions of REQUIREMENTS bring, as their own metadata says it.
import importlib
import re
import sys

try:
    from importlib import metadata
except ImportError:  # Python 3.7
    import importlib_metadata as metadata


def modules(distribution):
    listed = (distribution.read_text("top_level.txt") or "").split()
    if not listed:
        tops = {
            str(path).split("/")[0] for path in distribution.files or [] if re.search(r"^[^/]+/__init__\.py$|^[^/]+\.(py|so)$", str(path))
        }
        listed = sorted(top.split(".")[0] for top in tops)
    same = [name for name in listed if name.lower() == re.sub(r"[-.]+", "_", distribution.metadata["Name"]).lower()]
    return same or [name for name in listed if not name.startswith("_")]


failed = []
for requirement in REQUIREMENTS:  # noqa: F821 - see vars/main.yml
    name = requirement["name"]
    try:
        distribution = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        if not requirement["conditional"]:
            failed.append(name + " is not installed")
        continue
    for module in modules(distribution):
        try:
            importlib.import_module(module)
        except Exception as error:
            failed.append(f"{module} (of {name}): {type(error).__name__}: {error}")
if failed:
    sys.exit("; ".join(failed))
