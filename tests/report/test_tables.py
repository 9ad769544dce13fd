from __future__ import annotations

import importlib
import shlex
import statistics
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import table_records

from avbench.commands.parse import parse
from avbench.commands.tables import Command
from avbench.errors import InputError
from avbench.launch.missing import missing
from avbench.launch.planner import shell
from avbench.report import ranking
from avbench.report.records import Records
from avbench.report.tables import entry, published
from avbench.report.tables.cells import Builder
from avbench.report.tables.selection import Query, find
from avbench.report.tables.table import Cell, Table, TableRow
from avbench.report.tables.tables_of import tables_of


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return table_records.write(tmp_path_factory.mktemp("results"))


def only(results: Path, name: str, data: str | None = None) -> Table:
    (table,) = tables_of(results, [name], data)
    return table


def row(table: Table, first: str) -> TableRow:
    return next(each for each in table.body if each.stub[0] == first)


def test_every_entry_is_read_and_lays_out_without_records(tmp_path: Path) -> None:
    tables = tables_of(tmp_path)
    assert [table.id for table in tables][:3] == ["table_01", "table_02a", "table_02b"]
    assert len(tables) == 16 + 8 + 7
    for table in tables:
        assert not table.measured
        for line in table.body:
            assert len(line.cells) == len(table.columns)
            assert len(line.stub) == len(table.stub)
        for line in table.header:
            assert sum(span for _, span in line) == len(table.columns)
    assert not (tmp_path / "runs").exists()


def test_every_published_number_of_the_papers_is_in_a_cell(tmp_path: Path) -> None:
    tables = {table.id: table for table in tables_of(tmp_path)}
    for paper, prefix in (("cavmae", "table_"), ("cavmae_sync", "table_sync_")):
        for name in {number.row["table"] for number in published.read(paper)}:
            table = tables[
                prefix
                + (
                    name
                    if name[0] not in "123456789"
                    else f"{int(name.strip('abcdefghi')):02d}{name.lstrip('0123456789')}"
                )
            ]
            shown = [c.published_text for line in table.body for c in line.cells if c.published_text]
            for number in published.read(paper):
                if number.row["table"] == name:
                    shown.remove(number.text)  # each once
            assert paper != "cavmae" or shown == []


def test_the_layout_is_that_of_the_paper(shared: Path, tmp_path: Path) -> None:
    import json

    layout = json.loads((shared / "paper" / "layout.json").read_text(encoding="utf-8"))
    tables = {table.id: table for table in tables_of(tmp_path)}
    for name, wanted in layout.items():
        if name == "_about":
            continue
        table = tables[name]
        rows = [each for each in wanted["rows"] if each["type"] == "row"]
        assert len(table.body) == len(rows), name
        assert len(table.columns) == len(wanted["columns"]), name
        groups = [each["label"] for each in wanted["rows"] if each["type"] == "group"]
        assert [each.label for each in table.rows if not isinstance(each, TableRow)] == groups, name
        if name == "table_04":
            continue
        blank = {(label, column) for label, column in wanted["blank_cells"]}
        for line, own in zip(rows, table.body, strict=True):
            for column, cell in enumerate(own.cells):
                if (line["row_label"], column) in blank:
                    assert cell.published_text == "", (name, line["row_label"], column)


def test_a_cell_has_mean_spread_and_what_is_behind_it(results: Path) -> None:
    table = only(results, "table_08", "soundshapes")
    cell = row(table, "CAV-MAE, λ_c=0.1").cells[0]
    values = [100 * r.metrics["a2v/R@1"] for r in Records(results).rows if r.id in ("a20", "a21", "a22")]
    assert cell.mean == pytest.approx(np.mean(values))
    assert cell.sd == pytest.approx(np.std(values, ddof=1))
    assert (cell.n_seeds, cell.n, cell.run_ids) == (3, 60, ("a20", "a21", "a22"))
    assert cell.published is None
    assert "soundshapes" in table.caption


