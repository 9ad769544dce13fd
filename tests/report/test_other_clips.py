"""Numbers of other clips than the rest: shown and marked, and never the best, the second or the measure of a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import table_records

from avbench.report.page import build, groups, leaders
from avbench.report.tables import formats
from avbench.report.tables.table import Table, TableRow
from avbench.report.tables.tables_of import tables_of
from avbench.store import index

EASY = {"n": 20, "ids_sha256": "easy", "metrics": {"v2a/R@1": 0.99, "v2a/R@5": 1.0, "v2a/R@10": 1.0}}


def table(results: Path, name: str = "table_03", data: str | None = "soundshapes") -> Table:
    (found,) = tables_of(results, [name], data)
    return found


def rows(table: Table) -> dict[str, TableRow]:
    return {row.stub[0]: row for row in table.body}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """CAV-MAE does best, on fewer and easier clips; the others compare."""
    table_records.retrieval(tmp_path, "a", "avmae", 1.0)
    table_records.retrieval(tmp_path, "b", "cav", 4.0)
    table_records.retrieval(tmp_path, "c", "cavmae", 3.0, **EASY)
    return tmp_path


def test_the_best_and_the_second_are_of_the_clips_that_most_cells_judge(results: Path) -> None:
    found = rows(table(results))
    first = {name: found[name].cells[0] for name in ("AV-MAE", "CAV", "CAV-MAE, λ_c=0.1")}
    assert [cell.best for cell in first.values()] == ["second", "best", ""]
    assert first["CAV-MAE, λ_c=0.1"].mean == 99.0
    assert first["CAV-MAE, λ_c=0.1"].marks == ("other_clips",)
    assert not any(cell.marks for name, cell in first.items() if name != "CAV-MAE, λ_c=0.1")


@pytest.mark.parametrize(
    ("form", "shown", "bold"),
    [
        ("latex", r"99.0\textsuperscript{\S{}}", r"\textbf{99.0}"),
        ("markdown", "99.0§", "**99.0**"),
        ("terminal", "99.0§", "*99.0*"),
        ("html", '<span class="own">99.0</span>', 'class="best" data-value="99"'),
        ("json", '"marks": [\n      "other_clips"', '"best": "best",\n     "marks"'),
    ],
)
def test_no_format_shows_it_as_the_best(results: Path, form: str, shown: str, bold: str) -> None:
    text = formats.find(form).render(table(results))
    assert shown in text
    assert bold not in text


def test_the_test_is_against_the_best_that_compares(tmp_path: Path) -> None:
    for seed in range(3):
        table_records.retrieval(tmp_path, f"a{seed}", "avmae", 2.0, seed)
        table_records.retrieval(tmp_path, f"b{seed}", "cav", 2.1, seed)  # from the same draws: nearly the same hits
        table_records.retrieval(tmp_path, f"c{seed}", "cavmae", 3.0, seed, **EASY)
    found = rows(table(tmp_path))
    assert found["CAV"].cells[2].best == "best"
    assert found["AV-MAE"].cells[2].tied
    assert found["CAV-MAE, λ_c=0.1"].cells[2].p is None
    assert not found["CAV-MAE, λ_c=0.1"].cells[2].untested  # its mark says why: it is of other clips


def test_of_two_that_do_not_compare_none_is_the_best(tmp_path: Path) -> None:
    table_records.retrieval(tmp_path, "b", "cav", 4.0)
    table_records.retrieval(tmp_path, "c", "cavmae", 3.0, **EASY)
    found = table(tmp_path)
    assert not any(cell.best or cell.tied for row in found.body for cell in row.cells)
    assert sum("other_clips" in row.cells[0].marks for row in found.body) == 1


def test_equal_numbers_of_other_clips_are_marked_too(tmp_path: Path) -> None:
    table_records.retrieval(tmp_path, "b", "cav", 4.0, metrics=EASY["metrics"])
    table_records.retrieval(tmp_path, "c", "cavmae", 3.0, **EASY)
    assert [row.cells[0].marks for row in table(tmp_path).body if row.cells[0].mean] == [(), ("other_clips",)]


def test_generated_clips_of_another_seed_are_others_whatever_their_ids(tmp_path: Path) -> None:
    seed = {"data.clips_seed": 1}
    table_records.retrieval(tmp_path, "a", "avmae", 1.0)
    table_records.retrieval(tmp_path, "b", "cav", 2.0)
    table_records.retrieval(tmp_path, "c", "cavmae", 5.0, settings=seed, data_sha256="others")
    found = rows(table(tmp_path))
    assert found["CAV"].cells[2].best == "best"
    assert (found["CAV-MAE, λ_c=0.1"].cells[2].best, found["CAV-MAE, λ_c=0.1"].cells[2].marks) == ("", ("other_clips",))


def test_an_ensemble_on_other_clips_is_marked_and_not_the_best(tmp_path: Path) -> None:
    paper = table_records.on_paper("audioset-20k")
    other = {**paper, "ids_sha256": "easy"}
    for method, stream in (("audiomae", "audio"), ("visualmae", "visual")):
        table_records.scored(tmp_path, method, method, "classification", {stream: 9.0}, **other)
    for method, known in (("cav", 0.5), ("avmae", 0.4), ("cavmae", 0.9)):
        table_records.scored(tmp_path, method, method, "classification", {"joint": known}, **paper)
    found = rows(table(tmp_path, "table_01", None))
    ensemble = found["Audio-MAE"].cells[2]
    assert ensemble.mean == pytest.approx(100, abs=0.1)
    assert (ensemble.best, "other_clips" in ensemble.marks) == ("", True)
    assert found["CAV-MAE"].cells[2].best == "best"


def page(results: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    rows = groups.board(index.read(results).rows, results)
    main = groups.main_clips(rows)
    return [build._row(row, main) for row in rows], build._glance(rows, main, leaders.leaders(rows, main))


def test_the_leaderboard_marks_them_and_lets_the_others_compete(results: Path) -> None:
    table_records.retrieval(results, "d", "avmae", 6.0, weights="untrained")
    board, glance = page(results)
    shown = {(row["method"], row["weights"]): (row["competes"], row["other"]) for row in board}
    assert shown == {
        ("avmae", "pretrained"): (True, False),
        ("cav", "pretrained"): (True, False),
        ("cavmae", "pretrained"): (False, True),
        ("avmae", "untrained"): (False, False),
    }
    (card,) = glance
    assert (card["method"], card["n_methods"]) == ("cav", 2)


def test_a_number_at_chance_is_no_method_s_at_a_glance(tmp_path: Path) -> None:
    for name, method in (("a", "avmae"), ("b", "cav")):
        key = "a2v/R@1"
        numbers = {"metrics": {key: 0.02}, "chance": {key: 1 / 60}, "ci95": {key: [0.0, 0.06]}}
        table_records.retrieval(tmp_path, name, method, 1.0, **numbers)
    (card,) = page(tmp_path)[1]
    assert card["method"] == "none clear of chance"
