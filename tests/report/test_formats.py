from __future__ import annotations

import csv
import io
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
import table_records

from avbench.errors import InputError
from avbench.report.tables import formats
from avbench.report.tables.formats import csv as csv_format
from avbench.report.tables.formats import html, json, latex, markdown, parts, terminal
from avbench.report.tables.table import Cell, Column, RowGroup, Table, TableRow
from avbench.report.tables.tables_of import tables_of

NASTY = r"50 % & a_b <i>x</i> | #1 $2 {3} ~4^5 \six -- λ_c → ± “q” é 漢"


def table(**changes: object) -> Table:
    cell = Cell(mean=40.06, sd=0.25, n_seeds=3, n=1000, run_ids=("a", "b"), published=40.5, published_text="40.5")
    shown = Cell(**{**vars(cell), "difference": -0.44, "best": "best", "marks": ("other_n",)})
    values = {
        "id": "table_x",
        "title": "Table x",
        "caption": NASTY,
        "data": None,
        "stub": ("Method", NASTY),
        "columns": (Column(labels=(NASTY, "A"), n=1000, n_seeds=3), Column(labels=(NASTY, "V"))),
        "rows": (
            RowGroup(label=NASTY),
            TableRow(stub=("CAV", NASTY), cells=(shown, Cell(tied=True))),
            TableRow(
                stub=("AST", "-"),
                cells=(Cell(runnable=False, published=1.0, published_text="1.0"), Cell(runnable=False)),
            ),
        ),
        "notes": (NASTY,),
    }
    return Table(**{**values, **changes})  # type: ignore[arg-type]


def needs_latex() -> str:
    path = shutil.which("pdflatex")
    if path is None:
        pytest.skip("pdflatex is not installed")
    return path


