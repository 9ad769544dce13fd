"""Event localization: annotations, seconds of clips, metrics against a count by hand, windows of frames, refusals."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
from label_rows import codes_of

from avbench.cli import main
from avbench.config import InputConfig
from avbench.data.annotations.events import Event, read_events
from avbench.data.corpus.clips import Clips
from avbench.data.corpus.seconds import SecondClips, frames_in
from avbench.data.feed.heard import HeardClips
from avbench.data.wants import Wants
from avbench.errors import InputError
from avbench.files import read_json
from avbench.store.extracted import Pooled
from avbench.tasks.event_localization import TASK, EventLocalizationConfig
from avbench.tasks.subject import Subject

Array = npt.NDArray[Any]
RATE, SECONDS = 100, 4


class Timed:
    """Clips of four seconds whose sound and frames (two a second) hold number of clip and place."""

    class_names, root = ("one",), Path("made")

    def __init__(self, ids: list[str], frames: int = 2 * SECONDS) -> None:
        self.ids, self.splits, self._frames = ids, ["test"] * len(ids), frames

    sha256 = "made"

    def __len__(self) -> int:
        return len(self.ids)

    def labels(self, i: int) -> tuple[str, ...]:
        return ("one",)

    def label_codes(self) -> Any:
        return codes_of(self)

    def duration(self, i: int) -> float:
        return float(SECONDS)

    def n_frames(self, i: int) -> int:
        return self._frames

    def frame_times(self, i: int) -> list[float]:
        return [SECONDS * k / self._frames for k in range(self._frames)]

    def waveform(self, i: int) -> tuple[Array, int]:
        return np.arange(SECONDS * RATE, dtype=np.float32) + 1000 * (i + 1), RATE

    def frame(self, i: int, k: int) -> Array:
        return np.full((4, 4, 3), 10 * i + k, np.uint8)

    def select(self, rows: Any) -> Timed:
        return Timed([self.ids[row] for row in rows], self._frames)


def seconds_of(clips: Any, **options: Any) -> SecondClips:
    return SecondClips(cast(Clips, clips), SECONDS, **options)


def test_a_second_is_its_own_sound_and_its_own_frames() -> None:
    parts = pickle.loads(pickle.dumps(seconds_of(Timed(["a", "b"]))))
    assert list(parts.ids) == [f"{name}@{second}" for name in "ab" for second in range(4)]
    sound, rate = parts.waveform(6)
    np.testing.assert_array_equal(sound, np.arange(200, 300) + 2000)
    assert (rate, parts.duration(6), parts.n_frames(6), parts.frame_times(6)) == (RATE, 1.0, 2, [0.0, 0.5])
    assert [int(parts.frame(6, k)[0, 0, 0]) for k in range(3)] == [14, 15, 15]
    assert list(parts.select([5, 0]).ids) == ["b@1", "a@0"]
    assert parts.label_codes()[0].tolist() == list(range(9))
    assert len({parts.sha256, parts.select([1]).sha256, seconds_of(Timed(["a", "b"]), context=2.0).sha256}) == 3


def test_more_sound_around_a_second_is_silence_beyond_the_clip() -> None:
    parts = seconds_of(Timed(["a"]), context=3.0)
    first, last = parts.waveform(0)[0], parts.waveform(3)[0]
    np.testing.assert_array_equal(first, np.r_[np.zeros(100), np.arange(200) + 1000])
    np.testing.assert_array_equal(last, np.r_[np.arange(200, 400) + 1000, np.zeros(100)])
    beyond = SecondClips(cast(Clips, Timed(["a"])), 9)
    assert not beyond.waveform(8)[0].any()
    assert beyond.n_frames(8) == 1  # the last one, which is nearest


def test_an_encoder_hears_one_second_and_sees_the_frames_shown_in_it() -> None:
    wants = Wants(modalities=("audio", "visual"), sample_rate=RATE, channels=1, seconds=10.0, frames=3, image=None)
    batch = HeardClips(cast(Clips, seconds_of(Timed(["a", "b"]))), wants).batch([6])
    np.testing.assert_array_equal(batch.sounds[0].numpy(), np.arange(200, 300) + 2000)
    assert batch.pictures[0][:, 0, 0, 0].tolist() == [14, 15, 15]  # two frames a second; the last one stays
    assert batch.times[0].tolist() == [0.0, 0.5, 0.5]


def test_frames_of_a_second_or_the_nearest_one() -> None:
    assert frames_in([0.0, 0.9, 1.0, 1.2], 1) == [2, 3]
    assert frames_in([0.0, 9.0], 3) == [0]
    assert frames_in([], 3) == []


AVE = "Category&VideoID&Quality&StartTime&EndTime\nBark, dog&x1&good&0&2\nBell&x2&good&1&4\nBell&x1&good&3&4\n"


def test_both_forms_of_annotations(tmp_path: Path) -> None:
    (tmp_path / "Annotations.txt").write_text(AVE)
    (tmp_path / "e.csv").write_text(
        'label,id,start,end\n"Bark, dog",x1,0,2\nBell,x2,1,2.4\nBell,x1,3,4\nBell,x2,2.4,4\n'
    )
    plain, table = read_events(tmp_path / "Annotations.txt"), read_events(tmp_path / "e.csv")
    assert plain[0] == Event("x1", "Bark, dog", ((0.0, 2.0),))
    assert [event.spans for event in table][1] == ((1.0, 2.4), (2.4, 4.0))
    for events in (plain, table):
        assert [[event.during(second) for second in range(4)] for event in events] == [
            [True, True, False, False], [False, True, True, True], [False, False, False, True]
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.txt", "Bell&x&good&1\n", "a.txt:1: found Bell&x&good&1"),
        ("a.txt", "Bell&x&good&3&1\n", "a later end"),
        ("a.csv", "id,label,start\nx,Bell,1\n", "lacks the column 'end'"),
        ("a.csv", "id,label,start,end\nx,Bell,one,2\n", "a.csv:2: found x,Bell,one,2"),
        ("a.csv", "id,label,start,end\n", "found no event"),
    ],
)
def test_other_files_are_refused_with_the_line(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=said):
        read_events(tmp_path / name)


def test_ave_s_own_list(shared: Path) -> None:
    events = read_events(shared / "data" / "annotations" / "ave" / "Annotations.txt")
    assert (len(events), len({event.label for event in events}), len({event.clip for event in events})) == (
        4143,
        28,
        4097,
    )
    assert sum(event.during(second) for event in events for second in range(10)) / 41430 == pytest.approx(
        0.83, abs=0.02
    )


class Model:
    """The sound tells the event where it happens, but for noise; the picture is noise."""

    device, progress, tune, folder, modalities = "cpu", False, None, Path("unused"), ("audio", "visual")

    def __init__(self, events: dict[str, list[Event]], config: EventLocalizationConfig, window: int) -> None:
        names = list(events)
        self.train, self.evaluated = Timed(names[: len(names) // 2]), Timed(names[len(names) // 2 :])
        self._events = events
        fields = [("input", InputConfig), ("seed", int), ("method_name", str), ("task", EventLocalizationConfig)]
        run = dataclasses.make_dataclass("Run", fields)
        self.config = run(dataclasses.replace(InputConfig(), segment_length=window), 0, "mine", config)

    def pooled(self, part: str) -> Pooled:
        clips = cast(Any, self.train if part == "train" else self.evaluated)
        seen = TASK.framed(clips, cast(Any, self.config))
        if self.config.input.segment_length:  # a vector a frame, two of them a second
            rows = [[self._vector(name, k // 2) for k in range(2 * SECONDS)] for name in seen.ids]
        else:
            rows = [[self._vector(*name.split("@"))] for name in seen.ids]
        audio = np.array(rows, np.float32)
        picture = np.random.default_rng(5).standard_normal(audio.shape).astype(np.float32)
        return Pooled(list(seen.ids), audio, picture, None)

    def _vector(self, name: str, second: Any) -> Array:
        happens = [event.label for event in self._events[name] if event.during(int(second))]
        place = {"Bark": 0, "Bell": 1}.get(happens[0] if happens else "", 2)
        return np.eye(8)[place] + 0.05 * np.random.default_rng([int(second), *name.encode()]).standard_normal(8)


@pytest.fixture
def events(tmp_path: Path) -> tuple[Path, dict[str, list[Event]]]:
    rng, lines = np.random.default_rng(0), ["id,label,start,end"]
    for i in range(80):
        start = int(rng.integers(4))
        lines.append(f"c{i},{('Bark', 'Bell')[i % 2]},{start},{start + int(rng.integers(1, 4))}")
    lines.append("c79,Bark,0,1")  # a second kind of event in the last clip, which does not hear it
    path = tmp_path / "events.csv"
    path.write_text("\n".join(lines) + "\n")
    of: dict[str, list[Event]] = {}
    for event in read_events(path):
        of.setdefault(event.clip, []).append(event)
    return path, of


def config_of(path: Path, **options: Any) -> EventLocalizationConfig:
    return EventLocalizationConfig(annotations=str(path), seconds=SECONDS, resamples=50, **options)


@pytest.mark.parametrize("window", [0, 4])
def test_shares_are_those_counted_by_hand(events: Any, window: int) -> None:
    path, of = events
    config = config_of(path)
    result = TASK.run(cast(Subject, Model(of, config, window)), config)
    assert (result.n, sorted(result.per_sample["id"])[-2:]) == (41, ["c79 Bark", "c79 Bell"])
    names, right = ["Bark", "Bell"], {"accuracy": [], "event": [], "background": []}
    for name, said in zip(result.per_sample["id"].tolist(), result.per_sample["audio/predicted"], strict=True):
        clip, _, label = name.partition(" ")
        event = next(each for each in of[clip] if label in ("", each.label))
        for second in range(SECONDS):
            wanted = names.index(event.label) if event.during(second) else -1
            right["accuracy"].append(said[second] == wanted)
            right["event" if wanted >= 0 else "background"].append(said[second] == wanted)
    for name, hits in right.items():
        assert result.metrics[f"audio/{name}"] == pytest.approx(np.mean(hits))
        low, high = result.ci95[f"audio/{name}"]
        assert low <= result.metrics[f"audio/{name}"] <= high
    assert result.metrics["audio/accuracy"] > 0.97 > 0.7 > result.metrics["visual/accuracy"]
    background = len(right["background"]) / len(right["accuracy"])
    assert result.chance["audio/accuracy"] == pytest.approx(background)
    assert TASK.recompute(result.per_sample, result.per_sample["id"].tolist(), config) == result.metrics
    assert set(TASK.recompute(result.per_sample, ["c60", "c61"], config)) == set(result.metrics)


def test_what_cannot_be_judged_is_refused(events: Any) -> None:
    path, _ = events
    clips: Any = Timed(["c1", "c2"])
    with pytest.raises(InputError, match="none of 81 events is in one of the 1 evaluated clips"):
        TASK.check_clips(clips, cast(Any, Timed(["zz"])), config_of(path))
    with pytest.raises(InputError, match="found 2 frames, valid: one a second, 4; prepare"):
        TASK.check_clips(clips, cast(Any, Timed(["c1"], frames=2)), config_of(path))
    with pytest.raises(InputError, match=r"task\.weight_decays: found none"):
        config_of(path, weight_decays=())


def test_every_kind_of_method_from_the_command_line(tmp_path: Path) -> None:
    lines = [f"{split}_{i:06d},{'ab'[i % 2]},0,{1 + i % 2}" for split in ("train", "test") for i in range(8)]
    (tmp_path / "events.csv").write_text("id,label,start,end\n" + "\n".join(lines) + "\n")
    words = ["run", "--task", "event_localization", "--preset", "smoke", "--device", "cpu", "--results", str(tmp_path)]
    settings = ["data.train_clips=8", "data.test_clips=8", "task.seconds=2", "task.iterations=5", "task.resamples=10"]
    given = ["--set", *settings, f"task.annotations={tmp_path / 'events.csv'}"]
    assert main([*words, "--method", "cavmae_sync", "visualmae", *given]) == 0
    records = [read_json(path) for path in sorted((tmp_path / "runs").glob("*/record.json"))]
    found = {each["method"]: set(each["metrics"]) for each in records}
    assert {name.partition("/")[0] for name in found["cavmae_sync"]} == {"audio", "visual", "joint"}
    assert found["visualmae"] == {"visual/accuracy", "visual/event", "visual/background"}
    assert main([*words, "--method", "visualmae", "--set", *settings]) == 2
