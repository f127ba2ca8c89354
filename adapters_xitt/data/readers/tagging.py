"""Tagged sentences: {id, group, words, tags}; a tag is an index, tags are None where they aren't
read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adapters_xitt.data.readers.base import NO_LABELS, Reading, index_of, label_of
from adapters_xitt.errors import DataError, XittError, unknown
from adapters_xitt.text_files import blocks_of, check_counts, lines_of, whole

# Tags of a fused word's parts, best first, where several are equally near the root: XTREME's
# default list.
PRECEDENCE = tuple(
    "VERB NOUN PROPN PRON ADJ NUM ADV INTJ AUX ADP DET PART CCONJ SCONJ X PUNCT".split()
)

Line = tuple[int, list[str]]  # number in the file, cells


def tags_tsv(
    path: Path, *, split: str, labels: Sequence[str] | None, gold: Path | None = None
) -> Reading:
    """XTREME's PAN-X and UDPOS: one token<TAB>tag per line, a blank line between sentences; a quote
    is a token.

    A test file has tokens only; `gold` has its tags, one per line or behind the tokens.
    `labels=None` reads no tags."""
    tagged = labels is not None and gold is None
    sentences = [
        _cells(path, block, width=2 if tagged else None) for block in blocks_of(lines_of(path))
    ]
    golds = sentences
    if gold is not None:
        golds = [_cells(gold, block, width=None) for block in blocks_of(lines_of(gold))]
        line = golds[: len(sentences) + 1][-1][-1][0]
        check_counts(
            gold, len(golds), other=path, wanted=len(sentences), what="sentence", line=line
        )
    index, examples = index_of(labels), []
    for n, (sentence, answer) in enumerate(zip(sentences, golds, strict=True)):
        words = [cells[0] for _, cells in sentence]
        if gold is not None:
            _check_tokens(gold, answer, path=path, sentence=sentence)
        tags = (
            [
                label_of(cells[-1], index, location=f"{gold or path}:{line}")
                for line, cells in answer
            ]
            if index
            else None
        )
        examples.append(
            {"id": f"{split}/{n}", "group": f"{split}/{n}", "words": words, "tags": tags}
        )
    return Reading(examples)


def conllu(
    path: Path,
    *,
    split: str,
    labels: Sequence[str] | None,
    multiword: str = "words",
    precedence: Sequence[str] = PRECEDENCE,
    column: int = 3,
    numbered: bool = False,
) -> Reading:
    """Forms and UPOS of CoNLL-U, or the tags of another `column` (4: XPOS); empty nodes are left
    out.

    `multiword="words"` takes the syntactic words. `"fused"` takes the surface token as XTREME does:
    its tag is that of the part nearest the root, among equals the first in `precedence`; U+200C and
    spaces go out of the forms, and a sentence with no more than one form that isn't "_" is skipped.
    `numbered` takes a sentence's place in the file for its id, where treebanks of parallel
    sentences name them differently."""
    if multiword not in ("words", "fused"):
        raise XittError(unknown("multiword", multiword, ("words", "fused")))
    index = index_of(labels)
    examples: list[dict[str, Any]] = []
    skipped: Counter[str] = Counter()
    for n, block in enumerate(blocks_of(lines_of(path))):
        name, words, ranges = _sentence(path, block)
        if multiword == "fused":
            words = _fuse(path, words, ranges=ranges, precedence=precedence)
        blank = sum(cells[1] == "_" for _, cells in words)
        if not words or (multiword == "fused" and 0 < blank >= len(words) - 1):
            skipped["no forms" if words else "no words"] += 1
            continue
        tags = (
            [label_of(cells[column], index, location=f"{path}:{line}") for line, cells in words]
            if index
            else None
        )
        identifier = f"{split}/{n}" if numbered or not name else name
        examples.append(
            {
                "id": identifier,
                "group": identifier,
                "words": [cells[1] for _, cells in words],
                "tags": tags,
            }
        )
    if not examples:
        raise DataError(f"{path}: expected sentences with words, found none")
    return Reading(examples, dict(skipped))


def _cells(path: Path, block: Sequence[tuple[int, str]], *, width: int | None) -> list[Line]:
    """Each line's cells: `width` of them, or one or two where it is None."""
    rows = [(line, text.split("\t")) for line, text in block]
    for line, cells in rows:
        if len(cells) != width and (width or len(cells) > 2):
            wanted = "token<TAB>tag" if width else "a token or tag, or token<TAB>tag"
            hint = NO_LABELS if width else ""
            raise DataError(f"{path}:{line}: expected {wanted}, found {len(cells)} columns{hint}")
    return rows


