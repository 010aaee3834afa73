"""A report as a page: sections in Markdown, in HTML, and their tables in CSV."""

import base64
import dataclasses
import html
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

_STYLE = (
    "body{font:16px/1.5 sans-serif;max-width:70em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;font-size:.85em}td,th{padding:.3em .8em;text-align:left;"
    "border-bottom:1px solid #ddd}img{max-width:100%}"
)


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the report: a heading, what it says, a table, a figure.

    Attributes:
        title: The heading.
        text: What to know about it.
        table: What was measured; None for none.
        figure: Path of an SVG file; None for none.

    Example:

    >>> section = Section("item: metrics", "Means over users.", pd.DataFrame({"model": ["bpr"]}))
    >>> section.table["model"].tolist()
    ['bpr']
    """

    title: str
    text: str
    table: pd.DataFrame | None = None
    figure: Path | None = None


def format_markdown(sections: Sequence[Section]) -> str:
    """Returns texts and tables as Markdown.

    Example:

    >>> table = pd.DataFrame({"model": ["bpr"], "auc": ["0.7000"]})
    >>> print(format_markdown([Section("item: metrics", "Means over users.", table)]))
    ## item: metrics
    <BLANKLINE>
    Means over users.
    <BLANKLINE>
    | model | auc |
    | --- | --- |
    | bpr | 0.7000 |
    """
    lines = []
    for section in sections:
        lines += [f"## {section.title}", "", section.text, ""]
        if section.table is not None:
            head = list(section.table.columns)
            rows = section.table.to_numpy().tolist()
            lines += [
                f"| {' | '.join(map(str, row))} |" for row in (head, ["---"] * len(head), *rows)
            ]
            lines.append("")
    return "\n".join(lines)


def format_html(sections: Sequence[Section]) -> str:
    """Returns one HTML page that needs no other file.

    Example:

    >>> "<h2>item: metrics</h2>" in format_html([Section("item: metrics", "Means over users.")])
    True
    """
    body = []
    for section in sections:
        title = html.escape(section.title)
        body.append(f"<h2>{title}</h2><p>{html.escape(section.text)}</p>")
        if section.table is not None:
            body.append(section.table.to_html(index=False, border=0))
        if section.figure is not None:
            image = base64.b64encode(section.figure.read_bytes()).decode()
            body.append(f'<img alt="{title}" src="data:image/svg+xml;base64,{image}">')
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>ATRank experiments'
        f"</title><style>{_STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )


def write_page(sections: Sequence[Section], directory: Path) -> list[Path]:
    """Writes `report.html`, `report.md` and a CSV file for each table; returns their paths.

    Example:

    >>> table = pd.DataFrame({"model": ["bpr"], "auc": ["0.7000"]})
    >>> paths = write_page([Section("item: metrics", "Means over users.", table)], tmp)
    >>> [path.name for path in paths]
    ['report.html', 'report.md', 'item-metrics.csv']
    """
    paths = [directory / "report.html", directory / "report.md"]
    paths[0].write_text(format_html(sections), encoding="utf-8")
    paths[1].write_text(format_markdown(sections), encoding="utf-8")
    for section in sections:
        if section.table is not None:
            name = section.title.replace(": ", "-").replace(" ", "-").lower()
            paths.append(directory / f"{name}.csv")
            section.table.to_csv(paths[-1], index=False)
    return paths
