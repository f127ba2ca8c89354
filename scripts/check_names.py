"""Finds names in the code that are not the field's: words that say nothing, and words of our own.

Prints `file:line: name (word)` for every class, function, argument, attribute and variable of the
package and the scripts that is called so, and exits with 1 where there is one. Prose is free; so
is what stores, shared modules and recipes are found by: keys in strings, and the fields in STORED.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent

# No name is just this word: it does not say what the value is.
EMPTY = set(
    "found one at own where told row said spoken say look looks looked made mixed mount"
    " unmount".split()
)
# No part of a name (snake_case or CamelCase) is this word: the field calls it otherwise.
DIALECT = set(
    "rig mounted unmounted bench means material lowered units keeper journal parcel desk mirror"
    " headline born spoken".split()
)
# Fields of records that are stored or shared, or keys of recipes: found by this spelling.
STORED = {
    ("study/results.py", "headline"),
    ("data/readers/pairs.py", "own"),
}
# Hashed into the small world's fingerprint, which is in the keys of stored results.
UNTOUCHED = ("adapters_xitt/demo/",)


def parts(name: str) -> list[str]:
    """The words of a name: `_read_rig` and `ReadRig` are read, rig."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]


def names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every name that a module gives, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id if isinstance(node, ast.Name) else node.attr
        elif isinstance(node, ast.alias) and node.asname:
            yield node.lineno, node.asname
        elif isinstance(node, (ast.MatchAs, ast.MatchStar, ast.ExceptHandler)) and node.name:
            yield node.lineno, node.name


def offenders(path: Path) -> Iterator[str]:
    """The lines to print about one file."""
    relative = path.relative_to(ROOT).as_posix()
    for word in parts(path.stem):
        if word in EMPTY | DIALECT:
            yield f"{relative}:1: the file's name ({word})"
    for line, name in names(ast.parse(path.read_text(encoding="utf-8"))):
        if any(relative.endswith(file) and name == field for file, field in STORED):
            continue
        bare = name.strip("_")
        words = [bare] if bare.lower() in EMPTY else [w for w in parts(bare) if w in DIALECT]
        for word in words:
            yield f"{relative}:{line}: {name} ({word})"


def is_python(path: Path) -> bool:
    """Whether a file is Python by its suffix, or by its first line where it has none."""
    if path.suffix or not path.is_file():
        return path.suffix == ".py"
    with path.open("rb") as file:
        return b"python" in file.readline()


def sources(path: Path) -> list[Path]:
    """The Python files below a folder, or the one file that the path is."""
    files = [path] if path.is_file() else path.rglob("*")
    return [
        file
        for file in files
        if is_python(file) and not file.relative_to(ROOT).as_posix().startswith(UNTOUCHED)
    ]


def main() -> int:
    """Prints every offender below the folders or files given, or in the package and the scripts."""
    given = [Path(argument).resolve() for argument in sys.argv[1:]]
    paths = given or [ROOT / "adapters_xitt", ROOT / "scripts"]
    files = sorted(file for path in paths for file in sources(path))
    lines = [line for file in files for line in offenders(file)]
    print("\n".join(lines), end="\n" if lines else "")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
