"""The README and the handbook: their tables are the code's, their commands parse, their links lead
somewhere, their claims name tests that are there."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import click
import pytest
from test_tree import PACKAGE, ROOMS, ROOT

from adapters_xitt import __version__
from adapters_xitt.cli import main
from adapters_xitt.modules import composition, methods
from adapters_xitt.report import words
from adapters_xitt.study import recipe

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in (PACKAGE / "help").glob("*.md")}
TEXTS = {"README": README, **PAGES}
CONTRIBUTING = (ROOT / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")


def table(text: str, *heads: str) -> list[list[str]]:
    """The lines of the table that has these first headings, cell by cell; the headings first."""
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith("| " + " | ".join(heads)):
            break
    else:
        raise AssertionError(f"no table of {heads}")
    rows = [line]
    next(lines)
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append(line)
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


def between(text: str, name: str) -> str:
    return text.partition(f"<!-- {name} -->\n")[2].partition(f"\n<!-- /{name} -->")[0]


# ------------------------------------------------------------------------------------ the pages


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_page_says_what_it_is_about_and_the_readme_links_it(name: str) -> None:
    assert re.match(r"# [A-Z].+: .+\n\n", PAGES[name])
    assert f"(adapters_xitt/help/{name}.md)" in README


def test_the_readme_is_two_screens_and_its_picture_is_small() -> None:
    assert len(README.splitlines()) <= 140
    picture = PACKAGE / "help" / "quickstart.png"
    assert 'src="adapters_xitt/help/quickstart.png"' in README
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size < 150_000


@pytest.mark.parametrize(
    "path",
    [ROOT / "README.md", ROOT / ".github/CONTRIBUTING.md", *(PACKAGE / "help").glob("*.md")],
    ids=lambda path: path.stem,
)
def test_links_and_paths_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if ":" not in link]
    assert not [link for link in links if not (path.parent / link).exists()]
    files = re.findall(r"`?\b((?:scripts|tests|recipes|\.github)/[\w./-]*\w)", text)
    assert not [file for file in files if not (ROOT / file).exists()]
    topics = re.findall(r"`xitt help ([a-z-]+)`", text)
    assert not set(topics) - set(PAGES)


def test_the_version_to_cite_is_this_one() -> None:
    assert f"`version: {__version__}`" in README


def test_the_readme_names_the_commands_that_install_and_test() -> None:
    assert "\nscripts/demo " in README and "\nscripts/test " in README
    assert "scripts/test" in (ROOT / ".ci" / "run").read_text()


# ------------------------------------------------------------------------------ tables of the code


@pytest.mark.parametrize("page", ["README", "methods"])
def test_the_methods_and_modes_are_those_of_the_code(page: str) -> None:
    heads, *lines = table(TEXTS[page], "method", "none")
    assert heads[1:] == list(methods.MODES)
    modes = {}
    for first, *marks in lines:
        assert set(marks) <= {"✓", "–"}
        having = tuple(mode for mode, mark in zip(methods.MODES, marks, strict=True) if mark == "✓")
        modes |= dict.fromkeys(re.findall("`([a-z0-9_]+)`", first), having)
    assert modes == {name: method.modes for name, method in methods.METHODS.items()}


@pytest.mark.parametrize(
    ("name", "page"), [("methods", "methods"), ("python", "python"), ("measures", "recipes")]
)
def test_a_table_is_what_the_code_says(name: str, page: str) -> None:
    spec = importlib.util.spec_from_file_location("tables", ROOT / "scripts" / "tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert between(PAGES[page], name) == module.TABLES[name](), f"scripts/pages {name} writes it"


def test_the_tasks_are_those_of_the_code() -> None:
    from adapters_xitt.cli.render.tasks import tasks_table

    assert between(PAGES["tasks"], "tasks") == tasks_table(), "scripts/pages tasks writes it"


def test_the_quickstart_is_one_table_in_both_places() -> None:
    assert between(README, "quickstart") == between(PAGES["quickstart"], "quickstart") != ""


def commands(group: click.Group, *above: str) -> dict[str, click.Command]:
    """Every command by its words, groups left out."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        words = (*above, name)
        if isinstance(command, click.Group):
            found |= commands(command, *words)
        else:
            found[" ".join(words)] = command
    return found