def compiled(folder: Path, text: str) -> str:
    (folder / "all.tex").write_text(text, encoding="utf-8")
    words = [needs_latex(), "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    return done.stdout


def test_a_cell_says_number_spread_marks_published_and_difference() -> None:
    text = latex.render(table())
    assert r"\textbf{40.1}{\scriptsize$\pm$0.2}\textsuperscript{\#}~{\footnotesize[40.5, $-$0.4]}" in text
    assert r"**40.1** ± 0.2\# \[40.5, −0.4\]" in markdown.render(table())
    assert "*40.1* ± 0.2# [40.5, −0.4]" in terminal.render(table())
    page = html.fragment(table())
    assert 'data-runs="a b"' in page
    assert '<span class="own">40.1</span>' in page


def test_empty_cells_are_dashes_and_quoted_ones_are_not() -> None:
    (line,) = (line for line in latex.render(table()).splitlines() if line.startswith("AST"))
    assert line == r"AST & - & {\footnotesize[1.0]} & -- \\"


def test_numbers_have_a_sign_of_their_own_and_no_negative_zero() -> None:
    assert parts.signed(-0.04, 1) == "0.0"
    assert parts.signed(-0.04, 1, plus=True) == "+0.0"
    assert parts.signed(-1.25, 2) == "−1.25"
    assert parts.signed(1.25, 2, plus=True) == "+1.25"


def test_counts_are_said_where_a_cell_differs_from_its_column() -> None:
    column = Column(labels=("A",), n=1000, n_seeds=3)
    assert parts.parts(Cell(mean=1.0, n=998, n_seeds=2), column).counts == "n=998, 2 seeds"
    assert parts.parts(Cell(mean=1.0, n=1000, n_seeds=3), column).counts == ""


def test_latex_escapes_everything(tmp_path: Path) -> None:
    text = latex.escape(NASTY)
    assert r"50 \% \& a\_b \textless{}i\textgreater{}" in text
    assert "-{}-" in text
    assert r"$\lambda_{c}$" in text
    assert "[U+6F22]" in text
    (tmp_path / "table_x.tex").write_text(latex.render(table()), encoding="utf-8")
    assert "!" not in [line[:1] for line in compiled(tmp_path, latex.wrapper([table()])).splitlines()]


def test_html_and_markdown_escape_everything() -> None:
    page = html.render(table())
    assert "<i>" not in page.replace("<i>x</i>", "") or "&lt;i&gt;" in page
    assert "<i>x" not in page

    class Balanced(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.open: list[str] = []

        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag not in ("meta", "!doctype"):
                self.open.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

    reader = Balanced()
    reader.feed(page)
    assert reader.open == []
    lines = [line for line in markdown.render(table()).splitlines() if line.startswith("|")]
    assert {line.replace(r"\|", "").count("|") for line in lines} == {5}


def test_csv_has_every_cell_and_survives_a_reader() -> None:
    rows = list(csv.DictReader(io.StringIO(csv_format.render(table()))))
    assert len(rows) == 4
    assert rows[0]["mean"] == "40.06"
    assert rows[0]["run_ids"] == "a b"
    assert rows[0]["group"] == NASTY


def test_json_gives_the_table_back_and_refuses_what_is_none(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.render(table()), encoding="utf-8")
    assert json.read(path) == table()
    for text in ("{", "{}", '{"schema": 0}'):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=r"x\.json"):
            json.read(path)


def test_spans_take_their_place(tmp_path: Path) -> None:
    cells = (Cell(published=1.0, published_text="1.0", runnable=False, columns=2), Cell(covered=True))
    wide = table(rows=(TableRow(stub=("MBT", "x"), cells=cells),))
    assert r"MBT & x & \multicolumn{2}{c}{{\footnotesize[1.0]}} \\" in latex.render(wide)
    assert 'colspan="2"' in html.fragment(wide)
    tall = (
        TableRow(stub=("a", ""), cells=(Cell(), Cell(mean=1.0, rows=2))),
        TableRow(stub=("b", ""), cells=(Cell(), Cell(covered=True))),
    )
    assert r"\raisebox{-0.5\normalbaselineskip}[0pt][0pt]{1.0" in latex.render(table(rows=tall))
    assert 'rowspan="2"' in html.fragment(table(rows=tall))


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(InputError, match="Did you mean 'latex'"):
        formats.find("latx")


def test_every_published_number_is_in_the_latex(tmp_path: Path) -> None:
    for each in tables_of(tmp_path):
        lines = [line for line in latex.render(each).splitlines() if line.endswith(r"\\") and " & " in line]
        body = lines[-len(each.body) :]
        for row, line in zip(each.body, body, strict=True):
            for cell in row.cells:
                assert not cell.published_text or f"[{cell.published_text}]" in line, (each.id, row.stub)


@pytest.mark.parametrize("data", [None, "soundshapes"])
def test_all_tables_compile_together(tmp_path: Path, data: str | None) -> None:
    needs_latex()
    results = table_records.write(tmp_path / "results")
    tables = tables_of(results, data=data)
    for each in tables:
        text = latex.render(each)
        assert "documentclass" not in text
        (tmp_path / f"{each.id}.tex").write_text(text, encoding="utf-8")
    assert "Overfull" not in compiled(tmp_path, latex.wrapper(tables))


def test_a_number_is_the_document_s_own_but_where_all_tables_stand_together(tmp_path: Path) -> None:
    tables = tables_of(table_records.write(tmp_path / "results"), data="soundshapes")
    labels = []
    for each in tables:
        text = latex.render(each)
        (caption,) = (line for line in text.splitlines() if line.startswith(r"\caption"))
        assert caption == rf"\caption{{{latex.escape(each.caption)}}}"
        assert each.title not in text
        labels += [line for line in text.splitlines() if line.startswith(r"\label")]
    assert len(set(labels)) == len(tables)
    document = latex.wrapper(tables)
    for each in tables:
        assert rf"\papernumber}}{{{latex.escape(each.title)}}}\input{{{each.id}.tex}}" in document
