"""Prints the methods as a Markdown table: what each trains, its options and its learning rate.

python scripts/methods_table.py
"""

from __future__ import annotations

from typing import Any

from adapters_xitt.modules.methods import METHODS


def table() -> str:
    """A line for each method, in the order of the code."""
    lines = [
        "| method | what it trains | options, and where nothing is said | learning rate |",
        "| --- | --- | --- | ---: |",
    ]
    for method in METHODS.values():
        options = ", ".join(f"`{name}: {shown(value)}`" for name, value in method.options.items())
        lines.append(f"| `{method.name}` | {method.about} | {options} | {method.learning_rate:g} |")
    return "\n".join(lines)


def shown(value: Any) -> str:
    """A default as a recipe has it."""
    return f"[{', '.join(map(str, value))}]" if isinstance(value, tuple) else str(value)


if __name__ == "__main__":
    print(table())
