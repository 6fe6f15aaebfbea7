"""What came out: `docs/bench/results.json`, the tables of the README and of the terminal, and which goals were missed."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import docker

from tests.bench.growth import Growth, slopes
from tests.bench.image_modules import THEIR_VENV
from tests.bench.measure import ROOT
from tests.bench.resources import Sample
from tests.bench.scenarios import CONTENDERS, SCENARIOS, Goal, Samples

FOLDER = ROOT / "docs" / "bench"
BEGIN, END = "<!-- bench -->", "<!-- /bench -->"
NAMED = {"hand": "by hand", "peer": "the peer playbook", "empty": "an empty ansible-playbook"}

Results = dict[str, Any]


def load() -> Results:
    path = FOLDER / "results.json"
    return dict(json.loads(path.read_text())) if path.exists() else {"scenarios": {}, "growth": {}}


def save(results: Results) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "results.json").write_text(json.dumps(results, indent=1) + "\n")


def add_scenarios(results: Results, samples: Samples) -> None:
    """Scenarios that were not run keep their figures."""
    for scenario, each in samples.items():
        results["scenarios"][scenario] = {**machine(), **{contender: _summary(taken) for contender, taken in each.items()}}


def add_growth(results: Results, what: str, growth: Growth) -> None:
    """`what`: courses or clusters."""
    sizes = {str(size): _summary(taken) for size, taken in growth.items()}
    walls = {size: summary(results_of)["wall_s"] for size, results_of in zip(growth, sizes.values(), strict=True)}
    results["growth"][what] = {**machine(), "sizes": sizes, "slopes_s": slopes(walls)}


def summary(entry: dict[str, Any]) -> dict[str, float]:
    """Medians of a contender in a scenario, or of a size."""
    return dict(entry["median"])


def _summary(samples: list[Sample]) -> dict[str, Any]:
    names = asdict(samples[0])
    return {
        "median": {name: round(statistics.median(getattr(sample, name) for sample in samples), 3) for name in names},
        "samples": [asdict(sample) for sample in samples],
    }


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    their_python = str(THEIR_VENV / "bin" / "python")
    asked = "import importlib.metadata as m; print(m.version('ansible'))"
    theirs = subprocess.run([their_python, "-c", asked], capture_output=True, text=True, check=False).stdout.strip()
    versions = {
        "python": platform.python_version(),
        "ansible-core": importlib.metadata.version("ansible-core"),
        "ansible": theirs,
        "engine": docker.from_env(version="auto").version()["Version"],
    }
    return {"date": datetime.date.today().isoformat(), "cores": os.cpu_count(), "versions": versions}


# ----------------------------------------------------------------------------------------------- tables


def markdown(results: Results) -> str:
    """The tables, as they stand in the README."""
    parts = [_walls(results), _resources(results), _growth(results, "courses"), _growth(results, "clusters")]
    return "\n\n".join(part for part in parts if part)


_LINKS = """\
![The same figures as a chart](docs/bench/bench.svg)

All samples and versions: [docs/bench/results.json](docs/bench/results.json)."""


def write_readme(text: str, path: Path = ROOT / "README.md") -> None:
    """Between the markers, with the chart."""
    readme = path.read_text()
    before, begin, rest = readme.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if begin and end:
        path.write_text(f"{before}{BEGIN}\n{text}\n\n{_LINKS}\n{END}{after}")


def _walls(results: Results) -> str:
    rows = [
        ["median of the wall times", "rounds", "by hand", "peer playbook", "ours", "ours against by hand", "ours against the peer playbook"]
    ]
    for name, scenario in SCENARIOS.items():
        found = results["scenarios"].get(name)
        if found:
            verdicts = {against: _verdict(scenario.goals, against, found) for against in ("hand", "peer")}
            walls = [_seconds(_wall(found, contender)) for contender in CONTENDERS]
            rounds = str(min(len(found[contender]["samples"]) for contender in CONTENDERS if contender in found))
            rows.append([scenario.text, rounds, *walls, verdicts["hand"], verdicts["peer"]])
    text = _table(rows)
    noop = results["scenarios"].get("noop")
    if noop and "empty" in noop:
        text += f"\n\nNothing changed, against {NAMED['empty']} ({_seconds(_wall(noop, 'empty'))}): " + _verdict(
            SCENARIOS["noop"].goals, "empty", noop
        )
    return text if len(rows) > 1 else ""


def _wall(found: dict[str, Any], contender: str) -> float | None:
    return float(summary(found[contender])["wall_s"]) if contender in found else None


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} s"


def _verdict(goals: Iterable[Goal], against: str, found: dict[str, Any]) -> str:
    """How ours stands against another, with its goal."""
    ours, other = _wall(found, "ours"), _wall(found, against)
    if ours is None or other is None:
        return ""
    goal = next((one for one in goals if one.against == against), None)
    if goal and goal.seconds:
        value, limit, shown = ours, goal.seconds, "{:.1f} s"
    elif goal and goal.more:
        value, limit, shown = ours - other, goal.more, "{:+.1f} s"
    else:
        value, limit, shown = ours / other, goal.ratio if goal else 0.0, "{:.2f}"
    text = shown.format(value)
    if not limit:
        return text
    text += f" (goal: at most {shown.format(limit).replace('.00', '').replace('.0', '')})"
    return text if value <= limit else f"{text} **missed**"


def _resources(results: Results) -> str:
    rows = [["medians, by hand / peer playbook / ours", "processor time", "peak memory", "sent to the registry"]]
    for name, scenario in SCENARIOS.items():
        found = results["scenarios"].get(name)
        if found:
            each = [summary(found[contender]) if contender in found else None for contender in CONTENDERS]
            columns = [("cpu_s", "s", 1), ("peak_mb", "MB", 0), ("sent_mb", "MB", 1)]
            rows.append([scenario.text, *(_three(each, *column) for column in columns)])
    return _table(rows) if len(rows) > 1 else ""


def _three(each: list[dict[str, float] | None], field: str, unit: str, digits: int) -> str:
    return " / ".join("–" if one is None else f"{one[field]:.{digits}f}" for one in each) + f" {unit}"


def _growth(results: Results, what: str) -> str:
    found = results["growth"].get(what)
    if not found:
        return ""
    title = {"courses": "nothing changed, courses", "clusters": "rollout in one wave, clusters"}[what]
    rows = [[title, "wall", "peak memory", f"seconds for each of the {what} more"]]
    each = ["", *(f"{slope:.2f} s" for slope in found["slopes_s"].values())]
    for (size, entry), slope in zip(found["sizes"].items(), each, strict=True):
        median = summary(entry)
        rows.append([size, _seconds(median["wall_s"]), f"{median['peak_mb']:.0f} MB", slope])
    text = _table(rows)
    if what == "clusters":
        peaks = [summary(entry)["peak_mb"] for entry in found["sizes"].values()]
        ratio = peaks[-1] / peaks[0]
        size = list(found["sizes"])[-1]
        text += (
            f"\n\nPeak memory at {size} clusters against that at one: {ratio:.2f} (goal: at most 3){'' if ratio <= 3 else ' **missed**'}"
        )
    return text


def _table(rows: list[list[str]]) -> str:
    """Markdown, padded so that a terminal shows it as well."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
