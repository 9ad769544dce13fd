"""LaTeX: one table environment a table, with booktabs; needs no package but those of its first line."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from avbench.report.tables.formats.parts import COUNTS, MINUS, count_row, parts
from avbench.report.tables.table import Cell, Column, RowGroup, Table, TableRow

SUFFIX = ".tex"
PACKAGES = ("booktabs", "graphicx")  # multirow is not among what Debian recommends with LaTeX
WRAPPER = "all_tables.tex"
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "%": r"\%",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",  # its own sign needs another font encoding
    "λ": r"$\lambda$",
    "→": r"$\rightarrow$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "≈": r"$\approx$",
    "≠": r"$\neq$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "°": r"$^\circ$",
    "†": r"\dag{}",
    "‡": r"\ddag{}",
    "§": r"\S{}",
    "¶": r"\P{}",
    MINUS: "$-$",
    "–": "--",
    "\0": "{}",  # keeps two hyphens from becoming a dash
    "—": "---",
    "…": r"\ldots{}",
    "\u00a0": "~",
    "’": "'",
    "‘": "`",
    "“": "``",
    "”": "''",
}
_LETTERS = "ßæÆœŒøØåÅłŁ"
_ACCENTS = tuple("\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030b\u030c\u0327")  # of any font encoding
_SUBSCRIPT = re.compile(r"λ_(\w)")


def escape(text: str) -> str:
    """Returns text as LaTeX that prints it; characters that pdflatex does not know are named by their number."""
    return "".join(
        f"$\\lambda_{{{part}}}$" if i % 2 else "".join(map(_character, part))
        for i, part in enumerate(_SUBSCRIPT.split(text.replace("--", "-\0-")))
    )


def _character(letter: str) -> str:
    if letter in _SPECIAL:
        return _SPECIAL[letter]
    if letter.isspace():
        return " "
    known = " " <= letter <= "~" or letter in _LETTERS or unicodedata.normalize("NFD", letter)[1:] in _ACCENTS
    return letter if known else f"[U+{ord(letter):04X}]"


def render(table: Table) -> str:
    """Returns a table environment without a document class, for ``input``."""
    stub = len(table.stub)
    lines = [
        f"% packages: {', '.join(PACKAGES)}",
        f"% {table.id}, made by: avbench tables",
        r"\begin{table}[!htbp]",
        r"\centering",
        # The number is the document's own; where all tables stand together the wrapper gives them the paper's.
        rf"\caption{{{escape(table.caption)}}}",
        rf"\label{{tab:{table.id.replace('_', '-')}{'-' + _key(table.data) if table.data else ''}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{'l' * stub}{'c' * len(table.columns)}}}",
        r"\toprule",
        *_header(table),
        *_body(table),
        r"\bottomrule",
        r"\end{tabular}%",
        "}",
    ]
    if table.notes:
        lines += [r"\par\smallskip", rf"\parbox{{\linewidth}}{{\footnotesize {escape(' '.join(table.notes))}}}"]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def wrapper(tables: Sequence[Table]) -> str:
    """Returns a document that has all tables, with the papers' numbers, compiled beside their files.

    Args:
        tables: In their order; each is in the file ``ID.tex``.
    """
    return "\n".join(
        [
            r"\documentclass[10pt]{article}",
            r"\usepackage[utf8]{inputenc}",
            r"\usepackage[a4paper,margin=20mm]{geometry}",
            *(rf"\usepackage{{{name}}}" for name in PACKAGES),
            r"\renewcommand{\topfraction}{0.95}",
            r"\renewcommand{\textfraction}{0.05}",
            r"\renewcommand{\floatpagefraction}{0.7}",
            r"\setcounter{totalnumber}{8}",
            r"\setcounter{topnumber}{8}",
            r"\newcommand{\papernumber}{} % of the table that follows",
            r"\makeatletter",
            r"\renewcommand{\fnum@table}{\papernumber}",
            r"\renewcommand{\@makecaption}[2]{\centering #1: #2\par\smallskip}",
            r"\makeatother",
            r"\begin{document}",
            *(
                rf"\renewcommand{{\papernumber}}{{{escape(table.title)}}}\input{{{table.id}{SUFFIX}}}"
                + (f"{chr(10)}\\clearpage" if i % 8 == 7 else "")
                for i, table in enumerate(tables)
            ),
            r"\end{document}",
            "",
        ]
    )


def _key(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", text)


def _header(table: Table) -> list[str]:
    lines = [line for line in table.header if any(label for label, _ in line)]
    found = []
    for level, line in enumerate(lines):
        last = level == len(lines) - 1
        cells = [escape(name) if last else "" for name in table.stub]
        rules, place = [], len(table.stub) + 1
        for label, span in line:
            text = escape(label)
            cells.append(rf"\multicolumn{{{span}}}{{c}}{{{text}}}" if span > 1 else text)
            if label and not last:
                rules.append(rf"\cmidrule(lr){{{place}-{place + span - 1}}}")
            place += span
        found.append(" & ".join(cells) + r" \\")
        if rules:
            found.append(" ".join(rules))
    return [*found, r"\midrule"]


def _body(table: Table) -> list[str]:
    width = len(table.stub) + len(table.columns)
    lines = []
    for i, row in enumerate(table.rows):
        if isinstance(row, RowGroup):
            lines += [r"\midrule"] if i else []
            lines.append(rf"\multicolumn{{{width}}}{{l}}{{\textit{{{escape(row.label)}}}}} \\")
        else:
            lines.append(_row(row, table))
    counts = count_row(table)
    if counts:
        label = [escape(COUNTS), *[""] * (len(table.stub) - 1)]
        lines += [r"\midrule", " & ".join([*label, *map(escape, counts)]) + r" \\"]
    return lines


def _row(row: TableRow, table: Table) -> str:
    words = [escape(name) for name in row.stub]
    skip = 0
    for cell, column in zip(row.cells, table.columns, strict=True):
        if skip:
            skip -= 1
            continue
        text = "" if cell.covered else _cell(cell, column)
        if cell.rows > 1:
            text = rf"\raisebox{{-{(cell.rows - 1) / 2:g}\normalbaselineskip}}[0pt][0pt]{{{text}}}"
        if cell.columns > 1:
            text = rf"\multicolumn{{{cell.columns}}}{{c}}{{{text}}}"
            skip = cell.columns - 1
        words.append(text)
    return " & ".join(words) + r" \\"


def _cell(cell: Cell, column: Column) -> str:
    found = parts(cell, column)
    own = escape(found.own)
    if found.best:
        own = rf"\textbf{{{own}}}" if found.best == "best" else rf"\underline{{{own}}}"
    signs = "".join(escape(sign).replace("^", "") for sign, _ in found.signs)  # they are raised already
    text = own
    if found.sd:
        text += rf"{{\scriptsize$\pm${escape(found.sd)}}}"
    if signs:
        text += rf"\textsuperscript{{{signs}}}"
    if found.counts:
        text += rf" {{\scriptsize({escape(found.counts)})}}"
    if found.published:
        more = f", {escape(found.difference)}" if found.difference else ""
        text += ("~" if text else "") + rf"{{\footnotesize[{escape(found.published)}{more}]}}"
    return text
