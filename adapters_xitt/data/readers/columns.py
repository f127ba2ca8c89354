"""Words in columns, and CCG supertags: {id, group, words, tags}; a tag is an index.

With `labels=None` tags keep their names: that is how a task whose labels only its data knows finds
them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from adapters_xitt.data.readers.base import UNSEEN, Reading, index_of, label_of
from adapters_xitt.errors import DataError
from adapters_xitt.text_files import blocks_of, json_of, lines_of, text_of

# number of the sentence, and per word its line, itself and its tag
Tagged = tuple[int, list[tuple[int, str, str]]]

DOCUMENT = "-DOCSTART-"  # CoNLL-2003's mark of a new document, a sentence of its own
# CCGbank's leaves: category, modified tag, tag, word, predicate-argument category, then what
# PropBank adds.
_LEAF = re.compile(r"\(<L (\S+) \S+ \S+ (\S+) [^>]*>\)")


def conll_columns(
    path: Path,
    *,
    split: str,
    labels: Sequence[str] | None,
    word: int = 0,
    tag: int = -1,
    aliases: Mapping[str, str] = MappingProxyType({}),
    comments: bool = False,
) -> Reading:
    """CoNLL-2000, CoNLL-2003, MasakhaNER and Universal NER: one word a line in columns parted by a
    tab or a space, a blank line between sentences.

    `word` and `tag` are columns from 0, -1 the last; `aliases` maps other spellings of a tag to
    labels; `comments` leaves lines out that start with "#". CoNLL-2003's document marks are
    skipped."""
    lines = [line if line.strip() else "" for line in lines_of(path)]
    sentences: list[Tagged] = []
    skipped: Counter[str] = Counter()
    width, first = 0, 0
    for n, block in enumerate(blocks_of(lines)):
        sentence = []
        for line, text in block:
            if comments and text.startswith("#"):
                continue
            cells = text.split("\t") if "\t" in text else text.rstrip(" ").split(" ")
            least = max(word, tag, 1) + 1
            if len(cells) < least or (width and len(cells) != width):
                raise DataError(
                    f"{path}:{line}: expected "
                    + (
                        f"{width} columns, as in line {first}"
                        if width
                        else f"{least} columns or more"
                    )
                    + f", parted by a tab or a space, found {len(cells)}"
                )
            width, first = len(cells), first or line
            sentence.append((line, cells[word], cells[tag]))
        if [text for _, text, _ in sentence] == [DOCUMENT]:
            skipped["mark of a document"] += 1
        elif sentence:
            sentences.append((n, sentence))
    index = None if labels is None else index_of(labels, aliases)
    return _reading(path, sentences, split=split, index=index, skipped=skipped)


def ccg_tags(
    path: Path, *, split: str, labels: Sequence[str] | None, unseen: bool = False
) -> Reading:
    """CCG supertags in any of three layouts: CCGbank's own (`.auto`), one word<TAB>tag a line with
    a blank line between sentences, or jiant's, a sentence a line: words<TAB>tags, both parted by
    spaces.

    With `unseen` a tag that `labels` lack becomes `UNSEEN`, which is never right, and is counted;
    else it is an error."""
    lines = [line if line.strip() else "" for line in lines_of(path)]
    skipped: Counter[str] = Counter()
    filled = [line for line in lines if line]
    if not filled:
        raise DataError(f"{path}: expected sentences, found blank lines only")
    if filled[0].startswith(("ID=", "(<")):
        sentences = _auto(path, lines)
    elif any(" " in line.partition("\t")[0] for line in filled):
        sentences = [(n - 1, _whole(path, n, line)) for n, line in enumerate(lines, 1) if line]
    else:
        sentences = [
            (n, [_single(path, line, text) for line, text in block])
            for n, block in enumerate(blocks_of(lines))
            if block
        ]
    index = None if labels is None else index_of(labels)
    return _reading(path, sentences, split=split, index=index, skipped=skipped, unseen=unseen)


def label_list(path: Path) -> tuple[str, ...]:
    """Labels in a file of their own, in the order of their numbers: jiant's {"tag": number}, or one
    a line."""
    if path.suffix != ".json":
        names = [line.strip() for line in lines_of(path)]
        for n, name in enumerate(names, 1):
            if not name or name in names[: n - 1]:
                raise DataError(f"{path}:{n}: expected a label that is new, found {name!r}")
        return tuple(names)
    numbers = json_of(text_of(path), path)
    if not (
        isinstance(numbers, dict)
        and numbers
        and sorted(map(str, numbers.values())) == sorted(map(str, range(len(numbers))))
    ):
        raise DataError(f"{path}:1: expected an object that numbers the labels from 0, each once")
    return tuple(sorted(numbers, key=lambda name: int(numbers[name])))


def _auto(path: Path, lines: Sequence[str]) -> list[Tagged]:
    sentences: list[Tagged] = []
    for n, line in enumerate(lines, 1):
        if not line or line.startswith("ID="):
            continue
        leaves = _LEAF.findall(line)
        if not leaves or len(leaves) != line.count("(<L "):
            raise DataError(
                f"{path}:{n}: expected a tree of CCGbank, (<T …> … (<L category tag tag word …>)), "
                f"found {line[:60]!r}"
            )
        sentences.append((len(sentences), [(n, word, tag) for tag, word in leaves]))
    return sentences


def _single(path: Path, n: int, text: str) -> tuple[int, str, str]:
    cells = text.split("\t")
    if len(cells) != 2 or not all(cells):
        raise DataError(
            f"{path}:{n}: expected word<TAB>tag, or words<TAB>tags parted by spaces, found"
            f" {text[:60]!r}"
        )
    return n, cells[0], cells[1]


def _whole(path: Path, n: int, text: str) -> list[tuple[int, str, str]]:
    words, tab, tags = (part.split() if part != "\t" else part for part in text.partition("\t"))
    if not tab or len(words) != len(tags):
        raise DataError(
            f"{path}:{n}: expected as many tags as words and a tab between them, found {len(words)}"
            f" words and {len(tags)} tags"
        )
    return [(n, word, tag) for word, tag in zip(words, tags, strict=True)]


def _reading(
    path: Path,
    sentences: Sequence[Tagged],
    *,
    split: str,
    index: Mapping[str, int] | None,
    skipped: Counter[str],
    unseen: bool = False,
) -> Reading:
    """The rows of tagged sentences; with no index tags stay names."""
    if not sentences:
        raise DataError(f"{path}: expected sentences with words, found none")
    examples, strange = [], 0
    for n, sentence in sentences:
        tags: list[int] | list[str] = [tag for _, _, tag in sentence]
        if index is not None:
            strange += sum(tag not in index for tag in tags) if unseen else 0
            tags = [
                (
                    UNSEEN
                    if unseen and tag not in index
                    else label_of(tag, index, location=f"{path}:{line}")
                )
                for line, _, tag in sentence
            ]
        examples.append(
            {
                "id": f"{split}/{n}",
                "group": f"{split}/{n}",
                "words": [word for _, word, _ in sentence],
                "tags": tags,
            }
        )
    if strange:
        skipped["tags that training has not, counted as wrong"] = strange
    return Reading(examples, dict(skipped))
