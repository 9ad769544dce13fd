"""Tables of fixed records as they were when looked at; and the committed ones, rendered again from their data.

python tests/report/test_tables_golden.py     writes the golden files anew: look at the difference
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import table_records

from avbench.report.tables import formats
from avbench.report.tables.formats import json
from avbench.report.tables.tables_of import tables_of

GOLDEN = Path(__file__).parent / "golden"
COMMITTED = Path(__file__).resolve().parents[2] / "docs" / "study" / "tables"
CASES = [("table_01", None), ("table_01", "soundshapes"), ("table_03", "soundshapes"), ("table_04", None)]
FORMATS = ("latex", "markdown", "csv")


def name(table: str, data: str | None, form: str) -> str:
    return f"{table}{'-' + data if data else ''}{formats.find(form).SUFFIX}"


def rendered(results: Path) -> dict[str, str]:
    found = {}
    for table, data in CASES:
        (made,) = tables_of(results, [table], data)
        found |= {name(table, data, form): formats.find(form).render(made) for form in FORMATS}
    return found


def test_tables_of_fixed_records_are_the_golden_ones(tmp_path: Path) -> None:
    for file, text in rendered(table_records.write(tmp_path)).items():
        assert text == (GOLDEN / file).read_text(encoding="utf-8"), file


def test_the_committed_tables_are_in_step_with_the_code_that_renders_them() -> None:
    files = sorted(COMMITTED.rglob("*.json"))
    assert len(files) > 20
    for file in files:
        table = json.read(file)
        assert json.render(table) == file.read_text(encoding="utf-8"), file
        for form in ("latex", "markdown"):
            path = file.with_suffix(formats.find(form).SUFFIX)
            assert path.read_text(encoding="utf-8") == formats.find(form).render(table), path


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for file, text in rendered(table_records.write(Path(folder))).items():
            (GOLDEN / file).write_text(text, encoding="utf-8")
            sys.stdout.write(f"{GOLDEN / file}\n")
