"""What the documents say works: links, command lines, and the guides' files, which run as plug-ins."""

from __future__ import annotations

import ast
import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from avbench.commands.parse import parse

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("avbench", "tests", "benchmarks", "docs", "sweeps")
_PROTOCOL = "docs/protocol/"
# The numbers after a page: 1.9, 1.2-1.7, "3 and 6", "1.14, 3.3"; a line may end before them.
_NUMBER = r"\d+(?:\.\d+)?(?:-\d+(?:\.\d+)?)?"
_CITED = re.compile(rf"{_PROTOCOL}(\w+)\.md[ \n#]+({_NUMBER}(?:(?:,| and) {_NUMBER})*)")
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert not missing


def test_the_readme_has_no_gaps() -> None:
    for page in PAGES:
        assert not re.search(r"^(RUN_OUTPUT|MEASURED|TODO)$", page.read_text(encoding="utf-8"), re.MULTILINE)


def _texts() -> dict[Path, str]:
    """Returns what is written in code, tests and pages, by file."""
    files = [path for name in SOURCES for path in (ROOT / name).rglob("*") if path.suffix in (".py", ".md", ".yaml")]
    return {path: path.read_text(encoding="utf-8") for path in [*files, *ROOT.glob("*.md")]}


def _cited(text: str) -> list[tuple[str, str]]:
    """Returns the sections that a text cites, (page, number), both ends of a range."""
    joined = re.sub(r"\n[ #]*", " ", text)
    return [(page, number) for page, numbers in _CITED.findall(joined) for number in re.findall(r"[\d.]+", numbers)]


def test_every_cited_section_is_there() -> None:
    headings = {
        path.stem: set(re.findall(r"^##+ (\d+(?:\.\d+)?) ", path.read_text(encoding="utf-8"), re.MULTILINE))
        for path in (ROOT / _PROTOCOL).glob("*.md")
    }
    cited = {(path.name, *section) for path, text in _texts().items() for section in _cited(text)}
    assert len(cited) > 50
    assert not sorted((name, page, number) for name, page, number in cited if number not in headings.get(page, set()))


def test_citations_of_pages_name_a_section_and_no_page_that_is_not_here() -> None:
    """Sections were once cited of notes that lay outside the repository."""
    outside = re.compile(r"(?<![\w/])" + "facts" + r"/\w+\.md|\bfacts \d+\.\d")
    for path, text in _texts().items():
        assert not outside.search(text), path
        pages = re.findall(rf"{_PROTOCOL}(\w+)\.md", text)
        assert all((ROOT / _PROTOCOL / f"{page}.md").exists() for page in pages), path


