"""Targets beyond XTREME and XTREME-R: languages of Africa and of the Americas, and Universal NER."""

from __future__ import annotations

from dataclasses import replace

from adapters_xitt.tasks.intermediate import NLI
from adapters_xitt.tasks.record import Task
from adapters_xitt.tasks.xtreme import NER

# Our codes and the folders' (ISO 639-3).
MASAKHANE = {"bm": "bam", "bbj": "bbj", "ee": "ewe", "fon": "fon", "ha": "hau", "ig": "ibo", "rw": "kin", "lg": "lug",
             "luo": "luo", "mos": "mos", "ny": "nya", "pcm": "pcm", "sn": "sna", "sw": "swa", "tn": "tsn", "tw": "twi",
             "wo": "wol", "xh": "xho", "yo": "yor", "zu": "zul"}
DATED = ("B-DATE", "B-LOC", "B-ORG", "B-PER", "I-DATE", "I-LOC", "I-ORG", "I-PER", "O")

_TREEBANKS = {"en": "English-EWT/en_ewt", "ceb": "Cebuano-GJA/ceb_gja", "da": "Danish-DDT/da_ddt",
              "hr": "Croatian-SET/hr_set", "pt": "Portuguese-Bosque/pt_bosque", "sk": "Slovak-SNK/sk_snk",
              "sr": "Serbian-SET/sr_set", "sv": "Swedish-Talbanken/sv_talbanken", "tl": "Tagalog-TRG/tl_trg",
              "zh": "Chinese-GSDSIMP/zh_gsdsimp"}
_PUD = {"en": "English-PUD/en_pud", "de": "German-PUD/de_pud", "pt": "Portuguese-PUD/pt_pud",
        "ru": "Russian-PUD/ru_pud", "sv": "Swedish-PUD/sv_pud", "zh": "Chinese-PUD/zh_pud"}

_MASAKHANER = Task(
    name="masakhaner",
    kind="tagging",
    group="tagging",
    about="named entities and dates in news of twenty African languages (MasakhaNER 2.0); it has no English",
    languages=tuple(MASAKHANE),
    codes=MASAKHANE,
    reader="conll_columns",
    files={split: (f"masakhaner/MasakhaNER2.0/data/{{lang}}/{split}.txt",) for split in ("train", "dev", "test")},
    labels=DATED,
    metric="tag_f1",
    headline="f1",
    origin="masakhaner",
    source="masakhane-io/masakhane-ner MasakhaNER2.0/data/",
    hint="MasakhaNER has no English: say in which of its languages training reads, tasks.masakhaner.trained_in: [sw]; "
         "or take masakhaner-nodate, which English data trains",
)
_UNER = Task(
    name="uner",
    kind="tagging",
    group="tagging",
    about="named entities on Universal Dependencies (Universal NER v1), a treebank of its own per language",
    languages=tuple(_TREEBANKS),
    codes=_TREEBANKS,
    reader="conll_columns",
    files={split: (f"uner/UNER_{{lang}}-ud-{split}.iob2",) for split in ("train", "dev", "test")},
    # OTH is of the annotation, not of the task's three types.
    options={"word": 1, "tag": 2, "comments": True, "aliases": {"B-OTH": "O", "I-OTH": "O"}},
    labels=NER,
    metric="tag_f1",
    headline="f1",
    origin="uner",
    source="UniversalNER/UNER_*",
)

BEYOND = (
    _MASAKHANER,
    replace(
        _MASAKHANER,
        name="masakhaner-nodate",
        about="MasakhaNER 2.0 with dates read as no entity, so that English data of three types trains it",
        options={"aliases": {"B-DATE": "O", "I-DATE": "O"}},
        labels=NER,
        trained_on="uner",
        hint="",
    ),
    _UNER,
    replace(
        _UNER,
        name="uner-pud",
        about="Universal NER on the translations of PUD, one text in six languages",
        languages=tuple(_PUD),
        codes=_PUD,
        files={"test": ("uner/UNER_{lang}-ud-test.iob2",)},
        trained_on="uner",
        origin="uner-pud",
    ),
    Task(
        name="americasnli",
        kind="pair",
        group="classification",
        about="inference in ten indigenous languages of the Americas, translated from XNLI's Spanish (AmericasNLI)",
        languages=("ay", "bzd", "cni", "gn", "hch", "nah", "oto", "qu", "shp", "tar"),
        codes={"ay": "aym", "qu": "quy"},
        reader="pairs_tsv",
        files={split: (f"americasnli/data/anli_final/{split}/{{lang}}.tsv",
                       f"americasnli/anli_final/{split}/{{lang}}.tsv") for split in ("dev", "test")},
        # Its ids are XNLI's rows, counted from these (the labels agree, all 150 of each split at hand).
        options={"columns": ("premise", "hypothesis", "label"), "own": "id", "quoting": False,
                 "first": {"dev": 12451, "test": 25051}},
        labels=NLI,
        metric="accuracy",
        headline="accuracy",
        trained_on="mnli",
        origin="xnli",
        derived_from=("xnli",),
        parallel=True,
        source="abteen/americasnli data/anli_final/",
    ),
)
