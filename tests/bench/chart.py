"""The figures of `make bench` as one picture: docs/bench/bench.png and bench.svg."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from tests.bench.results import FOLDER, Results, summary
from tests.bench.scenarios import CONTENDERS, SCENARIOS

_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "axes.axisbelow": True,
    "svg.hashsalt": "golden-jobs",  # the same figures give the same file
    "svg.fonttype": "none",
}
_COLOURS = {"hand": "#9a9a9a", "peer": "#5b8db8", "ours": "#b8860b"}
_NAMES = {"hand": "by hand", "peer": "peer playbook", "ours": "ours"}


def draw(results: Results, folder: Path = FOLDER) -> None:
    with mpl.rc_context(_STYLE):  # type: ignore[arg-type]
        figure = plt.figure(figsize=(11, 8.5), layout="constrained")
        grid = figure.add_gridspec(2, 2, height_ratios=[2.2, 1])
        _bars(figure.add_subplot(grid[0, :]), results["scenarios"])
        _curve(figure.add_subplot(grid[1, 0]), results["growth"].get("courses"), "courses, nothing changed")
        _curve(figure.add_subplot(grid[1, 1]), results["growth"].get("clusters"), "clusters, rollout in one wave")
        figure.savefig(folder / "bench.png", dpi=120, metadata={"Software": None})
        figure.savefig(folder / "bench.svg", metadata={"Date": None})
        plt.close(figure)


def _bars(axes: Axes, scenarios: dict[str, Any]) -> None:
    names = [name for name in SCENARIOS if name in scenarios]
    height = 0.26
    for offset, contender in enumerate(CONTENDERS):
        places, walls = [], []
        for place, name in enumerate(names):
            if contender in scenarios[name]:
                places.append(place + (offset - 1) * height)
                walls.append(summary(scenarios[name][contender])["wall_s"])
        bars = axes.barh(places, walls, height * 0.92, color=_COLOURS[contender], label=_NAMES[contender])
        axes.bar_label(bars, [f"{wall:.1f}" for wall in walls], padding=2, fontsize=7)
    axes.set_yticks(range(len(names)), [SCENARIOS[name].text for name in names])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("seconds, median, logarithmic")
    axes.legend(loc="lower right", frameon=True)


def _curve(axes: Axes, growth: dict[str, Any] | None, text: str) -> None:
    axes.set_xlabel(text)
    axes.set_ylabel("seconds, median")
    if growth is None:
        return
    sizes = [int(size) for size in growth["sizes"]]
    walls = [summary(entry)["wall_s"] for entry in growth["sizes"].values()]
    axes.plot(sizes, walls, marker="o", color=_COLOURS["ours"], label="seconds")
    axes.set_ylim(bottom=0)
    memory = axes.twinx()
    memory.plot(sizes, [summary(entry)["peak_mb"] for entry in growth["sizes"].values()], marker=".", color="#777777", linestyle=":")
    memory.set_ylabel("peak memory in MB (dotted)")
    memory.set_ylim(bottom=0)
    memory.grid(visible=False)
    memory.spines["right"].set_visible(True)
