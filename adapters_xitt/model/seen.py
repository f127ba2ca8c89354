"""What an encoder's own training had beside plain text, as a file beside it says: a statement for
readers, which no number and no key depends on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from adapters_xitt import safe_files
from adapters_xitt.errors import Problems, unknown
from adapters_xitt.tasks import SEEN

FILE = "seen.json"  # {"seen": ["nli", "parallel"], "source": "its model card"}
MOST = 64 * 1024  # bytes
LONGEST = 300  # characters of a source


@dataclass(frozen=True)
class Seen:
    """What was seen, and who says so."""

    groups: tuple[str, ...]  # keys of tasks.SEEN
    source: str = ""


def read_seen(folder: Path) -> Seen | None:
    """The statement beside an encoder's configuration; None where there is no such file. A
    `XittError` that lists whatever is wrong with it."""
    path = folder / FILE
    if not path.is_file():
        return None
    record = safe_files.read_json(path, most=MOST)
    problems = Problems(str(path))
    for name in record:
        if name not in ("seen", "source"):
            problems.add(unknown("key", str(name)[:80], ("seen", "source")))
    groups, source = record.get("seen"), record.get("source", "")
    if not isinstance(groups, list):
        problems.add(f'expected {{"seen": [...]}}, a list of what was seen: {", ".join(SEEN)}')
        groups = []
    groups = [str(group) for group in groups]
    for group in groups:
        if group not in SEEN:
            problems.add(unknown("kind of data", group[:80], SEEN))
    if not isinstance(source, str) or len(source) > LONGEST:
        problems.add(f"source: expected at most {LONGEST} characters that say who says so")
    problems.raise_if_any()
    return Seen(tuple(dict.fromkeys(groups)), source)
