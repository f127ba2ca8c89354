"""Data files as their origins publish them, read into plain rows.

Rows come in file order and have a string `id`, the origin's own or "{split}/{n}" with n the number
of the row in the file from 0, skipped rows counted, so that numbers never shift; and a `group`,
equal for rows that no slice should part. Text is UTF-8 (a byte order mark is dropped, `.gz`
unpacked) and its lines end at "\\n" or "\\r\\n" only: other characters that Unicode calls line ends
occur inside fields. A file that can't be used is a DataError."""

from __future__ import annotations

from adapters_xitt.data.readers.base import UNSEEN, Reading, apart
from adapters_xitt.data.readers.choice import (
    commonsenseqa_jsonl,
    copa_jsonl,
    cosmosqa_csv,
    hellaswag_jsonl,
    socialiqa_jsonl,
)
from adapters_xitt.data.readers.columns import ccg_tags, conll_columns, label_list
from adapters_xitt.data.readers.pairs import PairsLayout, mnli, pairs_tsv, sick_txt, snli_jsonl
from adapters_xitt.data.readers.qa import squad_json
from adapters_xitt.data.readers.retrieval import parallel_lines
from adapters_xitt.data.readers.search import bucc_tsv, lareqa_json, mewslix_jsonl
from adapters_xitt.data.readers.tagging import PRECEDENCE, conllu, tags_tsv
from adapters_xitt.data.readers.text import text_lines

__all__ = [
    "PRECEDENCE",
    "UNSEEN",
    "PairsLayout",
    "Reading",
    "apart",
    "bucc_tsv",
    "ccg_tags",
    "commonsenseqa_jsonl",
    "conll_columns",
    "conllu",
    "copa_jsonl",
    "cosmosqa_csv",
    "hellaswag_jsonl",
    "label_list",
    "lareqa_json",
    "mewslix_jsonl",
    "mnli",
    "pairs_tsv",
    "parallel_lines",
    "sick_txt",
    "snli_jsonl",
    "socialiqa_jsonl",
    "squad_json",
    "tags_tsv",
    "text_lines",
]
