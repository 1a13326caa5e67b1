"""Pages that need nothing else: HTML with its plots (Bokeh) and all that they take inside, to look at and to send.

A page forbids itself the network, so what is sent is what is seen. Bokeh is imported when a page is made.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from html import escape
from importlib.metadata import version
from typing import Any, NamedTuple, TypeAlias

from prema_gym.errors import missing_package

Plot: TypeAlias = Any
"""A figure of Bokeh's, whose properties no annotation describes."""
FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:"
"""What a page may load: what it holds."""

_CSS = f"""
body {{ font: 14px/1.45 {FONT}; color: #1b1b1b; background: #fff; margin: 0; }}
main {{ max-width: 1280px; margin: 0 auto; padding: 12px 20px 40px; }}
h1 {{ font-size: 21px; margin: 14px 0 2px; }}
h2 {{ font-size: 16px; margin: 26px 0 6px; }}
p {{ margin: 4px 0; max-width: 960px; }}
.quiet {{ color: #595959; font-size: 13px; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; margin: 6px 0 12px; font-size: 13px; }}
th, td {{ padding: 3px 9px; text-align: right; border-bottom: 1px solid #e4e4e4; white-space: nowrap; }}
th {{ font-weight: 600; border-bottom: 2px solid #bbb; }}
th:first-child, td:first-child {{ text-align: left; }}
td.best {{ font-weight: 700; }}
.legend span {{ display: inline-block; margin-right: 14px; font-size: 13px; }}
.legend i {{ display: inline-block; width: 22px; height: 12px; margin-right: 5px; vertical-align: -1px; }}
.grid {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(400px, 1fr)); gap: 10px 18px; }}
.tip {{ font: 12px/1.4 {FONT}; color: #1b1b1b; }}
pre {{ font-size: 12px; background: #f5f5f5; padding: 10px; overflow-x: auto; }}
"""


class Cell(NamedTuple):
    """What stands in a table."""

    text: str
    best: bool = False
    color: str = ""


class Grid(NamedTuple):
    """Plots side by side, as many as there is room for."""

    plots: Sequence[Plot]


def check_bokeh(asked: str) -> None:
    """Raise :class:`prema_gym.errors.MissingPackage` where Bokeh is not installed; ``asked`` is what needs it."""
    if importlib.util.find_spec("bokeh") is None:
        raise missing_package(asked, "bokeh")


def table(heads: Sequence[str], rows: Sequence[Sequence[Cell | str]]) -> str:
    """Return a table as HTML; the first column is what a row is about."""
    top = "".join(f"<th>{escape(head)}</th>" for head in heads)
    lines = ("".join(_cell(cell if isinstance(cell, Cell) else Cell(cell)) for cell in row) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(cell: Cell) -> str:
    kind = ' class="best"' if cell.best else ""
    style = f' style="color:{cell.color}"' if cell.color else ""
    return f"<td{kind}{style}>{escape(cell.text)}</td>"


def heading(text: str) -> str:
    """Return a heading."""
    return f"<h2>{escape(text)}</h2>"


def lines(texts: Sequence[str]) -> str:
    """Return small lines of text."""
    return "".join(f'<p class="quiet">{escape(text)}</p>' for text in texts)


def configuration(config: dict[str, Any]) -> str:
    """Return a configuration that opens when it is clicked: what ``gym.make`` takes to play the same."""
    text = escape(json.dumps(config, indent=1, default=list))
    return f"<details><summary>Configuration, as JSON</summary><pre>{text}</pre></details>"


def render_page(title: str, sections: Sequence[str | Plot | Grid]) -> str:
    """Return a page with ``sections`` one below the other: HTML, plots, and grids of plots. All plots share one document."""
    check_bokeh("a page")
    from bokeh.embed import components
    from bokeh.resources import Resources

    plots = [plot for section in sections if not isinstance(section, str) for plot in _plots(section)]
    script, found = components(plots) if plots else ("", ())
    places = iter(found)
    body = []
    for section in sections:
        if isinstance(section, str):
            body.append(section)
        elif isinstance(section, Grid):
            body.append(f'<div class="grid">{"".join(f"<div>{next(places)}</div>" for _ in section.plots)}</div>')
        else:
            body.append(next(places))
    library = Resources(mode="inline", components=["bokeh"]).render_js()
    head = [
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta name="generator" content="prema-gym {version("prema-gym")}">',
        f"<title>{escape(title)}</title>",
        f"<style>{_CSS}</style>",
        library,
    ]
    top = "\n".join(head)
    main = "\n".join([f"<h1>{escape(title)}</h1>", *body])
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n{top}\n</head>\n<body>\n<main>\n{main}\n</main>\n{script}\n</body>\n</html>\n'
    )


def _plots(section: Plot | Grid) -> Sequence[Plot]:
    return section.plots if isinstance(section, Grid) else [section]
