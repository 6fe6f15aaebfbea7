"""One HTML page that needs nothing else: no network, no script, no font. Pure.

States are told by a word and a shape; the colours (Okabe and Ito's, distinct for colour-blind people) only repeat that.
Below 700 px a table's rows become cards, so that nothing has to be scrolled sideways.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from html import escape
from typing import Any

#: Shapes on a 16 × 16 field, by state. Outcomes of a run use some of the same.
_SHAPES = {
    "current": '<circle cx="8" cy="8" r="6"/>',
    "held": '<path d="M3 2h4v12H3zM9 2h4v12H9z"/>',
    "outdated": '<path d="M8 1.5 15 14H1z"/>',
    "drifted": '<path d="m8 1 7 7-7 7-7-7z"/>',
    "failed": '<path d="m2 4 2-2 4 4 4-4 2 2-4 4 4 4-2 2-4-4-4 4-2-2 4-4z"/>',
    "missing": '<circle cx="8" cy="8" r="5.5" fill="none" stroke="currentColor" stroke-width="2" stroke-dasharray="3 2.7"/>',
    "unreachable": (
        '<path d="M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1zm0 2c1 0 2 .3 2.8.9L3.9 10.8A5 5 0 0 1 8 3z'
        'm0 10c-1 0-2-.3-2.8-.9l6.9-6.9A5 5 0 0 1 8 13z"/>'
    ),
}
_SAME = {"ok": "current", "changed": "current", "unfinished": "missing", "skipped": "held", "refused": "held"}

_STYLE = """
:root{--ink:#1a1a1a;--soft:#595959;--line:#d4d4d4;--ground:#fff;--band:#f5f5f3;--link:#0059a3;
--current:#00664a;--held:#5b5b5b;--outdated:#8a5a00;--drifted:#8c2a6b;--failed:#a83200;--missing:#0b5e8e;--unreachable:#1a1a1a}
@media(prefers-color-scheme:dark){:root{--ink:#ececec;--soft:#b0b0b0;--line:#4a4a4a;--ground:#1b1b1b;--band:#262626;--link:#8cc8ff;
--current:#3fcf9f;--held:#b8b8b8;--outdated:#f0b040;--drifted:#e59ac6;--failed:#ff8f5e;--missing:#7cc4ee;--unreachable:#ececec}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1280px;padding:1rem;font:16px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--ground);overflow-wrap:break-word}
h1{font-size:1.5rem;margin:.2rem 0}h2{font-size:1.15rem;margin:1.8rem 0 .5rem}p{margin:.3rem 0}
a{color:var(--link)}td .code{white-space:nowrap}code,.code{font-family:ui-monospace,monospace;font-size:.9em}.soft{color:var(--soft);font-size:.9em}
.state{display:inline-flex;align-items:baseline;gap:.4em;font-weight:600;white-space:nowrap}
.state svg{width:1em;height:1em;align-self:center;fill:currentColor;flex:none}
.sum{display:flex;flex-wrap:wrap;gap:.4rem 1.2rem;margin:.7rem 0;padding:0;list-style:none}
table{border-collapse:collapse;width:100%}caption{text-align:left;font-weight:600}
th,td{text-align:left;vertical-align:top;padding:.45rem .6rem .45rem 0;border-bottom:1px solid var(--line)}
th{font-size:.85em;color:var(--soft);font-weight:600}
.wide{overflow-x:auto}.wide table{width:auto}.wide td,.wide th{white-space:nowrap;padding-right:1.1rem;overflow-wrap:normal}
details summary{cursor:pointer;color:var(--link)}details ul{margin:.3rem 0;padding-left:1.1rem}
@media(max-width:700px){body{overflow-wrap:anywhere}
table.rows,table.rows tbody,table.rows tr,table.rows td{display:block;width:100%}table.rows thead{display:none}
table.rows tr{border:1px solid var(--line);border-radius:6px;margin:0 0 .7rem;padding:.4rem .7rem;background:var(--band)}
table.rows td{border:0;padding:.15rem 0}table.rows td:empty{display:none}
table.rows td[data-is]::before{content:attr(data-is) ": ";color:var(--soft);font-size:.9em}}
@media print{details>*{display:block}a{color:inherit}}
"""


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def text(value: Any) -> str:
    """Any value as HTML text; nothing for None."""
    return value if isinstance(value, Markup) else escape("" if value is None else str(value))


def state(word: str) -> Markup:
    """A state or an outcome: its shape and its word."""
    kind = word if word in _SHAPES else _SAME.get(word, "missing")
    shape = f'<svg viewBox="0 0 16 16" aria-hidden="true">{_SHAPES[kind]}</svg>'
    return Markup(f'<span class="state" style="color:var(--{kind})">{shape}{escape(word)}</span>')


def link(address: str | None, words: str | None = None) -> Markup:
    """A link where the address is one of the web, else the words."""
    words = words or address or ""
    if not (address or "").startswith(("http://", "https://")):
        return Markup(escape(words))
    return Markup(f'<a href="{escape(str(address))}" rel="noreferrer">{escape(words)}</a>')


def moment(at_s: float | None) -> Markup:
    """A time in UTC, to the minute."""
    if at_s is None:
        return Markup("")
    parts = time.gmtime(at_s)
    return Markup(f'<time datetime="{time.strftime("%Y-%m-%dT%H:%M:%SZ", parts)}">{time.strftime("%Y-%m-%d %H:%M", parts)} UTC</time>')


def table(head: list[str], rows: Iterable[list[Any]]) -> Markup:
    """A table whose rows are cards on a phone."""
    top = "".join(f'<th scope="col">{escape(title)}</th>' for title in head)
    body = "".join(
        "<tr>"
        + "".join(f'<td data-is="{escape(title)}">{text(cell)}</td>' if text(cell) else "<td></td>" for title, cell in zip(head, row))
        + "</tr>"
        for row in rows
    )
    return Markup(f'<table class="rows"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>')


def page(title: str, parts: Iterable[str]) -> str:
    """The whole document."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f'<link rel="icon" href="data:,"><title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body>\n'
        + "\n".join(parts)
        + "\n</body></html>\n"
    )
