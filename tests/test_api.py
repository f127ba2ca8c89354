"""What `import adapters_xitt as xitt` gives: every name with an example that runs, the README's
lines character for character, the command line's own errors, and nothing printed."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from test_help import README, commands
from test_tree import PACKAGE, ROOT

import adapters_xitt as xitt
from adapters_xitt.cli import main
from adapters_xitt.hub import Repository

SNIPPET = """import adapters_xitt as xitt
nli   = xitt.train("demo-nli", method="lora", encoder="demo", name="nli")
pairs = xitt.train("demo-pairs", after=nli, mode="sequential", name="pairs")
xitt.evaluate("0.4*nli + pairs", tasks=["demo-pairs"]).frame  # pandas
model, tokenizer = pairs.to_peft()                            # or .to_adapters(): a model of that library, ready to run
xitt.run("recipes/quickstart.yaml").report()
"""  # noqa: E501
FUNCTIONS = sorted(name for name in xitt.__all__ if inspect.isfunction(getattr(xitt, name)))
SMALL = """encoder: demo
data: {root: demo}
methods: [{name: lora, rank: 2}]
intermediates: []
targets: [demo-pairs]
modes: [none]
languages: [de]
training: {max_steps: 2, selection_examples: 8}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with a store called docs, which has two modules and a run, and the run's recipe."""
    folder = tmp_path_factory.mktemp("face")
    (folder / "small.yaml").write_text(SMALL)
    settings = {"training.max_steps": 2, "training.selection_examples": 8}
    store = folder / "docs"
    for name, seed in (("a", 1), ("b", 2)):
        xitt.train(
            "demo-nli",
            settings,
            method="lora(rank=2)",
            seed=seed,
            encoder="demo",
            name=name,
            store=store,
        )
    xitt.run(folder / "small.yaml", store=store)
    return folder


@pytest.fixture
def there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    return folder


# -- the names -------------------------------------------------------------------------------------


def test_the_import_loads_nothing_heavy_and_lists_its_names() -> None:
    code = (
        "import sys, adapters_xitt as xitt; assert set(xitt.__all__) <= set(dir(xitt)); "
        "xitt.XittError, xitt.Module, xitt.load, xitt.list_tasks, xitt.Grid; "
        "print([name for name in ('torch', 'transformers', 'yaml') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_the_names_for_type_checkers_are_those_at_run_time() -> None:
    text = (PACKAGE / "__init__.py").read_text(encoding="utf-8")
    listed = re.findall(r"^    from (\S+) import (\w+) as \2$", text, flags=re.M)
    assert sorted(name for _, name in listed) == xitt.__all__, (
        "adapters_xitt/__init__.py: _ROOMS and the imports below TYPE_CHECKING differ in"
        f" {sorted({name for _, name in listed} ^ set(xitt.__all__))}"
    )
    for module, name in listed:
        assert getattr(importlib.import_module(module), name) is getattr(xitt, name)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        xitt.trian  # noqa: B018
    assert (PACKAGE / "py.typed").is_file()


# What files of api/ share: whole files, and functions of the others, which are the face.
SHARED_FILES = {"common", "expressions", "options", "workers"}
SHARED = {
    ("hub", "pull_into"),
    ("inspection", "exposure_in_words"),
    ("inspection", "library_of"),
    ("studies", "dry_run"),
    ("studies", "share"),
    ("tasks", "first_example"),
}


def test_every_public_function_of_api_is_offered() -> None:
    written = {
        (path.stem, node.name)
        for path in (PACKAGE / "api").glob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }
    assert {file for file, _ in written} >= SHARED_FILES and written >= SHARED
    for file, name in sorted(written - SHARED):
        if file not in SHARED_FILES:
            assert xitt._ROOMS.get(name) == f"api.{file}", (
                f"api/{file}.py: {name} is not in _ROOMS of adapters_xitt/__init__.py; one that"
                " nobody is offered starts with _, or stands in SHARED of tests/test_api.py"
            )


# What each command is in Python; no command is missing, and what is named is there.
SAME = {
    "run": "run",
    "plan": "plan",
    "report": "write_report",
    "ask": "ask",
    "submit": "submit",
    "score": "score",
    "train": "train",
    "compose": "compose",
    "evaluate": "evaluate",
    "show": "list_modules",
    "inspect": "inspect",
    "export": "export",
    "import": "import_module",
    "convert": "convert",
    "push": "push",
    "pull": "pull",
    "search": "search",
    "verify": "verify",
    "tasks": "list_tasks",
    "data check": "check_data",
    "data fetch": "fetch_data",
    "check-store": "check_store",
    "doctor": "doctor",
    "help": "__doc__",
}
# Options of commands that are no argument in Python: another function does it, or a value has it.
ELSEWHERE = {
    "run": {"dry_run"},  # plan
    "plan": {"details"},  # Plan.modules
    "report": set(),
    "compose": {"settings", "composition"},  # overrides
    "show": {"name", "results"},  # load, list_results
    "tasks": {"name", "encoder", "data", "store", "ceiling", "markdown"},  # show_task, upper_bound
    "export": {"without_head"},  # with_head
    "import": {"without_head"},
    "data fetch": {"folder"},  # to
}


def arguments(name: str) -> set[str]:
    """What a function takes, its options among it."""
    taken = set()
    function = getattr(xitt, name)
    hints = inspect.get_annotations(function, eval_str=False)
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD:
            taken.add(parameter.name)
            continue
        typed = re.fullmatch(r"Unpack\[(.*)\]", hints[parameter.name])
        options = eval(typed[1], vars(importlib.import_module(function.__module__)))
        taken |= set(options.__annotations__)
    return taken


@pytest.mark.parametrize("words", sorted(commands(main)))
def test_every_command_is_a_function_with_its_options(words: str) -> None:
    assert words in SAME, f"SAME of tests/test_api.py lacks {words}: its function, by name"
    name = SAME[words]
    if name == "__doc__":
        return
    assert name in xitt.__all__, f"_ROOMS of adapters_xitt/__init__.py lacks {name}: xitt {words}"
    options = {parameter.name for parameter in commands(main)[words].params}
    assert options - arguments(name) <= ELSEWHERE.get(words, set())


def test_every_public_function_says_its_errors_and_has_an_example() -> None:
    for name in FUNCTIONS:
        text = inspect.getdoc(getattr(xitt, name)) or ""
        assert ">>>" in text, f"{name} has no example"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_example_of_a_function_runs_and_prints_nothing_else(
    name: str, there, capfd, monkeypatch
) -> None:
    found = Repository("ana/xnli-sw", "c" * 40, ("lora", "sw"), 7, "2026-01-01")
    monkeypatch.setattr("adapters_xitt.hub.search", lambda words, **options: [found])
    function = getattr(xitt, name)
    finder = doctest.DocTestFinder(recurse=False)
    names = {each: getattr(xitt, each) for each in xitt.__all__}
    (example,) = finder.find(function, name, globs=names)
    runner = doctest.DocTestRunner(verbose=False)
    output: list[str] = []
    result = runner.run(example, out=output.append, clear_globs=False)
    assert result.attempted and not result.failed, "".join(output)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["calibration", "claims", "consistency", "variance"])