def test_the_commands_are_those_of_the_code() -> None:
    _, *lines = table(PAGES["commands"], "command")
    named = [
        name
        for first, *_ in lines
        for name in re.findall(r"`xitt ([a-z -]+?)(?=[ `]\W|[ `][A-Z\[]|`| hub:)", first)
    ]
    different = sorted(set(named) ^ set(commands(main)))
    assert sorted(named) == sorted(commands(main)), f"help/commands.md and cli/: {different}"


def test_every_mark_of_the_report_is_explained_on_its_page() -> None:
    for meaning in words.MEANINGS.values():
        assert f"\n- {meaning}\n" in PAGES["report"]


@pytest.mark.parametrize("page", ["README", "expressions"])
def test_the_expressions_parse(page: str) -> None:
    _, *lines = table(TEXTS[page], "expression")
    texts = [text for first, *_ in lines for text in re.findall("`([^`]+)`", first)]
    assert len(texts) > 8
    for text in texts:
        composition.parse(text.replace("(…)", "(a, b, density=0.3)"))


def test_the_architecture_and_the_tree_name_every_room() -> None:
    floors = PAGES["architecture"]
    assert set(re.findall(r"`([a-z_]+)/?`", floors)) >= {*ROOMS, "help"}
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir()} - {"__pycache__"}
    assert set(re.findall(r"^  ([a-z_]+)/ ", README, flags=re.M)) == folders


# ------------------------------------------------------------------------------ claims and commands


def test_every_claim_names_tests_that_are_there() -> None:
    claims = [line for line in PAGES["honesty"].splitlines() if line.startswith("| **")]
    assert len(claims) >= 19
    for claim in claims:
        tests = re.findall(r"`(test_\w+)::(test_\w+)`", claim)
        assert tests, claim
        for file, name in tests:
            text = (ROOT / "tests" / f"{file}.py").read_text(encoding="utf-8")
            assert f"\ndef {name}(" in text, f"{file}::{name} is not there"


def lines_of_shell() -> list[tuple[str, str]]:
    texts = {**TEXTS, "CONTRIBUTING": CONTRIBUTING}
    return [
        (page, line)
        for page, text in texts.items()
        for block in re.findall(r"```sh\n(.*?)```", text, flags=re.S)
        for line in block.splitlines()
    ]


@pytest.mark.parametrize(
    ("page", "line"), [pair for pair in lines_of_shell() if pair[1].startswith("xitt")]
)
def test_every_command_line_is_one_that_the_commands_parse(page: str, line: str) -> None:
    given = shlex.split(line.replace("$large", "E").replace("$", ""), comments=True)[1:]
    name = " ".join(given[:2]) if given[0] == "data" else given[0]
    command = commands(main)[name]
    command.make_context(name, given[len(name.split()) :], resilient_parsing=False)


def test_every_script_that_is_named_is_there() -> None:
    for page, line in lines_of_shell():
        if line.startswith("scripts/"):
            assert (ROOT / line.split()[0]).stat().st_mode & 0o100, page


def test_the_recipes_of_the_handbook_are_recipes(tmp_path: Path) -> None:
    whole, *parts = re.findall(r"```yaml\n(.*?)```", PAGES["recipes"], flags=re.S)
    assert parts
    (tmp_path / "whole.yaml").write_text(whole)
    assert recipe.load(tmp_path / "whole.yaml").targets == ["udpos", "xnli", "tatoeba"]
    for number, part in enumerate(parts):
        path = tmp_path / f"part{number}.yaml"
        rest = "encoder: demo\nmethods: [seq_bn]\ntargets: [tydiqa]\nmodes: [none, stack]\n"
        if "intermediates:" not in part:
            rest += "intermediates: [squad]\n"
        path.write_text(rest + part)
        assert recipe.load(path).mixtures()


def test_the_python_of_the_readme_is_the_handbooks() -> None:
    (snippet,) = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    assert snippet in PAGES["python"]
    compile(snippet, "README.md", "exec")