def test_best_and_second_follow_the_direction(results: Path) -> None:
    table = only(results, "table_03", "soundshapes")
    cells = {each.stub[0]: each.cells[2] for each in table.body}
    assert cells["CAV-MAE, λ_c=0.1"].best == "best"
    assert cells["CAV"].best == "second"
    assert cells["AV-MAE"].best == ""
    assert cells["CAV-MAE, λ_c=0.01"].mean is None


def test_soundshapes_and_the_papers_data_do_not_mix(results: Path) -> None:
    paper = only(results, "table_01")
    assert {run for each in paper.body for c in each.cells for run in c.run_ids} == {"c0", "c1", "c2"}
    other = only(results, "table_01", "soundshapes")
    assert all(run.startswith("b") for each in other.body for c in each.cells for run in c.run_ids)
    assert len(other.columns) == 3
    assert all(c.published is None for each in other.body for c in each.cells)


def test_published_number_difference_and_marks_stand_beside_it(results: Path) -> None:
    table = only(results, "table_01")
    cell = row(table, "CAV-MAE").cells[2]
    assert cell.published == 40.5
    assert cell.mean is not None
    assert cell.difference == pytest.approx(cell.mean - 40.5)
    assert cell.marks == ("other_n", "other_settings")
    assert any("train.epochs 25 (12)" in note for note in table.notes)
    assert row(table, "Audio-MAE").cells[0].marks == ("other_n", "other_settings")  # it did not start from ImageNet-MAE


def test_the_ensemble_is_of_both_models_scores(results: Path) -> None:
    from avbench.metrics.classification import summarise
    from avbench.store.records import read_per_sample

    cell = row(only(results, "table_01"), "Audio-MAE").cells[2]
    audio, visual = (read_per_sample(results, name) for name in ("c0", "c1"))
    wanted = summarise((audio["audio/scores"] + visual["visual/scores"]) / 2, audio["target"])["mAP"]
    assert cell.mean == pytest.approx(100 * wanted)
    assert (cell.rows, cell.run_ids, cell.published) == (2, ("c0", "c1"), 36.7)
    assert row(only(results, "table_01"), "Visual-MAE").cells[2].covered


def test_a_subset_is_known_by_name(results: Path) -> None:
    cell = row(only(results, "table_13"), "0.75").cells[0]
    assert cell.run_ids == ("c3",)
    assert "other_n" in cell.marks


def test_seeds_of_other_settings_or_clips_are_never_mixed(tmp_path: Path) -> None:
    for seed in range(2):
        table_records.retrieval(tmp_path, f"a{seed}", "cavmae", 2.0, seed)
    table_records.retrieval(tmp_path, "b", "cavmae", 2.0, 2, settings={"train.batch_size": 8})
    table_records.retrieval(tmp_path, "c", "cavmae", 2.0, 3, data_sha256="other")
    table_records.retrieval(tmp_path, "d", "cavmae", 2.0, 4, weights="untrained")
    table_records.retrieval(tmp_path, "e", "cavmae", 3.0, 1, created="2027-01-01T00:00:00+00:00")
    query = Query(method="cavmae", task="retrieval", data=("soundshapes",), metric="a2v/R@1", presets=("soundshapes",))
    found = find(Records(tmp_path), query)
    assert found is not None
    assert [record.id for record in found.records] == ["a0", "e"]  # the newest of each seed


def test_a_methods_own_defaults_are_usual_settings(tmp_path: Path) -> None:
    table_records.retrieval(tmp_path, "usual", "cavmae", 2.0)
    varied = {"settings": {"method.masking_strategy": "time_frequency"}}
    for seed in range(3):  # of a sweep: newer, and more of them
        table_records.retrieval(tmp_path, f"v{seed}", "cavmae", 3.0, seed, created=f"2027-01-0{seed + 1}", **varied)
    wanted = {"method": "cavmae", "task": "retrieval", "data": ("soundshapes",), "metric": "a2v/R@1"}
    for where, ids in (
        ({}, ["usual"]),
        ({"method.masking_strategy": "time_frequency"}, ["v0", "v1", "v2"]),
        ({"method.masking_ratio": 0.5}, ["usual"]),
    ):
        found = find(Records(tmp_path), Query(**wanted, presets=("soundshapes",), where=where))
        assert found is not None
        assert [record.id for record in found.records] == ids, where