def test_the_example_of_a_grids_frame_runs(name: str, there) -> None:
    names = {each: getattr(xitt, each) for each in xitt.__all__}
    text = inspect.getdoc(getattr(xitt.Grid, name)) or ""
    example = doctest.DocTestParser().get_doctest(text, names, name, None, None)
    output: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(example, out=output.append)
    assert result.attempted and not result.failed, "".join(output)


# -- the README's lines ----------------------------------------------------------------------------


def test_the_lines_of_the_readme_run_as_they_stand(folder: Path, tmp_path: Path) -> None:
    """All but the last train the demo's modules as they are; the last runs the recipe that lies
    there, which is a small one here: the whole quickstart takes minutes."""
    python = (PACKAGE / "help" / "python.md").read_text(encoding="utf-8")
    assert SNIPPET in python and (SNIPPET in README or "python.md" in README)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "quickstart.yaml").write_text(SMALL)
    more = (
        "assert model(**tokenizer('a', 'b', return_tensors='pt')).logits.shape == (1, 2)\n"
        "assert pairs.metrics['score'] > 50\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XITT_STORE": str(tmp_path / "store")}
    ran = subprocess.run(
        [sys.executable, "-c", SNIPPET + more],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert not ran.stdout
    assert (tmp_path / "store" / "runs" / "quickstart" / "report.md").is_file()


# -- values ----------------------------------------------------------------------------------------


def test_scores_are_data_frames(there: Path) -> None:
    evaluation = xitt.evaluate(
        "0.4*a + b", ["demo-nli"], languages=["de", "fi"], store="docs", device="cpu"
    )
    frame = evaluation.frame
    assert frame.language.tolist() == ["de", "fi"] and evaluation.ok and not evaluation.failed
    assert frame.score.between(0, 100).all() and (frame.score == frame["score.accuracy"]).all()
    grid = xitt.load_run("small", store="docs")
    assert len(grid.frame) == len(grid.entries) == 1
    report = grid.report("elsewhere")
    assert "Zero-shot" in report.text and report.markdown.startswith("#")
    assert all(path.is_file() and path.parent.name == "elsewhere" for path in report.files)
    assert str(xitt.plan("small.yaml", store="docs")).startswith("To do: 0 of ")


def test_a_module_stands_for_itself_in_expressions(there: Path) -> None:
    first, second = (xitt.load(name, store="docs") for name in "ab")
    assert f"{first} + 0.5*{second}" == "a + 0.5*b"
    whole = xitt.compose(f"mean({first}, {second})", save="ab", store="docs")
    assert whole.manifest.merge and xitt.load("ab", store="docs") == whole
    assert xitt.explain(whole, store="docs").heads


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: xitt.train("demo-nly"), ["train", "demo-nly"]),
        (lambda: xitt.load("aa", store="docs"), ["show", "aa", "--store", "docs"]),
        (
            lambda: xitt.evaluate("a + zz", ["demo-nli"], store="docs"),
            ["evaluate", "a + zz", "demo-nli", "--store", "docs"],
        ),
        (
            lambda: xitt.train("demo-nli", ["training.epochz=1"], encoder="demo"),
            ["train", "demo-nli", "training.epochz=1", "--encoder", "demo"],
        ),
        (lambda: xitt.load_run("smal", store="docs"), ["report", "smal", "--store", "docs"]),
        (
            lambda: xitt.explain("a > b", store="docs"),
            ["compose", "a > b", "--store", "docs"],
        ),
        (lambda: xitt.check_store(store="none"), ["check-store", "--store", "none"]),
    ],
    ids=["task", "module", "expression", "override", "run", "form", "store"],
)
def test_an_error_is_the_command_lines(call, words, there: Path) -> None:
    from click.testing import CliRunner

    with pytest.raises(xitt.XittError) as error:
        call()
    printed = CliRunner().invoke(main, words)
    assert printed.exit_code == 2 and str(error.value) in printed.output


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"mode": "stac"}, "unknown mode 'stac'. Did you mean 'stack'?"),
        ({"device": "gpu"}, "unknown device 'gpu'"),
        ({"log": "tensorbord"}, "Did you mean 'tensorboard'?"),
        ({"threads": 0}, "--threads 0"),
        ({"overrides": "training.epochs=1"}, "a list of KEY=VALUE, or a mapping"),
        ({"precision": "17"}, "precision"),
        ({"name": "a/b"}, "a/b"),
    ],
)
def test_what_a_command_would_refuse_is_refused(options, part, there: Path) -> None:
    with pytest.raises(xitt.XittError, match=re.escape(part)):
        xitt.train("demo-nli", encoder="demo", store="docs", **options)


