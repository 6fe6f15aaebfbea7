"""The status of all courses on all clusters as one HTML page and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from . import golden_job, status
from .html_page import Markup, link, moment, page, state, table, text


def document(clusters: list[dict[str, Any]], titles: Mapping[str, str], by: str, now_s: float) -> dict[str, Any]:
    """What the page and the JSON are made from; `clusters` as `cluster_status.cluster_rows` gives them."""
    rows = [row for cluster in clusters for row in cluster["rows"]]
    order = list(titles)
    rows.sort(key=lambda row: order.index(row["course"]))
    return {
        "generated_s": int(now_s),
        "by": by,
        "counts": status.counts(rows),
        "courses": [{"name": name, "title": title} for name, title in titles.items()],
        "clusters": [{key: cluster[key] for key in ("name", "address", "user", "problem", "seconds")} for cluster in clusters],
        "rows": rows,
    }


def html(found: Mapping[str, Any]) -> str:
    """The page."""
    now_s = found["generated_s"]
    sums = "".join(f"<li>{state(word)} {number}</li>" for word, number in found["counts"].items())
    parts = [
        "<h1>Golden Jobs</h1>",
        f'<p class="soft">Courses: {len(found["courses"])}, clusters: {len(found["clusters"])}, '
        f"seen {moment(now_s)} by {escape(found['by'])}</p>",
        f'<ul class="sum">{sums}</ul>',
    ]
    todo = [row for row in found["rows"] if row["state"] not in status.CALM]
    if todo:
        cells = [[state(row["state"]), row["course"], row["cluster"], row["reason"]] for row in todo]
        parts += ["<h2>Needs somebody</h2>", table(["State", "Course", "Cluster", "Why"], cells)]
    parts += ["<h2>Overview</h2>", _matrix(found)]
    for course in found["courses"]:
        rows = [row for row in found["rows"] if row["course"] == course["name"]]
        parts.append(f'<h2 id="{escape(course["name"])}">{escape(course["name"])} <span class="soft">{escape(course["title"])}</span></h2>')
        parts.append(table(["Cluster", "State", "Revision", "Image", "Age", "Open", "History"], [_cells(row, now_s) for row in rows]))
    return page(f"Golden Jobs: {status.words(found['counts'])}", parts)


def _matrix(found: Mapping[str, Any]) -> str:
    """Clusters by courses, a word and a shape each; scrolls in its own frame."""
    by_place = {(row["course"], row["cluster"]): row for row in found["rows"]}
    names = [course["name"] for course in found["courses"]]
    head = "".join(f'<th scope="col"><a href="#{escape(name)}">{escape(name)}</a></th>' for name in names)
    lines = []
    for cluster in found["clusters"]:
        cells = ""
        for name in names:
            row = by_place.get((name, cluster["name"]))
            cells += f"<td>{state(row['state']) if row else ''}</td>"
        lines.append(f'<tr><th scope="row">{escape(cluster["name"])}</th>{cells}</tr>')
    return f'<div class="wide" tabindex="0"><table><thead><tr><td></td>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def _cells(row: Mapping[str, Any], now_s: float) -> list[Any]:
    """One row of a course's table."""
    why = f'<br><span class="soft">{text(row["reason"])}</span>' if row["reason"] else ""
    image = Markup(f'<span class="code">{text(row["tag"] or row["image"])}</span>') if row["image"] else ""
    return [
        row["cluster"],
        Markup(f"{state(row['state'])}{why}"),
        Markup(f"<code>{text(row['revision'])}</code>") if row["revision"] else "",
        image,
        golden_job.age(row["since_ms"], now_s).replace(" ", "\u00a0") if row["since_ms"] else "",
        link(row["url"]),
        _history(row),
    ]


def _history(row: Mapping[str, Any]) -> Markup:
    """What was submitted, newest first, by whom and when."""
    if not row["history"]:
        return Markup("")
    lines = "".join(f"<li>{_entry(entry)}</li>" for entry in row["history"])
    latest = row["history"][0]
    who = f" by {escape(latest['by'])}" if latest["by"] else ""
    return Markup(f"<details><summary>{moment(_seconds(latest['submitted_ms']))}{who}</summary><ul>{lines}</ul></details>")


def _entry(entry: Mapping[str, Any]) -> str:
    notes = [str(entry["state"])]
    if entry["current"]:
        notes.append("current")
    if entry["promoted_s"]:
        notes.append(f"promoted {moment(entry['promoted_s'])}")
    if entry["completed_ms"]:
        notes.append(f"ended {moment(_seconds(entry['completed_ms']))}")
    if entry["back_from"]:
        notes.append(f"rolled back from {escape(entry['back_from'])}")
    if entry["bad"]:
        notes.append("marked bad")
    if entry["failed"]:
        notes.append(f"did not take over: {escape(entry['failed'])}")
    who = f" by {escape(entry['by'])}" if entry["by"] else ""
    return f"<code>{escape(entry['name'])}</code> {moment(_seconds(entry['submitted_ms']))}{who}: {', '.join(notes)}"


def _seconds(value_ms: float | None) -> float | None:
    return value_ms / 1000 if value_ms else None
