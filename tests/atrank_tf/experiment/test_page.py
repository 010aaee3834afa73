"""The page of a report: Markdown, HTML, CSV."""

import base64
from pathlib import Path

import pandas as pd

from atrank_tf.experiment.page import Section, format_html, format_markdown, write_page

TABLE = pd.DataFrame({"model": ["bpr", "a<b"], "auc": ["0.7000", "-"]})


def test_markdown_has_texts_and_tables_in_turn(tmp_path: Path) -> None:
    sections = [
        Section("Summary", "All.", figure=tmp_path / "not-read.svg"),
        Section("item: metrics", "Means.", TABLE),
    ]
    expected = """\
## Summary

All.

## item: metrics

Means.

| model | auc |
| --- | --- |
| bpr | 0.7000 |
| a<b | - |
"""
    assert format_markdown(sections) == expected
    assert format_markdown([]) == ""


def test_html_needs_no_other_file_and_shows_text_as_it_is(tmp_path: Path) -> None:
    figure = tmp_path / "f.svg"
    figure.write_bytes(b"<svg/>")
    page = format_html([Section("a < b", "x & y", TABLE, figure), Section("second", "")])
    assert "<h2>a &lt; b</h2><p>x &amp; y</p>" in page
    assert "<td>a&lt;b</td>" in page
    assert page.count("<table") == page.count("<img") == 1
    image = base64.b64encode(b"<svg/>").decode()
    assert f'<img alt="a &lt; b" src="data:image/svg+xml;base64,{image}">' in page
    assert page.index("</table>") < page.index("<img") < page.index("<h2>second</h2>")
    assert page.startswith("<!doctype html>")
    assert page.endswith("</body></html>\n")


def test_each_table_is_a_csv_file_named_like_its_section(tmp_path: Path) -> None:
    sections = [
        Section("Summary", "Größe: 3 µs."),
        Section("item: The lead by density", "", TABLE),
        Section("costs", "", TABLE[:0]),
    ]
    paths = write_page(sections, tmp_path)
    names = ["report.html", "report.md", "item-the-lead-by-density.csv", "costs.csv"]
    assert paths == [tmp_path / name for name in names]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    assert paths[0].read_text("utf-8") == format_html(sections)
    assert paths[1].read_text("utf-8") == format_markdown(sections)
    assert paths[2].read_text() == "model,auc\nbpr,0.7000\na<b,-\n"
    assert paths[3].read_text() == "model,auc\n"
