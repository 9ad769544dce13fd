"""What is best, separated, not separated, not tested and at chance, of a table and as its formats show it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import table_records

from avbench.compare import outputs
from avbench.compare.outputs import Measured, Outputs, Ran
from avbench.metrics.hierarchical import holm, typical
from avbench.report import ranking
from avbench.report.ranking import Family, Judge, Ranked, judged
from avbench.report.tables import formats, notes
from avbench.report.tables.table import Cell, Table, TableRow
from avbench.report.tables.tables_of import tables_of
from avbench.store import index
from avbench.store.records import read_record, write_record


def only(results: Path, name: str = "table_03", data: str | None = "soundshapes") -> Table:
    (found,) = tables_of(results, [name], data)
    return found


def rows(table: Table) -> dict[str, TableRow]:
    return {row.stub[0]: row for row in table.body}


def measured(results: Path, *names: str, metric: str = "v2a/R@10") -> Measured:
    rows = {row.id: row for row in index.read(results).rows}
    return outputs.measured([rows[name] for name in names], metric)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """CAV far above AV-MAE, and CAV-MAE about as good as CAV; five seeds each."""
    for seed in range(5):
        table_records.retrieval(tmp_path, f"a{seed}", "avmae", 1.0, seed)
        table_records.retrieval(tmp_path, f"b{seed}", "cav", 6.0, seed)
        table_records.retrieval(tmp_path, f"c{seed}", "cavmae", 5.8, seed)
    return tmp_path


def test_three_states_are_shown_apart(results: Path) -> None:
    for seed in range(2):
        table_records.retrieval(results, f"d{seed}", "vanilla_avmae", 3.0, seed)
    table = only(results)
    found = {name: rows(table)[name].cells[2] for name in rows(table)}
    best, close, far, alone = (found[name] for name in ("CAV", "CAV-MAE, λ_c=0.1", "AV-MAE", "Vanilla AV-MAE"))
    assert (best.best, best.p, best.untested) == ("best", None, "")
    assert close.p_holm is not None
    assert close.p_holm > 0.05
    assert (close.tied, close.untested) == (True, "")
    assert far.p_holm is not None
    assert far.p is not None
    assert far.p < far.p_holm < 0.05
    assert (far.tied, far.untested, far.marks) == (False, "", ())
    assert (alone.untested, alone.marks, alone.p) == ("2 seeds", ("untested",), None)
    text = formats.find("markdown").render(table)
    assert "≈ not separated from the best" in text
    assert "? not tested against the best (2 seeds)." in text
    assert r"\textsuperscript{?}" in formats.find("latex").render(table)
    assert '<abbr title="not tested against the best">?</abbr>' in formats.find("html").render(table)
    assert ",2 seeds," in formats.find("csv").render(table)


def test_the_family_is_every_pair_of_every_column(results: Path) -> None:
    table = only(results)
    tested = [cell for row in table.body for cell in row.cells if cell.p is not None]
    assert len(tested) == 3 * 2
    assert [cell.p_holm for cell in tested] == pytest.approx(holm([cell.p for cell in tested], tests=3 * 3))
    assert any("at 5 % for the 9 pairs of this table together (Holm)" in note for note in table.notes)


def test_the_note_says_what_difference_could_have_been_found(results: Path) -> None:
    (note,) = [note for note in only(results).notes if note.startswith("Smallest difference")]
    judge = Judge(results)
    sizes = []
    best = measured(results, *(f"b{seed}" for seed in range(5)))
    for other in ("a", "c"):
        estimate = judge.difference(best, measured(results, *(f"{other}{seed}" for seed in range(5))))
        assert estimate is not None
        sizes.append(estimate)
    assert "(80 % power): R@1 " in note
    assert note.endswith(f", R@10 {100 * typical(sizes).shown(0.05 / 9):.1f}.")
    assert not any("Smallest" in note for note in only(results, "table_03", None).notes)


def test_the_note_tells_streams_apart_and_says_what_no_difference_could_reach() -> None:
    places = ("joint/top1", 0.125), ("audio/top1", 1.1), ("d_prime", 1.5)
    family = Family({}, 3, {("classification", name): size for name, size in places})
    *_, note = notes._tests({(0, 0): Cell(p=0.5)}, family)
    assert note.endswith("(80 % power): joint/top1 12.5, audio/top1 over 100, d' 1.500.")


def test_of_single_seeds_a_note_says_once_that_nothing_is_tested(tmp_path: Path) -> None:
    for name, method in (("a", "avmae"), ("b", "cav")):
        table_records.retrieval(tmp_path, name, method, 1.0 + (method == "cav"))
    table = only(tmp_path)
    assert "Nothing is tested against the best (one seed)." in table.notes
    assert not any(cell.marks for row in table.body for cell in row.cells)


def test_two_models_together_and_lost_outputs_are_not_tested_and_said_so(results: Path) -> None:
    for name in ("a0", "a1", "a2", "a3", "a4"):
        (results / "runs" / name / "per_sample.npz").unlink()
    table = only(results)
    assert rows(table)["AV-MAE"].cells[2].untested == "no outputs by sample"
    assert any("(no outputs by sample)." in note for note in table.notes)
    paper = table_records.on_paper("audioset-20k")
    for seed in range(3):
        for method, stream in (("audiomae", "audio"), ("visualmae", "visual"), ("cavmae", "joint"), ("cav", "joint")):
            known = {"audio": 3.0, "visual": 3.0, "joint": 0.5 + (method == "cav")}[stream]
            name = f"{method}{seed}"
            table_records.scored(results, name, method, "classification", {stream: known}, seed, **paper)
    cells = rows(only(results, "table_01", None))
    assert cells["Audio-MAE"].cells[2].best == "best"
    assert {cells[name].cells[2].untested for name in ("CAV", "CAV-MAE")} == {"two models together"}


def test_what_is_at_chance_is_marked_and_no_best(tmp_path: Path) -> None:
    keys = [f"{side}/R@{k}" for side in ("a2v", "v2a") for k in (1, 5, 10)]
    chance = dict(zip(keys, (1 / 60, 5 / 60, 10 / 60) * 2, strict=True))
    for seed in range(3):
        table_records.retrieval(tmp_path, f"a{seed}", "avmae", 1.0, seed, chance=chance)
        table_records.retrieval(tmp_path, f"b{seed}", "cav", 1.05, seed, chance=chance)
    table = only(tmp_path)
    cells = [row.cells[2] for row in table.body if row.cells[2].mean is not None]
    assert [cell.marks for cell in cells] == [("chance",), ("chance",)]
    assert not any(cell.best or cell.tied or cell.untested for cell in cells)
    assert "° the 95 % interval contains chance." in table.notes
    text = formats.find("latex").render(table)
    assert r"\textsuperscript{$\circ$}" in text
    assert r"$^\circ$ the 95 \% interval contains chance." in text


def test_an_interval_over_seeds_is_the_estimators_and_of_one_seed_the_records(results: Path) -> None:
    judge = Judge(results)
    three = measured(results, *(f"b{seed}" for seed in range(5)))
    found = judge.mean(three)
    assert found is not None
    assert judge.ends(three) == found.interval(share=True)
    table_records.retrieval(results, "one", "cav", 2.0, 9, ci95={"v2a/R@10": [0.1, 0.2]})
    assert judge.ends(measured(results, "one")) == (0.1, 0.2)
    assert judge.ends(measured(results, "b0")) is None  # its record has none


def test_outputs_in_another_order_are_the_same_outputs(results: Path) -> None:
    from avbench.store.records import read_per_sample

    one = Outputs(results).sample(measured(results, *(f"b{seed}" for seed in range(5))))
    record, outputs = read_record(results, "b1"), read_per_sample(results, "b1")
    assert record is not None
    write_record(results, record, {name: values[::-1] for name, values in outputs.items()})
    other = Outputs(results).sample(measured(results, *(f"b{seed}" for seed in range(5))))
    assert one is not None
    assert other is not None
    assert np.array_equal(one.drawn, other.drawn)


def test_the_mean_and_its_test_are_of_all_seeds(tmp_path: Path) -> None:
    for seed in range(6):
        for method, skill in (("avmae", 2.0), ("cav", 3.0)):
            table_records.retrieval(tmp_path, f"{method}{seed}", method, skill, seed)
    cells = [row.cells[2] for row in only(tmp_path).body if row.cells[2].mean is not None]
    assert [len(cell.run_ids) for cell in cells] == [6, 6]
    judge = Judge(tmp_path)
    names = [[f"{method}{seed}" for seed in range(6)] for method in ("cav", "avmae")]
    found = judge.difference(*(measured(tmp_path, *each) for each in names))
    assert found is not None
    assert found.seeds == 6
    assert 100 * found.value == pytest.approx(abs(cells[0].mean - cells[1].mean))  # type: ignore[operator]


def test_equal_models_are_rarely_told_apart() -> None:
    """A family of three columns of five models whose outputs are noise: what is separated is so by mistake."""

    class Noise(Judge):
        def __init__(self, seed: int) -> None:
            self.draw = np.random.default_rng(seed)
            self.values: dict[str, Any] = {}

        def at_chance(self, measured: Measured) -> bool:
            return False

        def difference(self, first: Measured, second: Measured) -> Any:
            from avbench.metrics.hierarchical import Resampled, difference

            weights = np.random.default_rng(0).multinomial(60, [1 / 60] * 60, 200) / 60
            samples = [
                Resampled(
                    (0, 1, 2, 3, 4), self.values[each.metric].mean(axis=1), self.values[each.metric] @ weights.T, 60
                )
                for each in (first, second)
            ]
            return difference(*samples)

    mistaken = 0
    for seed in range(60):
        judge = Noise(seed)
        columns = []
        for column in range(3):
            entries = []
            for model in range(5):
                name = f"{column} {model}"
                judge.values[name] = judge.draw.standard_normal((5, 60)) + judge.draw.standard_normal((5, 1)) / 8
                runs = tuple(Ran(name, "", each, 0.0) for each in range(5))
                own = Measured("retrieval", name, {}, "ids", runs)
                entries.append(Ranked((column, model), float(judge.values[name].mean()), own))
            columns.append((True, entries))
        family = judged(columns, judge)
        assert family.tests == 3 * 10
        mistaken += any(v.p_holm is not None and v.p_holm <= ranking.ALPHA for v in family.verdicts.values())
    assert mistaken <= 6