def test_a_sweep_over_a_recipe_is_not_taken_for_the_recipe(tmp_path: Path) -> None:
    recipe = {"presets": ["soundshapes", "soundshapes-study"], "method.masking_ratio": 0.75, "train.steps": 640}
    swept = {**recipe, "method.masking_ratio": 0.5}  # as the first preset alone has it
    for seed in range(3):
        table_records.retrieval(tmp_path, f"s{seed}", "cavmae", 3.0, seed, created=f"2027-0{seed + 1}", settings=swept)
    table_records.retrieval(tmp_path, "r0", "cavmae", 2.0, settings=recipe)
    query = Query(method="cavmae", task="retrieval", data=("soundshapes",), metric="a2v/R@1", presets=("soundshapes",))
    found = find(Records(tmp_path), query)
    assert found is not None
    assert [record.id for record in found.records] == ["r0"]


def test_clips_that_were_damaged_fill_no_cell_of_clean_ones(tmp_path: Path) -> None:
    damaged = {"settings": {"data.corruption": "sound_noise@5"}, "data_sha256": "damaged"}
    for seed in range(3):
        table_records.retrieval(tmp_path, f"d{seed}", "cavmae", 1.0, seed, **damaged)
    assert row(only(tmp_path, "table_03", "soundshapes"), "CAV-MAE, λ_c=0.1").cells[0].mean is None
    table_records.retrieval(tmp_path, "c0", "cavmae", 3.0)
    (cell, *_) = row(only(tmp_path, "table_03", "soundshapes"), "CAV-MAE, λ_c=0.1").cells
    assert cell.run_ids == ("c0",)


def test_the_test_of_two_cells_is_of_the_difference_of_their_means(results: Path) -> None:
    archive = Records(results)
    judge = ranking.Judge(results)

    def of(method: str, metric: str) -> Any:
        wanted = {"task": "retrieval", "data": ("soundshapes",), "metric": metric, "presets": ("soundshapes",)}
        return find(archive, Query(method=method, **wanted))

    from avbench.store.records import read_per_sample

    for other, metric in (("cav", "a2v/R@1"), ("avmae", "a2v/R@10"), ("cav", "v2a/R@5")):
        best, second = of("cavmae", metric), of(other, metric)
        side, _, k = metric.partition("/R@")
        hits = [
            np.stack([read_per_sample(results, r.id)[f"{side}_rank"] <= int(k) for r in found.records]).astype(float)
            for found in (best, second)
        ]
        own = judge.difference(best.measured, second.measured)
        assert own is not None
        apart = hits[0] - hits[1]  # (S, n): all seeds
        n = apart.shape[1]
        assert own.seeds == len(best.records) == len(apart) > 1
        assert own.value == pytest.approx(statistics.fmean(best.values) - statistics.fmean(second.values))
        assert own.value == pytest.approx(apart.mean())
        assert own.spread.clips == pytest.approx(apart.mean(axis=0).var(ddof=1) / n, rel=0.15)  # 1,000 resamples
        assert own.spread.seeds == pytest.approx(apart.mean(axis=1).var(ddof=1) / len(apart))
        both = apart - apart.mean(axis=0) - apart.mean(axis=1, keepdims=True) + apart.mean()
        wanted = (both**2).sum() / (n - 1) / n / (len(apart) - 1) / len(apart)
        assert own.spread.both == pytest.approx(wanted, rel=0.15)


