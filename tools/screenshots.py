"""Take the pictures of the README anew: `python tools/screenshots.py`. Brings up a platform of its own for it and builds OOB2, a quarter of an hour.

The pictures are what the browser tests see while they check the pages.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "images"
TESTS = [f"tests/{name}.py" for name in ("integration/test_branding_browser", "integration/test_status", "scenarios/test_branding_browser")]
MOST_BYTES = 150_000


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-m", "pytest", "-q", *TESTS]
    done = subprocess.run(argv, cwd=ROOT, env={**os.environ, "GOLDEN_JOBS_SCREENSHOTS": str(FOLDER)}, check=False)
    for path in sorted(FOLDER.glob("*.png")):
        size = path.stat().st_size
        print(f"{path.relative_to(ROOT)}  {size / 1000:.0f} kB")
        if size > MOST_BYTES:
            sys.exit(f"{path.relative_to(ROOT)} is bigger than {MOST_BYTES // 1000} kB: take fewer colours in tests/browser.py")
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
