"""Prints a table of the handbook from the code, as Markdown.

python scripts/tables.py methods    what each method trains, its options and its learning rate
python scripts/tables.py measures   what a question can ask of
python scripts/tables.py python     the names that `import adapters_xitt` gives
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


def methods() -> str:
    """A line for each method, in the order of the code."""
    from adapters_xitt.modules.methods import METHODS

    lines = [
        "| method | what it trains | options, and where nothing is said | learning rate |",
        "| --- | --- | --- | ---: |",
    ]
    for method in METHODS.values():
        options = ", ".join(f"`{name}: {default(value)}`" for name, value in method.options.items())
        lines.append(f"| `{method.name}` | {method.about} | {options} | {method.learning_rate:g} |")
    return "\n".join(lines)


def default(value: Any) -> str:
    """A default as a recipe has it."""
    return f"[{', '.join(map(str, value))}]" if isinstance(value, tuple) else str(value)


def measures() -> str:
    """A line for each measure; those after temperature scaling go by their own name and an
    ending."""
    from adapters_xitt.analysis.calibration.table import AFTER
    from adapters_xitt.analysis.measures import MEASURES

    lines = ["| measure | what it is | kinds of tasks |", "| --- | --- | --- |"]
    for name, measure in MEASURES.items():
        if not name.endswith(AFTER):
            kinds = ", ".join(measure.kinds) or "all"
            lines.append(f"| `{name}` | {measure.about} | {kinds} |")
    return "\n".join(lines)


def python() -> str:
    """A line for each public name, by alphabet: the first sentence of its docstring."""
    import adapters_xitt

    lines = ["| name | what it is or does |", "| --- | --- |"]
    for name in adapters_xitt.__all__:
        text = " ".join((getattr(adapters_xitt, name).__doc__ or "").partition("\n\n")[0].split())
        sentence = text.partition(". ")[0].rstrip(".").replace("|", "\\|")
        lines.append(f"| `{name}` | {sentence} |")
    return "\n".join(lines)


TABLES: dict[str, Callable[[], str]] = {
    "methods": methods,
    "measures": measures,
    "python": python,
}

if __name__ == "__main__":
    print(TABLES[sys.argv[1]]())