def test_what_was_compared_is_kept_and_may_be_lost(tmp_path: Path) -> None:
    table_records.write(tmp_path)
    first = only(tmp_path, "table_03", "soundshapes")
    assert (tmp_path / ranking.CACHE).exists()
    (tmp_path / ranking.CACHE).write_text("[")
    assert only(tmp_path, "table_03", "soundshapes") == first
    for path in tmp_path.glob("runs/*/per_sample.npz"):
        path.unlink()
    kept = only(tmp_path, "table_03", "soundshapes")
    assert kept == first
    (tmp_path / ranking.CACHE).unlink()
    lost = only(tmp_path, "table_03", "soundshapes")
    assert [c.mean for each in lost.body for c in each.cells] == [c.mean for each in first.body for c in each.cells]
    assert any(c.p is not None for each in first.body for c in each.cells)
    assert not any(c.tied for each in lost.body for c in each.cells)
    assert {c.untested for each in lost.body for c in each.cells} == {"", "no outputs by sample"}
    assert "Nothing is tested against the best (no outputs by sample)." in lost.notes


def test_a_table_is_the_same_after_json(results: Path) -> None:
    for table in tables_of(results):
        assert Table.from_dict(table.to_dict()) == table


def test_commands_fill_what_is_empty_and_nothing_else(results: Path) -> None:
    todo = missing(results, [entry.load("table_03")], "soundshapes")
    rest = "--task retrieval --seeds 0 1 2 --data soundshapes"
    assert shell(todo) == [
        f"avbench run --method vanilla_avmae {rest} --results {results}",
        f"avbench run --method cavmae {rest} --set method.lambda_c=0.01 --results {results}",
    ]
    assert missing(results, [entry.load("table_08")], "soundshapes") == []


def test_commands_on_the_papers_data_pretrain_once_and_evaluate_these_weights(tmp_path: Path) -> None:
    todo = shell(missing(tmp_path, [entry.load("table_02a"), entry.load("table_02d")], None))
    made = {line.partition("=")[0]: line for line in todo if line.startswith("W")}
    assert len(made) == 4  # three weights of the contrast, and one without normalised targets
    assert "--recipe cavmae/lambda-0.1 " in made["W1"]
    assert all(line.partition('--checkpoint "$')[2].partition('"')[0] in made for line in todo if line[0] != "W")
    assert len(set(todo)) == len(todo)


@pytest.mark.parametrize("data", [None, "soundshapes"])
def test_the_command_line_reads_every_command_and_each_method_once(tmp_path: Path, data: str | None) -> None:
    todo = missing(tmp_path, [entry.load(name) for name in entry.names()], data)
    for wanted in dict.fromkeys(wanted for chain in todo for wanted in chain):
        name, *options = wanted.words
        command: Any = importlib.import_module(f"avbench.commands.{name}").Command
        parsed = command.parse(name, options) if hasattr(command, "parse") else parse(command, name, options)
        assert isinstance(parsed, command)
        methods = [parsed.method] if isinstance(parsed.method, str) else list(parsed.method)
        assert len(set(methods)) == len(methods), wanted


@pytest.mark.slow
def test_every_command_is_understood(tmp_path: Path) -> None:
    """Each is parsed and resolved as the command line would, but for weights and data that are not here."""
    from avbench import registry
    from avbench.recipes import recipe as recipes
    from avbench.running.request import Request, resolve

    seen: set[tuple[object, ...]] = set()
    for data in (None, "soundshapes"):
        todo = missing(tmp_path, [entry.load(name) for name in entry.names()], data)
        assert todo
        for wanted in dict.fromkeys(wanted for chain in todo for wanted in chain):
            options: dict[str, list[str]] = {}
            for word in wanted.words[1:]:
                if word.startswith("--"):
                    options[word] = []
                else:
                    options[next(reversed(options))].append(word)
            (recipe,) = options.get("--recipe", ("",))
            methods = options.get("--method") or [recipes.load(recipe).method]
            assert len(set(methods)) == len(methods), wanted
            for method in methods:
                for task in options.get("--task", [""]):
                    assert not task or task in registry.tasks_of(registry.find("method", method))
                    keys = tuple(word.partition("=")[0] for word in options.get("--set", ()))
                    alike = (recipe, task, tuple(options.get("--preset", ())), keys, "cavmae" in method)
                    if alike in seen:  # but for values and the method: once is enough, and each takes a while
                        continue
                    seen.add(alike)
                    request = Request(
                        method=method,
                        task=task,
                        data=options.get("--data", [None])[0],
                        recipe=recipe,
                        presets=tuple(options.get("--preset", ())),
                        sets=(*options.get("--set", ()), *(('train.init="w"',) if wanted.follows else ())),
                    )
                    resolve(request)
        subprocess.run(["sh", "-n"], input="\n".join(shell(todo)), text=True, check=True)  # valid shell


