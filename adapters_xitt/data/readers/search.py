"""Sentences of two sides, one a row: {id, group, side, text, gold}.

`side` is "query" or "candidate"; queries come first. A query's `gold` are the raw ids of the
candidates that are right for it, [] for none and None where no labels were given; candidates have
no `gold`. LAReQA's candidates have the paragraph that they stand in as `context`, for its group and
its answer encoder."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adapters_xitt.data.readers.base import Reading
from adapters_xitt.errors import DataError
from adapters_xitt.text_files import get, json_of, lines_of, objects, text_of

_BRACED = re.compile(r"\{(.*?)\}")


def bucc_tsv(path: Path, *, split: str, other: Path, gold: Path | None = None) -> Reading:
    """BUCC 2018: id<TAB>sentence, the queries (not English) in `path`, the English candidates in
    `other`.

    `gold` has id<TAB>English id; most sentences have no partner. Every row is a group of its
    own."""
    queries, candidates = _sentences_by_id(path), _sentences_by_id(other)
    pairs: dict[str, list[str]] = {name: [] for name in queries}
    for n, (query, candidate) in enumerate(() if gold is None else _pairs(gold), 1):
        for name, known, file in ((query, queries, path), (candidate, candidates, other)):
            if name not in known:
                raise DataError(
                    f"{gold}:{n}: expected an id of {file}, found {name!r}; the files belong to "
                    "different data"
                )
        pairs[query].append(candidate)
    examples = [
        _example(name, text, gold=None if gold is None else pairs[name])
        for name, text in queries.items()
    ]
    return Reading([*examples, *(_example(name, text) for name, text in candidates.items())])


def lareqa_json(path: Path, *, split: str, pool: Sequence[str] = ()) -> Reading:
    """LAReQA's XQuAD-R: SQuAD's layout with `sentences` and `sentence_breaks` in each paragraph.

    Queries are the questions, under SQuAD's ids; candidates are all sentences, of this file or,
    with `pool`, of the files of those languages beside it, under
    "{language}/{article}.{paragraph}.{sentence}", numbers from 0. A question's gold are the
    sentences that its answers start in, one in each language of the pool (LAReQA's own measure:
    relevant is relevant in any language). The group is the article's title. Languages of the pool
    without a file are counted with what is skipped."""
    queries, candidates = _questions_and_sentences(path, split)
    other_files = [path.with_name(f"{code}.json") for code in pool if code != path.stem]
    lacking = [other.stem for other in other_files if not other.exists()]
    for other in other_files:
        if other.exists():
            more, sentences = _questions_and_sentences(other, split)
            gold = {query["id"]: query["gold"] for query in more}
            if unknown := [query["id"] for query in queries if query["id"] not in gold]:
                raise DataError(
                    f"{other}: expected the questions of {path}, {len(unknown)} are missing, first "
                    f"{unknown[0]!r}; the files belong to different data"
                )
            queries = [{**query, "gold": [*query["gold"], *gold[query["id"]]]} for query in queries]
            candidates += sentences
    skipped = (
        {f"languages of the pool without a file ({' '.join(lacking)})": len(lacking)}
        if lacking
        else {}
    )
    return Reading([*queries, *candidates], skipped)


def _questions_and_sentences(
    path: Path, split: str
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    queries, candidates, seen = [], [], set()
    for a, article in enumerate(
        get(json_of(text_of(path), path), "data", kind=list, location=f"{path}: ")
    ):
        for p, paragraph in enumerate(
            get(article, "paragraphs", kind=list, location=f"{path}: data[{a}].")
        ):
            paragraph_location = f"{path}: data[{a}].paragraphs[{p}]."
            context, spans = _sentences(paragraph, location=paragraph_location)
            group = str(article.get("title") or f"{split}/{a}")
            names = [f"{path.stem}/{a}.{p}.{n}" for n in range(len(spans))]
            candidates += [
                _example(name, context[start:end], group=group) | {"context": context}
                for name, (start, end) in zip(names, spans, strict=True)
            ]
            for q, question in enumerate(
                get(paragraph, "qas", kind=list, location=paragraph_location)
            ):
                location = f"{paragraph_location}qas[{q}]."
                identifier, text = (
                    get(question, key, kind=str, location=location) for key in ("id", "question")
                )
                if identifier in seen:
                    raise DataError(
                        f"{location}id: expected distinct ids, found {identifier!r} again"
                    )
                seen.add(identifier)
                starts = [
                    get(answer, "answer_start", kind=int, location=f"{location}answers[{n}].")
                    for n, answer in enumerate(
                        get(question, "answers", kind=list, location=location)
                    )
                ]
                gold = [
                    name
                    for name, (low, high) in zip(names, spans, strict=True)
                    if any(low <= start < high for start in starts)
                ]
                if not gold:
                    raise DataError(
                        f"{location}answers: expected an answer that starts in a sentence of its"
                        f" paragraph, found starts {starts}"
                    )
                queries.append(_example(identifier, text, group=group, gold=gold))
    if not queries:
        raise DataError(f"{path}: expected questions, found none")
    return queries, candidates


def mewslix_jsonl(path: Path, *, split: str, other: Path, gold: Path | None = None) -> Reading:
    """Mewsli-X: mentions in their sentences (`wikinews_mentions/{split}-{lang}.jsonl`), and in
    `other` the entities that are searched (`candidate_set_entities.jsonl`). Packing after XTREME's
    `utils_mewslix.py` (838c13b).

    A query is "mention: left { mention } right", a candidate the sentences of an entity's
    description, its id the entity's. XTREME blanks the `entity_id` of a test: `gold` has {mention:
    [entity]}. A mention that crosses sentences is skipped; the group is the document."""
    named = None if gold is None else _labels(gold)
    queries: list[dict[str, Any]] = []
    known, crossing = {}, 0
    for _, location, record in objects(other):
        identifier, text = (
            get(record, key, kind=str, location=location) for key in ("entity_id", "description")
        )
        if identifier in known:
            raise DataError(
                f"{location}entity_id: expected distinct ids, found {identifier!r} again"
            )
        known[identifier] = _example(
            identifier,
            _plain(" ".join(text[a:b] for a, b in _spans(record, text, location=location))),
        )
    for n, location, record in objects(path):
        context = get(record, "context", kind=dict, location=location)
        text = get(context, "text", kind=str, location=f"{location}context.")
        spans = _spans(context, text, location=f"{location}context.")
        for m, mention in enumerate(get(record, "mentions", kind=list, location=location)):
            mention_location = f"{location}mentions[{m}]."
            identifier = get(mention, "example_id", kind=str, location=mention_location)
            span = get(mention, "mention_span", kind=dict, location=mention_location)
            start, end = _span(span, text, location=f"{mention_location}mention_span.")
            inside = [(low, high) for low, high in spans if low <= start and end <= high]
            if not inside:
                crossing += 1
                continue
            entities = [mention.get("entity_id") or ""] if named is None else named.get(identifier)
            if named is not None and entities is None:
                raise DataError(
                    f"{gold}: expected the mention {identifier!r} of {path}; the files belong to"
                    " different data"
                )
            group = f"{split}/{context.get('document_id') or n}"
            queries.append(
                _example(
                    identifier,
                    _mark(text, start, end, *inside[0]),
                    group=group,
                    gold=entities if entities != [""] else None,
                )
            )
    if not queries:
        raise DataError(f"{path}: expected mentions, found none")
    return Reading(
        [*queries, *known.values()], {"mention across sentences": crossing} if crossing else {}
    )


def _example(identifier: str, text: str, *, group: str = "", gold: Any = ...) -> dict[str, Any]:
    """A query where there is a `gold`, else a candidate."""
    side = (
        {"side": "candidate", "text": text}
        if gold is ...
        else {"side": "query", "text": text, "gold": gold}
    )
    return {"id": identifier, "group": group or identifier, **side}


def _sentences_by_id(path: Path) -> dict[str, str]:
    """Sentences by their ids."""
    sentences: dict[str, str] = {}
    for n, (identifier, text) in enumerate(_pairs(path), 1):
        if identifier in sentences:
            raise DataError(f"{path}:{n}: expected distinct ids, found {identifier!r} again")
        sentences[identifier] = text
    return sentences


def _pairs(path: Path) -> list[tuple[str, str]]:
    pairs = []
    for n, line in enumerate(lines_of(path), 1):
        identifier, tab, text = line.partition("\t")
        if not (identifier and tab and text.strip()):
            raise DataError(
                f"{path}:{n}: expected an id, a tab and a sentence or another id, found"
                f" {line[:60]!r}"
            )
        pairs.append((identifier, text.strip()))
    return pairs


def _sentences(paragraph: Any, *, location: str) -> tuple[str, list[tuple[int, int]]]:
    """A paragraph and the spans of its sentences."""
    context = get(paragraph, "context", kind=str, location=location)
    spans = []
    for n, pair in enumerate(get(paragraph, "sentence_breaks", kind=list, location=location)):
        if not (
            isinstance(pair, list)
            and len(pair) == 2
            and all(type(end) is int for end in pair)
            and 0 <= pair[0] < pair[1] <= len(context)
        ):
            raise DataError(
                f"{location}sentence_breaks[{n}]: expected start and end inside the context of"
                f" {len(context)} characters, found {str(pair)[:40]}"
            )
        spans.append((pair[0], pair[1]))
    return context, spans


def _spans(node: Mapping[str, Any], text: str, *, location: str) -> list[tuple[int, int]]:
    """The `sentence_spans` of a text."""
    return [
        _span(span, text, location=f"{location}sentence_spans[{n}].")
        for n, span in enumerate(get(node, "sentence_spans", kind=list, location=location))
    ]


def _span(node: Any, text: str, *, location: str) -> tuple[int, int]:
    start, end = (get(node, key, kind=int, location=location) for key in ("start", "end"))
    if not 0 <= start < end <= len(text):
        raise DataError(
            f"{location}start: expected a span inside the text of {len(text)} characters, found "
            f"{start} to {end}"
        )
    if node.get("text", text[start:end]) != text[start:end]:
        raise DataError(
            f"{location}text: expected {text[start:end][:40]!r}, as at {start} to {end}, found "
            f"{str(node['text'])[:40]!r}"
        )
    return start, end


def _mark(text: str, start: int, end: int, low: int, high: int) -> str:
    """A mention, and its sentence with the mention in braces; other braces become parentheses."""
    left, right = (_BRACED.sub(r"(\1)", part) for part in (text[low:start], text[end:high]))
    return _plain(f"{text[start:end]}: {left} {{ {text[start:end]} }} {right}")


def _plain(text: str) -> str:
    """A text in one line; as the source, which replaces pairs of blanks once."""
    return " ".join(text.splitlines()).replace("  ", " ").strip()


def _labels(path: Path) -> dict[str, Sequence[str]]:
    entities = json_of(text_of(path), path)
    if not isinstance(entities, dict) or not all(
        isinstance(names, list) and names and all(isinstance(name, str) for name in names)
        for names in entities.values()
    ):
        raise DataError(f"{path}:1: expected an object, mention id: list of entity ids")
    return entities