def _check_tokens(
    gold: Path, answer: Sequence[Line], *, path: Path, sentence: Sequence[Line]
) -> None:
    """Raise a DataError unless a sentence and its gold have as many tokens, and the same where gold
    has them."""
    line = answer[0][0]
    if len(answer) != len(sentence):
        raise DataError(
            f"{gold}:{line}: expected {len(sentence)} tags for the sentence at"
            f" {path}:{sentence[0][0]}, found {len(answer)}; the two files belong to different data"
        )
    for (line, cells), (sentence_line, words) in zip(answer, sentence, strict=True):
        if len(cells) == 2 and cells[0] != words[0]:
            raise DataError(
                f"{gold}:{line}: expected token {words[0]!r}, as in {path}:{sentence_line},"
                f" found {cells[0]!r}"
            )


def _sentence(
    path: Path, block: Sequence[tuple[int, str]]
) -> tuple[str, list[Line], dict[int, tuple[int, str]]]:
    """A sentence's sent_id ("" for none), its words, and its fused tokens as first word -> (last
    word, form)."""
    name = ""
    words: list[Line] = []
    ranges: dict[int, tuple[int, str]] = {}
    for line, text in block:
        if text.startswith("#"):
            key, _, value = text[1:].partition("=")
            name = value.strip() if key.strip() == "sent_id" else name
            continue
        cells = text.split("\t")
        if len(cells) != 10:
            raise DataError(f"{path}:{line}: expected CoNLL-U's 10 columns, found {len(cells)}")
        first, dash, last = cells[0].partition("-")
        start, stop = (whole(number, below=len(block) + 1) for number in (first, last))
        if dash and start is not None and stop is not None and start < stop:
            ranges[start] = (stop, cells[1])
        elif cells[0] == str(len(words) + 1):
            words.append((line, cells))
        elif not cells[0].replace(".", "", 1).isdecimal() or "." not in cells[0]:
            wanted = f"expected word {len(words) + 1}, found {cells[0][:40]!r}"
            raise DataError(f"{path}:{line}: {wanted}; look for a blank line too few")
    for begin, (end, form) in ranges.items():
        if not 1 <= begin < end <= len(words):
            wanted = f"expected words {begin} to {end} of {form!r}"
            raise DataError(f"{path}:{block[0][0]}: {wanted}, found {len(words)} words")
    return name, words, ranges


def _fuse(
    path: Path,
    words: Sequence[Line],
    *,
    ranges: Mapping[int, tuple[int, str]],
    precedence: Sequence[str],
) -> list[Line]:
    """The words, with those of a fused token replaced by one that has its form."""
    rank = {tag: place for place, tag in enumerate(precedence)}
    fused, n = [], 1
    while n <= len(words):
        last, form = ranges.get(n, (n, words[n - 1][1][1]))
        parts = range(n, last + 1)
        depths = {part: _depth(path, words, word=part) for part in parts} if last > n else {n: 0}
        top = [words[part - 1] for part in parts if depths[part] == min(depths.values())]
        line, cells = min(top, key=lambda word: rank.get(word[1][3], len(rank)))
        fused.append((line, [cells[0], form.replace("\u200c", "").replace(" ", ""), *cells[2:]]))
        n = last + 1
    return fused


def _depth(path: Path, words: Sequence[Line], *, word: int) -> int:
    """Number of arcs from a word up to the root."""
    depth, position = 0, word
    while position:
        line, cells = words[position - 1]
        head = whole(cells[6], below=len(words) + 1)
        if head is None or depth > len(words):
            raise DataError(
                f"{path}:{line}: expected a head that leads to the root, found {cells[6][:40]!r}"
            )
        depth, position = depth + 1, head
    return depth