def test_the_command_writes_files_and_says_how_full_they_are(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Command(results=results, out=tmp_path, ids=("table_03",), data="soundshapes").execute() == 0
    assert "table_03.tex  9 of 15 cells measured" in capsys.readouterr().out
    assert (tmp_path / "table_03.tex").read_text().startswith("% packages: booktabs, graphicx\n")
    assert Command(results=results, ids=("table_08",), data="soundshapes", format=("terminal",)).execute() == 0
    assert "Retrieval in both directions" in capsys.readouterr().out
    assert Command(results=results, ids=("table_03",), data="soundshapes", missing=True).execute() == 0
    (first, _) = capsys.readouterr().out.splitlines()
    assert shlex.split(first)[:4] == ["avbench", "run", "--method", "vanilla_avmae"]


def test_wrong_requests_are_refused(results: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"unknown data set 'soundshape'. Did you mean 'soundshapes'"):
        Command(results=results, out=tmp_path, data="soundshape").execute()
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match=r"unknown table 'table_02aa'. Did you mean 'table_02a'"):
        Command(results=results, ids=("table_2aa",)).execute()
    with pytest.raises(InputError, match="about the papers' data sets"):
        Command(results=results, ids=("table_06",), data="soundshapes").execute()
    with pytest.raises(InputError, match="--missing prints"):
        Command(results=results, missing=True, launch=True).execute()


def test_an_entry_with_a_wrong_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table_x.yaml"
    text = (entry.FOLDER / "table_02a.yaml").read_text(encoding="utf-8")
    path.write_text(text.replace("method: cavmae", "metod: cavmae"), encoding="utf-8")
    with pytest.raises(InputError, match=r"unknown key 'metod'. Did you mean 'method'"):
        entry.read(path)


def test_an_entry_of_ones_own_needs_one_file(results: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "title: Mine\ncaption: Ranks.\nstub: [Method]\npaper: cavmae\ntable: none\n"
        "columns: [{label: median, data: msrvtt, task: retrieval, metric: a2v/median_rank, direction: down}]\n"
        "rows: [{stub: [CAV], method: cav}, {stub: [CAV-MAE], method: cavmae}]\n",
        encoding="utf-8",
    )
    table = Builder(Records(results)).build(entry.read(path), "soundshapes")
    cells: list[Cell] = [each.cells[0] for each in table.body]
    assert [cell.best for cell in cells] == ["second", "best"]
    assert cells[0].mean is not None
    assert cells[1].mean is not None
    assert cells[1].mean < cells[0].mean


def test_probes_are_averaged_by_their_probabilities_not_their_logarithms(tmp_path: Path) -> None:
    """Clip 0 has class 0. Means of probabilities put it first (0.505 and 0.45), those of logarithms second."""
    from avbench.report.records import Records
    from avbench.report.tables.ensemble import ensemble
    from avbench.store.records import write_record

    ids, target = np.array(["x", "y"]), np.array([0, 1])
    found = {"audio": [[0.98, 0.02], [0.6, 0.4]], "visual": [[0.03, 0.97], [0.3, 0.7]]}
    for side, method in (("audio", "audiomae"), ("visual", "visualmae")):
        arrays = {"id": ids, "target": target, f"{side}/scores": np.log(np.array(found[side], np.float32))}
        record = table_records.record(side, method, "linear_probe", metrics={f"{side}/mAP": 0.5}, n=2)
        write_record(tmp_path, record, arrays)
    rows = {row.id: row for row in Records(tmp_path).rows}
    assert ensemble(tmp_path, [rows["audio"]], [rows["visual"]], "mAP") == [1.0]
