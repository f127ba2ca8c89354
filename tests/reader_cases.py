"""One small valid file for every reader and layout, each with the letter é and no offset that
counts past it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from adapters_xitt.data import readers
from adapters_xitt.tasks import TASKS
from adapters_xitt.tasks.intermediate import NLI

UPOS = TASKS["udpos"].labels


@dataclass(frozen=True)
class Case:
    """A reader with its file; `beside` are the files it reads too, by argument. `wrong` maps what
    is broken to the text that is replaced, its replacement, and what the message must say."""

    read: Callable[..., readers.Reading]
    text: str
    rows: int
    wrong: dict[str, tuple[str, str, tuple[str, ...]]] = field(default_factory=dict)
    beside: dict[str, str] = field(default_factory=dict)
    name: str = "file.txt"
    json: bool = False

    def __call__(self, folder: Path, data: bytes, **beside: bytes) -> readers.Reading:
        """What the reader makes of `data`, its other files being whole where they aren't given."""
        path = folder / self.name
        path.write_bytes(data)
        others = {key: folder / f"{key}.txt" for key in self.beside}
        for key, other in others.items():
            other.write_bytes(beside.get(key, self.beside[key].encode()))
        return self.read(path, split="s", **others)


def lines(*rows: Any, tabs: bool = False) -> str:
    """Rows as lines of JSON, or of cells."""
    return "".join(
        ("\t".join(row) if tabs else json.dumps(row, ensure_ascii=False)) + "\n" for row in rows
    )


def pages(*paragraphs: dict[str, Any]) -> str:
    """Paragraphs in SQuAD's layout, a value a line."""
    return json.dumps(
        {"data": [{"title": "T", "paragraphs": list(paragraphs)}]}, ensure_ascii=False, indent=1
    )


def asked(own: str, *answers: tuple[str, int], **more: Any) -> dict[str, Any]:
    """A question of SQuAD's."""
    return {
        "id": own,
        "question": f"{own}?",
        "answers": [{"text": text, "answer_start": at} for text, at in answers],
        **more,
    }


def options(name: str) -> dict[str, Any]:
    """What a task's row tells its reader."""
    return {key: value for key, value in TASKS[name].options.items() if key != "other"}


LABEL = ("entailment", "entailmant", ("unknown label 'entailmant'. Did you mean 'entailment'?",))
PAIR = ("a\tb é\tentailment", "a b é\tentailment", (":1: ", "columns"))
CONTEXT = "Ann met Bob. Then Ann left. é"
SICK = ("pair_ID", "sentence_A", "sentence_B", "relatedness_score", "entailment_judgment")
COSMOS = "id,context,question,answer0,answer1,answer2,answer3,label\n"
CONLLU = (
    "".join(
        f"{n}\t{word}\t_\t{tag}\tX\t_\t{head}\t_\t_\t_\n"
        for n, word, tag, head in ((1, "é", "DET", 2), (2, "cat", "NOUN", 0))
    )
    + "\n"
)
TREE = "(<T S 0 2> (<L NP/N DT DT the NP/N>) (<L N NN NN é N>) )\n"
MENTION = {
    "context": {"document_id": "D", "text": CONTEXT, "sentence_spans": [{"start": 0, "end": 12}]},
    "mentions": [
        {
            "example_id": "m1",
            "mention_span": {"start": 8, "end": 11, "text": "Bob"},
            "entity_id": "",
        }
    ],
}
ENTITY = {"entity_id": "Q1", "description": "Bob. é", "sentence_spans": [{"start": 0, "end": 4}]}

