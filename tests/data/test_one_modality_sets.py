"""Public sets of sound alone or pictures alone, in folders that look like theirs: lists, folds, all folds in a word."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from esc50_sounds import ENCODER, esc50
from video_files import tone, write_video

from avbench.cli import main
from avbench.config import DataConfig, InputConfig
from avbench.data import catalogue
from avbench.data.catalogue import one_modality_rows
from avbench.data.catalogue.reading import Reading
from avbench.data.corpus.clips import Clips, modalities_of
from avbench.data.locate import locate, open_source
from avbench.errors import InputError
from avbench.metrics.classification import summarise
from avbench.running import plan
from avbench.store.records import all_records, read_per_sample


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path / "cache"))


def opened(name: str, **options: object) -> Clips:
    data = DataConfig(source=name, **options)  # type: ignore[arg-type]
    return open_source(locate(data, InputConfig()), workers=1, progress=False)


def splits(clips: Clips) -> dict[str, str]:
    return dict(zip(clips.ids, clips.splits, strict=True))


def test_esc50_is_sound_in_five_folds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "prepare", "esc50", "--root", str(esc50(tmp_path / "ESC-50")), "--workers", "1"]) == 0
    assert "2,000" in capsys.readouterr().out
    for fold in range(1, 6):
        clips = opened("esc50", fold=fold)
        assert modalities_of(clips) == ("audio",)
        assert splits(clips) == {id: "test" if id.startswith(f"{fold}-") else "train" for id in clips.ids}
        part = clips.select([9, 0])
        assert list(part.splits) == [splits(clips)[id] for id in part.ids]
    assert {clips.labels(i) for i in range(10)} == {("dog",), ("rain",)}
    with pytest.raises(InputError, match=r"data.fold: found 6, valid: 1 to 5, the folds of "):
        opened("esc50", fold=6)


def test_all_folds_are_one_word_and_each_clip_is_judged_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["data", "prepare", "esc50", "--root", str(esc50(tmp_path / "ESC-50")), "--workers", "1"])
    (tmp_path / "ear.py").write_text(ENCODER)
    words = ["run", "--encoder", f"{tmp_path / 'ear.py'}:Ear", "--task", "knn", "--results", str(tmp_path / "r")]
    capsys.readouterr()
    assert main([*words, "--data", "esc50", "--folds", "--set", "task.k=1"]) == 0
    out = capsys.readouterr().out
    records = list(all_records(tmp_path / "r"))
    (whole,) = (each for each in records if "folds" in each)
    alone = sorted((each for each in records if "folds" not in each), key=lambda each: each["config"]["data"]["fold"])
    assert [each["config"]["data"]["fold"] for each in alone] == [1, 2, 3, 4, 5]
    assert [each["n"] for each in alone] == [2] * 5
    kept = read_per_sample(tmp_path / "r", whole["id"])
    assert (whole["n"], len(set(kept["id"].tolist()))) == (10, 10)
    by_fold = [each["metrics"]["audio/top1"] for each in alone]
    assert by_fold == [1.0, 1.0, 0.5, 1.0, 1.0]  # the high dog is taken for rain
    assert whole["metrics"]["audio/top1"] == pytest.approx(0.9)
    assert whole["folds"]["metrics"]["audio/top1"] == by_fold
    assert whole["folds"]["mean"]["audio/top1"] == pytest.approx(0.9)
    found = summarise(kept["audio/scores"], kept["target"], absent="present")
    own = {name: value for name, value in whole["metrics"].items() if "/folds/" not in name}
    assert {f"audio/{name}": pytest.approx(value) for name, value in found.items()} == own
    assert whole["metrics"]["audio/folds/top1"] == pytest.approx(0.9)
    assert "audio/top1: mean over 5 folds 0.9000 (1.0000, 1.0000, 0.5000, 1.0000, 1.0000)" in out
    assert main([*words, "--data", "esc50", "--folds", "--set", "task.k=1"]) == 0
    assert capsys.readouterr().out.count("(reused, nothing computed)") == 6
    # Damaged clips are computed fold by fold, and the clean ones that they are judged by are there.
    assert main([*words, "--data", "esc50", "--folds", "--set", "task.k=1", "data.corruption=sound_noise@5"]) == 0
    done = (json.loads(path.read_text()) for path in (tmp_path / "r").glob("stages/vectors/*/done.json"))
    assert sorted(each["n"] for each in done) == [2] * 5 + [10]
    capsys.readouterr()
    assert main([*words, "--data", str(tmp_path / "ESC-50"), "--folds"]) == 2
    assert "--folds: found no folds in " in capsys.readouterr().err


def test_every_clip_of_all_folds_is_extracted_once_and_no_number_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["data", "prepare", "esc50", "--root", str(esc50(tmp_path / "ESC-50")), "--workers", "1"])
    (tmp_path / "ear.py").write_text(ENCODER)

    def found(results: Path) -> tuple[list[int], dict[str, dict[str, float]]]:
        """Returns the clips of each extraction, and metrics by run."""
        words = ["run", "--encoder", f"{tmp_path / 'ear.py'}:Ear", "--task", "knn", "class_retrieval", "linear_probe"]
        assert main([*words, "--data", "esc50", "--folds", "--set", "task.resamples=0", "--results", str(results)]) == 0
        done = (json.loads(path.read_text()) for path in results.glob("stages/vectors/*/done.json"))
        return sorted(each["n"] for each in done), {each["id"]: each["metrics"] for each in all_records(results)}

    once = found(tmp_path / "once")
    monkeypatch.setattr(plan, "has_folds", lambda clips: False)
    often = found(tmp_path / "often")
    assert once[0] == [10]
    assert often[0] == [2] * 5 + [8] * 5
    assert once[1] == often[1]
    assert len(once[1]) == 15 + 2  # class_retrieval learns nothing


def test_ucf101_is_pictures_in_three_folds(tmp_path: Path) -> None:
    root, lists = tmp_path / "UCF", tmp_path / "UCF" / "ucfTrainTestlist"
    lists.mkdir(parents=True)
    names = [f"{action}/v_{action}_g{group:02d}_c01.avi" for action in ("Archery", "YoYo") for group in (1, 8, 15, 22)]
    for level, name in enumerate(names):
        heard = tone(0.5, 440.0) if level % 2 else None
        write_video(root / name, levels=[20 * level] * 13, sound=heard, codec="mpeg4", audio_codec="libmp3lame")
    for fold, group in ((1, "g01"), (2, "g08"), (3, "g15")):
        tested = [name for name in names if group in name]
        (lists / f"testlist0{fold}.txt").write_text("\n".join(tested) + "\n")
        trained = [f"{name} {1 if 'Archery' in name else 101}" for name in names if name not in tested]
        (lists / f"trainlist0{fold}.txt").write_text("\n".join(trained) + "\n")
    assert main(["data", "prepare", "ucf101", "--root", str(root), "--workers", "1", "--size", "16"]) == 0
    for fold, group in ((1, "g01"), (2, "g08"), (3, "g15")):
        clips = opened("ucf101", fold=fold)
        assert modalities_of(clips) == ("visual",)
        assert splits(clips) == {id: "test" if group in id else "train" for id in clips.ids}
    assert (len(clips), clips.labels(0), clips.n_frames(0)) == (8, ("Archery",), 10)


def test_fsd50k_has_several_labels_and_a_split_of_its_own(tmp_path: Path) -> None:
    root = tmp_path / "FSD50K"
    truth = root / "FSD50K.ground_truth"
    truth.mkdir(parents=True)
    dogs = '"Bark,Dog,Domestic_animals_and_pets,Animal","/m/1,/m/2,/m/3,/m/4"'
    dev = ["fname,labels,mids,split", f"101,{dogs},train", "102,Rain,/m/06mb1,val"]
    (truth / "dev.csv").write_text("\n".join(dev) + "\n")
    (truth / "eval.csv").write_text('fname,labels,mids\n103,"Dog,Animal","/m/0bt9lr,/m/0jbk"\n104,Rain,/m/06mb1\n')
    for id, part in ((101, "dev"), (102, "dev"), (103, "eval")):
        sound = tone(0.5, 4.0 * id)
        write_video(root / f"FSD50K.{part}_audio" / f"{id}.wav", sound=sound, audio_codec="pcm_s16le")
    assert main(["data", "prepare", "fsd50k", "--root", str(root), "--workers", "1"]) == 0
    clips = opened("fsd50k")
    assert splits(clips) == {"101": "train", "102": "tune", "103": "test"}
    assert clips.labels(0) == ("Bark", "Dog", "Domestic_animals_and_pets", "Animal")
    assert clips.labels(2) == ("Dog", "Animal")
    assert clips.class_names == ("Animal", "Bark", "Dog", "Domestic_animals_and_pets", "Rain")
    account = json.loads((clips.root / "catalogue.json").read_text())
    assert account["counts"]["test"]["missing"] == 1
    with pytest.raises(InputError, match=r"data.fold: found 2, valid: 1, as .* has no folds"):
        opened("fsd50k", fold=2)


def test_a_name_with_a_comma_of_its_own_is_not_taken_for_two_classes(tmp_path: Path) -> None:
    path = tmp_path / "dev.csv"
    path.write_text('fname,labels,mids,split\n101,"Dog,Animal","/m/2,/m/4",train\n102,"Chirp, tweet","/m/5",train\n')
    rows = one_modality_rows.fsd50k(Reading(path, catalogue.entry("fsd50k"), ""))
    assert next(rows).labels == ("Dog", "Animal")
    with pytest.raises(InputError, match=r"dev\.csv:3: found 'Chirp, tweet', valid: as many labels, .* mids \(1\)"):
        next(rows)


@pytest.mark.parametrize("name", ["esc50", "fsd50k", "ucf101"])
def test_what_is_not_there_is_told_with_how_to_get_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert main(["run", "--method", "audiomae", "--task", "knn", "--data", name, "--results", str(tmp_path / "r")]) == 2
    assert f"'avbench data show {name}' says how to get it" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["data", "prepare", name, "--root", str(tmp_path / "empty")]) == 2
    assert "To get it: The " in (error := capsys.readouterr().err) or "To get it: Zenodo" in error


def test_a_line_that_ends_early_is_named(tmp_path: Path) -> None:
    path = tmp_path / "esc50.csv"
    path.write_text("filename,fold,target,category\n1-a-0.wav,1,0,dog\n2-a-0.wav,1\n")
    reading = Reading(path, catalogue.entry("esc50"), "")
    with pytest.raises(InputError, match=r"esc50\.csv:3: found '2-a-0\.wav,1', valid: a line with category;"):
        list(reading.named("filename", "fold", "category"))
