"""The shape of the tree: floors, docstrings, nothing of a machine, recipes that validate."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from adapters_xitt.errors import XittError
from adapters_xitt.study import recipe

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "adapters_xitt"

# A room, a folder or a module at the top, imports from rooms before it in this list; a folder's own
# modules import each other freely.
ROOMS = (
    "errors",
    "languages",
    "hashing",
    "text",
    "progress",
    "sizes",
    "stopping",
    "atomic",
    "locks",
    "text_files",
    "safe_files",
    "tensor_files",
    "integrity",  # ground
    "metrics",
    "hub",
    "demo",
    "tasks",
    "data",
    "modules",
    "model",
    "kinds",
    "evaluation",
    "training",
    "study",
    "analysis",
    "sharing",
    "report",
    "api",
    "cli",
)


def _modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imported_rooms(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if (
            isinstance(node, ast.ImportFrom)
            and node.module
            and node.module.split(".")[0] == "adapters_xitt"
        ):
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {
                alias.name.split(".")[1]
                for alias in node.names
                if alias.name.startswith("adapters_xitt.")
            }
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}: a relative import"
    return found - {"__version__"}


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_up_the_floors_only(path: Path) -> None:
    room = _room(path)
    assert room in ROOMS, f"{room} has no place in the order of rooms"
    above = {
        other
        for other in _imported_rooms(path)
        if other != room and ROOMS.index(other) >= ROOMS.index(room)
    }
    assert not above, f"{path.name} imports {above}, which come later"


@pytest.mark.parametrize(
    "path", [PACKAGE / "__init__.py", *_modules()], ids=lambda path: str(path.relative_to(ROOT))
)
def test_every_module_says_what_it_is_for(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), f"{path} has no docstring"


def test_every_public_name_has_a_docstring() -> None:
    missing = []
    for path in _modules():
        if "grammars" in path.parts:
            continue  # nine times the same few functions, one grammar each
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                if not ast.get_docstring(node):
                    missing.append(f"{path.relative_to(PACKAGE)}:{node.lineno} {node.name}")
    assert not missing


def test_only_commands_take_more_than_seven_arguments() -> None:
    """Of cli/, which ruff's rule leaves out: a command has as many arguments as options."""
    for path in (PACKAGE / "cli").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and not node.decorator_list:
                count = len([*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs])
                assert count <= 7, f"{path}:{node.lineno} {node.name}"


@pytest.mark.parametrize("name", [".ci/run", "pyproject.toml", "recipes/*.yaml", "scripts/*"])
def test_no_line_is_over_a_hundred_columns(name: str) -> None:
    """Of what ruff doesn't read; locks are written by a tool."""
    files = [path for path in ROOT.glob(name) if path.is_file()]
    assert files
    for path in files:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            assert len(line) <= 100, f"{path}:{number}"


def test_help_is_quick_because_heavy_imports_wait() -> None:
    code = (
        "import sys, adapters_xitt.cli; "
        "print([name for name in ('torch', 'transformers', 'rich', 'yaml') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.name
)
def test_every_recipe_says_what_it_answers_and_how_to_run_it(path: Path) -> None:
    head = [
        line for line in path.read_text(encoding="utf-8").splitlines()[:6] if line.startswith("#")
    ]
    assert "?" in " ".join(head)
    assert f"xitt run recipes/{path.name}" in " ".join(head)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.name
)
def test_every_recipe_validates(
    path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if "XITT_DATA" in path.read_text(encoding="utf-8"):
        monkeypatch.setenv("XITT_DATA", str(request.getfixturevalue("data_dir")))
    assert recipe.load(path).targets


def test_the_paper_grid_validates_where_its_data_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XITT_DATA", raising=False)
    found = recipe.load(ROOT / "recipes" / "paper-grid.yaml")
    assert (len(found.intermediates), len(found.targets)) == (9, 9)


def test_a_file_of_ones_own_beside_the_small_world(tmp_path: Path) -> None:
    """One that is named whole needs no data folder."""
    text = (
        "encoder: demo\ndata: {root: demo}\nmethods: [lora]\nintermediates: []\n"
        "targets: [demo-nli]\nmodes: [none]\ntasks: {demo-nli: {files: {train: FILE}}}\n"
    )
    path, own = tmp_path / "r.yaml", tmp_path / "own.tsv"
    own.write_text("a\tb\tneutral\n")
    path.write_text(text.replace("FILE", str(own)))
    assert recipe.load(path).targets == ["demo-nli"]
    path.write_text(text.replace("FILE", "own.tsv"))
    with pytest.raises(XittError, match=r"own\.tsv: where\? Set data\.root"):
        recipe.load(path)


def test_a_wrong_recipe_is_told_all_at_once(tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text("""encoder: demo
methods: [seq_bm, {name: lora, rnk: 3}]
intermediates: [demo-nly, demo-retrieval]
targets: [demo-pairs]
modes: [none, stak]
languages: [de, xx]
seeds: [1, two]
training: {learning_rate: -1, epochz: 3}
tasks:
  demo-pos: {languages: [fr], training: {batch_size: 0}, files: {test: nowhere.conllu}}
  demo-nli: {selection: test}
data: {root: "${XITT_NOT_SET}"}
""")
    with pytest.raises(XittError) as told:
        recipe.load(path, ["training.clip=high"])
    text = str(told.value)
    for part in (
        "line 2: unknown method 'seq_bm'. Did you mean 'seq_bn'?",
        "unknown option 'rnk'. Did you mean 'rank'?",
        "line 3: unknown task 'demo-nly'. Did you mean 'demo-nli'?",
        "demo-retrieval trains nothing",
        "line 5: unknown mode 'stak'. Did you mean 'stack'?",
        "line 6: unknown language 'xx'",
        "line 7: seeds.1",
        "line 8: training.learning_rate",
        "line 8: unknown key in training 'epochz'. Did you mean 'epochs'?",
        "line 10: task demo-pos: unknown language 'fr'",
        "line 10: tasks.demo-pos.training.batch_size",
        "line 11: task demo-nli: selection never reads a test",
        "line 12: data.root: the environment variable",
        "command line, training.clip=high: training.clip",
    ):
        assert part in text, part
    assert sorted(os.listdir(tmp_path)) == ["wrong.yaml"], "nothing may be written"