CASES: dict[str, Case] = {
    "pairs": Case(
        partial(readers.pairs_tsv, labels=NLI),
        "a\tb é\tentailment\na\tc\tneutral\n",
        2,
        {"column": PAIR, "label": LABEL},
    ),
    "pairs-gold": Case(
        partial(readers.pairs_tsv, labels=NLI),
        "a\tb é\na\tc\n",
        2,
        {"column": ("a\tc", "a c", (":2: ", "columns"))},
        beside={"gold": "entailment\nneutral\n"},
    ),
    "pairs-named": Case(
        partial(readers.pairs_tsv, labels=NLI, **options("americasnli")),
        "id\tlanguage\tpremise\thypothesis\tlabel\n7\taym\ta\tb é\tentailment\n",
        1,
        {
            "column": ("premise", "premiss", (":1: ", "Did you mean 'premiss'?")),
            "label": LABEL,
            "cell": ("\ta\tb", "\ta b", (":2: expected 5 columns",)),
        },
    ),
    "mnli": Case(
        partial(readers.mnli, labels=NLI, **options("mnli")),
        "a\tb é\tentailment\na\tc\tcontradictory\n",
        2,
        {"column": PAIR, "label": LABEL},
    ),
    "mnli-glue": Case(
        partial(readers.mnli, labels=NLI),
        'pairID\tsentence1\tsentence2\tgold_label\n9e\ta "\tb é\tentailment\n',
        1,
        {
            "label": LABEL,
            "column": ("sentence2", "sentence3", (":1: ", "Did you mean 'sentence3'?")),
        },
    ),
    "mnli-lines": Case(
        partial(readers.mnli, labels=NLI),
        lines({"pairID": "9e", "sentence1": "a", "sentence2": "b é", "gold_label": "entailment"}),
        1,
        {
            "label": LABEL,
            "column": ("sentence2", "sentence3", (":1: sentence2: expected a string",)),
        },
        name="m.jsonl",
        json=True,
    ),
    "sick": Case(
        partial(readers.sick_txt, labels=NLI),
        lines(SICK, ("1", "a", "b é", "4.5", "ENTAILMENT"), tabs=True),
        1,
        {
            "column": ("sentence_B", "sentence_C", (":1: ", "sentence_B")),
            "cell": ("a\tb", "a b", (":2: ",)),
            "label": ("ENTAILMENT", "ENTAILMANT", (":2: unknown label",)),
        },
    ),
    "snli": Case(
        partial(readers.snli_jsonl, labels=NLI),
        lines(
            {"pairID": "1", "sentence1": "a", "sentence2": "b é", "gold_label": "entailment"},
            {"pairID": "2", "sentence1": "a", "sentence2": "c", "gold_label": "-"},
        ),
        1,
        {
            "label": LABEL,
            "column": ("sentence2", "sentence3", (":1: sentence2: expected a string",)),
        },
        json=True,
    ),
    "anli": Case(
        partial(readers.snli_jsonl, labels=NLI, **options("anli")),
        lines({"uid": "1", "context": "a", "hypothesis": "b é", "label": "e", "reason": ""}),
        1,
        {
            "column": ("hypothesis", "hypo", (":1: hypothesis: expected a string",)),
            "label": ('"e"', '"x"', (":1: unknown label 'x'",)),
        },
        json=True,
    ),
    "tags": Case(
        partial(readers.tags_tsv, labels=UPOS),
        "the\tDET\ncat\tNOUN\n\né\tX\n",
        2,
        {
            "column": ("cat\tNOUN", "cat NOUN", (":2: expected token<TAB>tag",)),
            "label": ("NOUN", "NOUNS", (":2: unknown label 'NOUNS'",)),
        },
    ),
    "tags-gold": Case(
        partial(readers.tags_tsv, labels=UPOS),
        "the\ncat\n\né\n",
        2,
        {"column": ("cat\n", "", ("expected 1 tags",))},
        beside={"gold": "DET\nNOUN\n\nX\n"},
    ),
    "conllu": Case(
        partial(readers.conllu, labels=UPOS),
        CONLLU,
        1,
        {
            "column": ("cat\t_", "cat", (":2: expected CoNLL-U's 10 columns",)),
            "label": ("NOUN", "NOUNS", (":2: unknown label 'NOUNS'",)),
        },
    ),
    "conllu-fused": Case(
        partial(readers.conllu, labels=UPOS, multiword="fused"),
        f"1-2\técat{chr(9) + '_' * 8}\n".replace("_" * 8, "\t".join("_" * 8)) + CONLLU,
        1,
        {"head": ("\tX\t_\t2", "\tX\t_\t9", (":2: expected a head that leads to the root",))},
    ),
    "columns": Case(
        partial(readers.conll_columns, labels=TASKS["masakhaner"].labels),
        "é B-LOC\n. O\n\nx O\n",
        2,
        {
            "column": (". O", ".", (":2: expected 2 columns, as in line 1",)),
            "label": ("B-LOC", "B-LOK", (":1: unknown label 'B-LOK'. Did you mean 'B-LOC'?",)),
        },
    ),
    "columns-iob2": Case(
        partial(readers.conll_columns, labels=TASKS["uner"].labels, **options("uner")),
        "# sent_id = 1\n1\té\tB-OTH\t_\t_\n2\t#\tO\t_\t_\n",
        1,
        {
            "column": ("2\t#\tO", "2\t#", (":3: expected 5 columns, as in line 2",)),
            "label": ("B-OTH", "B-XYZ", (":2: unknown label 'B-XYZ'",)),
        },
    ),
    "ccg": Case(
        partial(readers.ccg_tags, labels=("N", "NP/N")),
        "the\tNP/N\né\tN\n\né\tN\n",
        2,
        {
            "column": ("the\tNP/N", "the", (":1: expected word<TAB>tag",)),
            "label": ("NP/N", "NP/M", (":1: unknown label 'NP/M'",)),
        },
    ),
    "ccg-jiant": Case(
        partial(readers.ccg_tags, labels=("N", "NP/N")),
        "the é\tNP/N N\né\tN\n",
        2,
        {
            "column": (
                "NP/N N",
                "NP/N",
                (":1: expected as many tags as words", "2 words and 1 tags"),
            ),
            "label": ("NP/N", "NP/M", (":1: unknown label 'NP/M'",)),
        },
    ),
    "ccg-auto": Case(
        partial(readers.ccg_tags, labels=("N", "NP/N")),
        "ID=wsj_0001.1 PARSER=GOLD\n" + TREE,
        1,
        {
            "column": ("NN é", "é", (":2: expected a tree of CCGbank",)),
            "label": ("NP/N DT", "NP/M DT", (":2: unknown label 'NP/M'",)),
        },
    ),
    "squad": Case(
        readers.squad_json,
        pages({"context": CONTEXT, "qas": [asked("q1", ("Bob", 8))]}),
        1,
        {
            "column": ('"answers"', '"answer"', ("answers: expected a list",)),
            "span": (
                ": 8",
                ": 800",
                ("answers[0].answer_start: expected 0 to", "inside the context"),
            ),
        },
        json=True,
    ),
    "squad-gold": Case(
        readers.squad_json,
        pages({"context": CONTEXT, "qas": [asked("q1", ("", 0))]}),
        1,
        {"id": ('"q1"', '"q2"', ("expected the ids of", "'q2'"))},
        json=True,
        beside={"gold": pages({"context": CONTEXT, "qas": [asked("q1", ("Bob", 8))]})},
    ),
    "squad2": Case(
        partial(readers.squad_json, impossible=True),
        pages(
            {
                "context": CONTEXT,
                "qas": [
                    asked("q1", ("Bob", 8), is_impossible=False),
                    asked("q2", is_impossible=True),
                ],
            }
        ),
        2,
        {
            "answer": ("false", "true", ("qas[0].answers: expected none",)),
            "column": ('"question"', '"ask"', ("question: expected a string",)),
        },
        json=True,
    ),
    "parallel": Case(
        readers.parallel_lines,
        "eins é\nzwei\n",
        2,
        {"column": ("\nzwei", "", (":2: ",))},
        beside={"other": "one\ntwo\n", "gold": "1\n0\n"},
    ),
    "hellaswag": Case(
        readers.hellaswag_jsonl,
        lines(
            {
                "ind": 1,
                "ctx_a": "a",
                "ctx_b": "b",
                "source_id": "s",
                "endings": ["c é", "d"],
                "label": 1,
            }
        ),
        1,
        {
            "column": ("ctx_a", "ctx", (":1: ctx_a: expected a string",)),
            "label": ('"label": 1', '"label": 2', (":1: label: expected 0 to 1, found '2'",)),
        },
        json=True,
    ),
    "cosmosqa": Case(
        readers.cosmosqa_csv,
        COSMOS + "1,c,q,a,b,c é,d,3\n",
        1,
        {
            "column": ("answer3", "answer4", (":1: ", "answer3")),
            "cell": ("a,b", "ab", (":2: ",)),
            "label": (",3\n", ",4\n", (":2: label: expected 0 to 3",)),
        },
    ),
    "commonsenseqa": Case(
        readers.commonsenseqa_jsonl,
        lines(
            {
                "id": "1",
                "answerKey": "B",
                "question": {
                    "stem": "q",
                    "choices": [{"label": "A", "text": "x é"}, {"label": "B", "text": "y"}],
                },
            }
        ),
        1,
        {
            "column": ('"stem"', '"stam"', (":1: question.stem: expected a string",)),
            "label": (
                '"answerKey": "B"',
                '"answerKey": "C"',
                (":1: answerKey: unknown label 'C'",),
            ),
        },
        json=True,
    ),
    "socialiqa": Case(
        readers.socialiqa_jsonl,
        lines({"context": "c", "question": "q", "answerA": "x é", "answerB": "y", "answerC": "z"}),
        1,
        {"column": ("answerC", "answerD", (":1: answerC: expected a string",))},
        beside={"gold": "3\n"},
        json=True,
    ),
    "copa": Case(
        readers.copa_jsonl,
        lines(
            {
                "premise": "p é",
                "question": "cause",
                "choice1": "x",
                "choice2": "y",
                "label": 1,
                "idx": 0,
            }
        ),
        1,
        {
            "column": ("choice2", "choice3", (":1: choice2: expected a string",)),
            "label": (
                '"cause"',
                '"course"',
                (":1: question: unknown label 'course'. Did you mean 'cause'?",),
            ),
        },
        json=True,
    ),
    "text": Case(readers.text_lines, "one é\n\ntwo\n", 2),
    "bucc": Case(
        readers.bucc_tsv,
        "de-1\teins é\nde-2\tzwei\n",
        4,
        {
            "column": ("de-2\tzwei", "de-2 zwei", (":2: expected an id, a tab and a sentence",)),
            "id": ("de-2", "de-1", (":2: expected distinct ids",)),
        },
        beside={"other": "en-1\tone\nen-2\ttwo\n", "gold": "de-1\ten-1\n"},
    ),
    "lareqa": Case(
        readers.lareqa_json,
        pages(
            {
                "context": CONTEXT,
                "qas": [asked("q1", ("Bob", 8))],
                "sentence_breaks": [[0, 12], [13, 27]],
            }
        ),
        3,
        {
            "column": ('"sentence_breaks"', '"breaks"', ("sentence_breaks: expected a list",)),
            "span": (
                "27",
                "270",
                ("sentence_breaks[1]: expected start and end inside the context",),
            ),
            "answer": (": 8", ": 12", ("answers: expected an answer that starts in a sentence",)),
        },
        json=True,
    ),
    "mewslix": Case(
        readers.mewslix_jsonl,
        lines(MENTION),
        2,
        {
            "column": ('"example_id"', '"id"', (":1: mentions[0].example_id: expected a string",)),
            "span": (
                '"end": 11',
                '"end": 999',
                (":1: mentions[0].mention_span.start: expected a span",),
            ),
            "text": ('"Bob"', '"Rob"', (":1: mentions[0].mention_span.text: expected 'Bob'",)),
            "id": ('"m1"', '"m2"', ("expected the mention 'm2'",)),
        },
        beside={"other": lines(ENTITY), "gold": '{"m1": ["Q1"]}'},
        json=True,
    ),
}
