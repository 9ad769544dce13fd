"""Methods and tasks are found without importing them; plug-ins from other packages too."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from avbench import registry
from avbench.errors import InputError


def test_the_entry_of_a_method_is_read_without_importing_it() -> None:
    code = "import sys; from avbench import registry; registry.entries('method')['cavmae'].card['summary']; "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_name_lists_the_nearest_and_the_valid() -> None:
    with pytest.raises(InputError, match=r"unknown method 'cavmea'\. Did you mean 'cavmae'\? Valid: .*cavmae"):
        registry.find("method", "cavmea")


def test_every_entry_loads_and_exposes_what_the_runner_needs() -> None:
    for kind, names in (("method", ("METHOD", "CONFIG")), ("task", ("TASK", "CONFIG"))):
        for entry in registry.entries(kind).values():
            module = entry.load()
            for name in names:
                assert hasattr(module, name), f"{entry.module} has no {name}"


_ALONE = ("class_retrieval", "classification", "event_localization", "knn", "linear_probe", "reconstruction")
_MORE = ("absent_sound", "corruption", "localization", "offset", "retrieval", "shuffled_pairs")
_PAIRS = tuple(sorted((*_ALONE, *_MORE)))
MATRIX = {
    "audiomae": _ALONE,
    "avmae": _PAIRS,
    "cav": tuple(name for name in _PAIRS if name != "reconstruction"),
    "cavmae": _PAIRS,
    "cavmae_sync": _PAIRS,
    "vanilla_avmae": _PAIRS,
    "visualmae": _ALONE,
}


def test_methods_can_do_what_tasks_ask_for() -> None:
    """The same pairs as when methods listed tasks by name, and the tasks that came since."""
    methods, tasks = registry.entries("method"), registry.entries("task")
    assert {name: registry.tasks_of(entry) for name, entry in methods.items()} == MATRIX
    for name, task in tasks.items():
        assert registry.methods_for(task) == tuple(each for each in MATRIX if name in MATRIX[each])
        assert "tasks" not in task.card


def entry(folder: Path, kind: registry.Kind, name: str, card: str) -> registry.Component:
    path = folder / f"{name}.py"
    path.write_text(f"CARD = Card({card})\n")
    return registry.Component(name, f"other.{name}", path, "other", kind)


def test_a_task_that_no_method_has_heard_of_is_done_by_those_that_offer_what_it_asks_for(tmp_path: Path) -> None:
    task = entry(tmp_path, "task", "new", 'summary="new", needs=("weights",), abilities=("patch_tokens", "speech")')
    assert registry.why_not(registry.find("method", "cavmae"), task) == (
        "method 'cavmae' cannot do task 'new': it does not offer speech."
    )
    speaks = 'summary="mine", modalities=("audio",), abilities=("speech", "patch_tokens")'
    assert registry.why_not(entry(tmp_path, "method", "mine", speaks), task) == ""
    plain = entry(tmp_path, "task", "plain", 'summary="plain", needs=("weights",)')
    assert all(registry.why_not(method, plain) == "" for method in registry.entries("method").values())


def test_a_card_that_names_tasks_is_told_what_to_say_instead(tmp_path: Path) -> None:
    old = entry(tmp_path, "method", "old", 'summary="old", modalities=("audio",), objectives=(), tasks=("retrieval",)')
    with pytest.raises(InputError, match="CARD has no abilities; add it in place of tasks") as error:
        registry.why_not(old, registry.find("task", "retrieval"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "card",
    [
        'CARD = Card(summary="a (b)", modalities=("audio",), abilities=())',
        'CARD = Card(\n    summary="a (b)",\n    modalities=("audio",),\n    abilities=(),\n)  # its end',
        'CARD = Card(summary="a (b)",\n            modalities=("audio",),\n            abilities=())',
        'CARD=Card(summary="a (b)", modalities=("audio",), abilities=())',
        'CARD = Card(\n    summary="""a \\\n(b\\\n)""",\n    modalities=("audio",),\n    abilities=(),\n)',
    ],
)
def test_a_card_is_read_however_it_is_written(tmp_path: Path, card: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(f'"""Mine."""\n\nx = (\n    1\n)\n\n{card}\n\n\ndef f(\n    a\n):\n    return (\n        a\n)\n')
    found = registry.Component("mine", "other.mine", path, "other").card
    assert found == {"summary": "a (b)", "modalities": ("audio",), "abilities": ()}


def test_a_plug_in_package_is_listed_and_loads(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "__init__.py").touch()
    (tmp_path / "other" / "mine.py").write_text(
        "from avbench.methods.cavmae import CONFIG, METHOD\nfrom avbench.methods.base import Card\n\n"
        'CARD = Card(summary="mine", modalities=("audio", "visual"), abilities=("embeddings",))\n'
    )
    info = tmp_path / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[avbench.methods]\nmine = other.mine\n")
    code = textwrap.dedent(
        """
        from avbench.cli import main
        from avbench import registry
        main(["list", "methods"])
        print(registry.find("method", "mine").load().METHOD.__name__)
        """
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    assert "mine" in answer.stdout
    assert "[from other]" in answer.stdout


def test_the_options_of_methods_are_known_without_torch() -> None:
    code = (
        "import sys; from avbench import registry; c = [m.config_class() for m in registry.entries('method').values()];"
    )
    code += "print(len(c)); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) >= 7
    for entry in registry.entries("method").values():
        assert entry.config_class is entry.load().CONFIG