def test_progress_is_shown_to_whoever_asks(there: Path, capfd) -> None:
    settings = {"training.max_steps": 1, "training.selection_examples": 8}
    xitt.show_progress()
    try:
        xitt.train("demo-nli", settings, seed=9, encoder="demo", store="docs")
    finally:
        xitt.show_progress(False)
    printed = capfd.readouterr()
    assert "train demo-nli" in printed.err and not printed.out


# -- the commands' headings and the handbook -------------------------------------------------------


def test_every_command_that_is_written_is_listed() -> None:
    from adapters_xitt.cli.main import HEADINGS

    listed = {id(command) for group in HEADINGS.values() for command in group}
    for path in (PACKAGE / "cli").glob("*.py"):
        if path.stem in ("__main__", "main"):
            continue
        module = importlib.import_module(f"adapters_xitt.cli.{path.stem}")
        inside = {
            id(command)
            for group in vars(module).values()
            if isinstance(group, click.Group)
            for command in group.commands.values()
        }
        for name, command in vars(module).items():
            if isinstance(command, click.Command) and path.stem != "__init__":
                assert id(command) in listed | inside, (
                    f"cli/{path.name}: {name} is under no heading of HEADINGS in cli/main.py"
                )


def test_help_lists_every_command_under_a_heading() -> None:
    from adapters_xitt.cli.main import HEADINGS

    listed = [command.name for group in HEADINGS.values() for command in group]
    assert sorted(listed) == sorted(main.commands)
    text = main.get_help(click.Context(main))
    assert all(f"\n{heading}:\n" in text for heading in HEADINGS)


def test_help_shows_pages_and_the_nearest_topic() -> None:
    from click.testing import CliRunner

    pages = [path.stem for path in (PACKAGE / "help").glob("*.md")]
    listed = CliRunner().invoke(main, ["help"])
    assert pages and all(re.search(rf"^ *{page} ", listed.output, re.M) for page in pages)
    for page in pages:
        shown = CliRunner().invoke(main, ["help", page])
        assert shown.exit_code == 0 and "# " not in shown.output.splitlines()[0]
    refused = CliRunner().invoke(main, ["help", pages[0][:-1] + "x"])
    assert refused.exit_code == 2 and f"Did you mean '{pages[0]}'?" in refused.output