def shell_lines(page: Path) -> list[str]:
    """Returns the lines of a page's blocks of shell commands, fenced or indented, continued lines joined."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    fenced = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [*"".join(fenced).splitlines(), *re.findall(r"^    (.*)$", text, re.MULTILINE)]


def _command_lines() -> list[list[str]]:
    """Returns the words of each ``avbench`` command in a block of code, without those that stand for others (...)."""
    found = []
    for page in (page for page in PAGES if page.name != "CHANGELOG.md"):
        for line in re.findall(r"^(?:torchrun .*-m )?avbench (.*)$", "\n".join(shell_lines(page)), re.MULTILINE):
            words = shlex.split(line.replace("[RUN ...]", ""), comments=True)
            if "..." not in words:
                found.append(words)
    return found


@pytest.mark.parametrize("words", _command_lines(), ids=" ".join)
def test_every_command_line_is_accepted(words: list[str]) -> None:
    name, *options = words
    module = importlib.import_module(f"avbench.commands.{name}")
    command = module.ACTIONS[options.pop(0)] if hasattr(module, "ACTIONS") else module.Command
    parsed = command.parse(name, options) if hasattr(command, "parse") else parse(command, name, options)
    assert isinstance(parsed, command) or name == "check"  # whose word encoder is a command of its own


def test_command_lines_mean_the_same_in_zsh() -> None:
    """It refuses a word with brackets, stars or braces that matches no file, where bash leaves it as it is."""
    for page in PAGES:
        for line in shell_lines(page):
            if line.startswith(("avbench ", "pip ")) and "..." not in line:
                bare = re.sub(r"'[^']*'|\"[^\"]*\"|#.*|\$\([^)]*\)", "", line)
                assert not re.search(r"[][*?{}]", bare), f"{page.name}: {line}"


def test_files_of_the_repository_are_yaml_and_name_what_is_there() -> None:
    """Those that no tool here reads: forms, workflows, citation."""
    found = [*ROOT.glob(".github/**/*.yml"), ROOT / "CITATION.cff", ROOT / ".pre-commit-config.yaml"]
    read = {path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in found}
    assert len(read) >= 6
    assert all(isinstance(each, dict) for each in read.values())
    assert [each["year"] for each in read["CITATION.cff"]["references"]] == [2023, 2025]
    marks = {word for path in found for word in re.findall(r"pytest -m \"?(\w+)", path.read_text(encoding="utf-8"))}
    assert marks == {"slow", "browser", "slurm", "torture"}
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines():
        assert line.startswith("#") or re.fullmatch(r"[\w.-]+==[\w.]+", line), line


def test_the_page_of_settings_is_what_the_code_says() -> None:
    from avbench.commands.settings import page

    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == page(), (
        "avbench list settings --format markdown > docs/settings.md"
    )


@pytest.mark.parametrize(("kind", "name"), [("method", "sigmoid"), ("task", "alignment")])
def test_the_guide_s_file_runs_from_a_package_of_one_s_own(kind: str, name: str, tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "guides" / f"{kind}.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    ((group, line),) = re.findall(r"```toml\n\[project\.entry-points\.\"(.*)\"\]\n(.*)\n```", guide)
    package = tmp_path / "mypackage"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / f"{name}.py").write_text(example, encoding="utf-8")
    info = tmp_path / "mypackage-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mypackage\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[{group}]\n{line}\n".replace('"', ""), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "AVBENCH_CACHE": str(tmp_path / "cache")}
    sets = ["data.train_clips=16", "data.test_clips=8", "train.batch_size=8", "train.steps=2"]
    words = [sys.executable, "-m", "avbench"]

    def avbench(*more: str) -> str:
        answer = subprocess.run(
            [*words, *more], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    assert "[from mypackage]" in avbench("list", f"{kind}s")
    names = {"method": "cavmae", "task": "retrieval", kind: name}
    table = avbench("run", "--method", names["method"], "--task", names["task"], "--set", *sets)
    assert f"{names['method']} (untrained)" in table
    assert f"{names['task']} on soundshapes" in table


def _public_functions(tree: ast.Module) -> list[ast.FunctionDef]:
    bodies = [
        tree.body,
        *(node.body for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name[0] != "_"),
    ]
    return [each for body in bodies for each in body if isinstance(each, ast.FunctionDef) and each.name[0] != "_"]


def test_functions_of_three_or_more_arguments_say_what_they_are() -> None:
    """By themselves, or by naming the function whose arguments they take."""
    elsewhere = re.compile(r"[Ss]ee (the base class|:class:|:func:)|[Aa]rguments (as )?in :func:|[Aa]s (for|in) :")
    silent = []
    for path in sorted((ROOT / "avbench").rglob("*.py")):
        for function in _public_functions(ast.parse(path.read_text(encoding="utf-8"))):
            given = function.args
            every = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
            named = [each.arg for each in every if each.arg not in ("self", "cls")]
            text = ast.get_docstring(function) or ""
            if len(named) > 2 and "Args:\n" not in text and not elsewhere.search(text):
                silent.append(f"{path.relative_to(ROOT)}: {function.name}({', '.join(named)})")
    assert not silent


def test_test_files_have_names_of_their_own() -> None:
    """Pytest imports those outside of packages by name alone: of two of one name it collects the first."""
    seen: dict[str, list[str]] = {}
    for path in (ROOT / "tests").rglob("*.py"):
        if not (path.parent / "__init__.py").exists() and path.name != "conftest.py":
            seen.setdefault(path.name, []).append(str(path.relative_to(ROOT)))
    assert not [paths for paths in seen.values() if len(paths) > 1]
