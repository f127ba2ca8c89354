"""Beyond XTREME and XTREME-R: languages of Africa and of the Americas, Universal NER, and
translations that others made of items of these benchmarks, which are told to be theirs."""

from __future__ import annotations

from dataclasses import replace

from adapters_xitt.tasks.intermediate import NLI
from adapters_xitt.tasks.record import Task
from adapters_xitt.tasks.xtreme import NER, UPOS

# Our codes and the folders' (ISO 639-3).
MASAKHANE = {
    "bm": "bam",
    "bbj": "bbj",
    "ee": "ewe",
    "fon": "fon",
    "ha": "hau",
    "ig": "ibo",
    "rw": "kin",
    "lg": "lug",
    "luo": "luo",
    "mos": "mos",
    "ny": "nya",
    "pcm": "pcm",
    "sn": "sna",
    "sw": "swa",
    "tn": "tsn",
    "tw": "twi",
    "wo": "wol",
    "xh": "xho",
    "yo": "yor",
    "zu": "zul",
}
DATED = ("B-DATE", "B-LOC", "B-ORG", "B-PER", "I-DATE", "I-LOC", "I-ORG", "I-PER", "O")

_TREEBANKS = {
    "en": "English-EWT/en_ewt",
    "ceb": "Cebuano-GJA/ceb_gja",
    "da": "Danish-DDT/da_ddt",
    "hr": "Croatian-SET/hr_set",
    "pt": "Portuguese-Bosque/pt_bosque",
    "sk": "Slovak-SNK/sk_snk",
    "sr": "Serbian-SET/sr_set",
    "sv": "Swedish-Talbanken/sv_talbanken",
    "tl": "Tagalog-TRG/tl_trg",
    "zh": "Chinese-GSDSIMP/zh_gsdsimp",
}
_PUD = {
    code: f"{name}-PUD/{code}_pud"
    for code, name in {
        "en": "English",
        "de": "German",
        "pt": "Portuguese",
        "ru": "Russian",
        "sv": "Swedish",
        "zh": "Chinese",
        "ar": "Arabic",
        "cs": "Czech",
        "es": "Spanish",
        "fi": "Finnish",
        "fr": "French",
        "hi": "Hindi",
        "id": "Indonesian",
        "is": "Icelandic",
        "it": "Italian",
        "ja": "Japanese",
        "ko": "Korean",
        "pl": "Polish",
        "th": "Thai",
        "tr": "Turkish",
    }.items()
}
_UNER_PUD = ("en", "de", "pt", "ru", "sv", "zh")

_MASAKHANER = Task(
    name="masakhaner",
    kind="tagging",
    group="tagging",
    about=(
        "named entities and dates in news of twenty African languages (MasakhaNER 2.0); it has no"
        " English"
    ),
    languages=tuple(MASAKHANE),
    codes=MASAKHANE,
    reader="conll_columns",
    files={
        split: (f"masakhaner/MasakhaNER2.0/data/{{lang}}/{split}.txt",)
        for split in ("train", "dev", "test")
    },
    labels=DATED,
    metric="tag_f1",
    main_score="f1",
    seen=("ner",),
    origin="masakhaner",
    source="masakhane-io/masakhane-ner MasakhaNER2.0/data/",
    hint=(
        "MasakhaNER has no English: say in which of its languages training reads,"
        " tasks.masakhaner.trained_in: [sw]; or take masakhaner-nodate, which English data trains"
    ),
)
_UNER = Task(
    name="uner",
    kind="tagging",
    group="tagging",
    about=(
        "named entities on Universal Dependencies (Universal NER v1), a treebank of its own per"
        " language"
    ),
    languages=tuple(_TREEBANKS),
    codes=_TREEBANKS,
    reader="conll_columns",
    files={split: (f"uner/UNER_{{lang}}-ud-{split}.iob2",) for split in ("train", "dev", "test")},
    # OTH is of the annotation, not of the task's three types.
    options={"word": 1, "tag": 2, "comments": True, "aliases": {"B-OTH": "O", "I-OTH": "O"}},
    labels=NER,
    metric="tag_f1",
    main_score="f1",
    seen=("ner",),
    origin="uner",
    derived_from=("ewt",),
    source="UniversalNER/UNER_*",
)
_XNLI = Task(
    name="kornli",
    kind="pair",
    group="classification",
    about="XNLI's dev and test items in Korean (KorNLI)",
    languages=("ko",),
    reader="pairs_tsv",
    files={split: (f"kornlu/KorNLI/xnli.{split}.{{lang}}.tsv",) for split in ("dev", "test")},
    options={"columns": ("sentence1", "sentence2", "gold_label"), "quoting": False},
    labels=NLI,
    metric="accuracy",
    main_score="accuracy",
    trained_on="mnli",
    # Line for line XNLI's: the labels agree, all 1,000 at hand, as they do for the other two.
    seen=("nli",),
    origin="xnli",
    derived_from=("xnli",),
    parallel=True,
    source="kakaobrain/KorNLUDatasets KorNLI/",
)

BEYOND = (
    _MASAKHANER,
    replace(
        _MASAKHANER,
        name="masakhaner-nodate",
        about=(
            "MasakhaNER 2.0 with dates read as no entity, so that English data of three types"
            " trains it"
        ),
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
        languages=_UNER_PUD,
        codes={code: _PUD[code] for code in _UNER_PUD},
        files={"test": ("uner/UNER_{lang}-ud-test.iob2",)},
        trained_on="uner",
        origin="pud",
        derived_from=("pud",),
        parallel=True,
    ),
    Task(
        name="pud",
        kind="tagging",
        group="tagging",
        about=(
            "universal part-of-speech tags of one text in twenty languages (Parallel Universal"
            " Dependencies)"
        ),
        languages=tuple(_PUD),
        codes=_PUD,
        reader="conllu",
        files={"test": ("ud/UD_{lang}-ud-test.conllu",)},
        # Words as UDPOS has them, which these sentences are a part of; some treebanks have numbers
        # of their own.
        options={"multiword": "fused", "numbered": True},
        labels=UPOS,
        metric="tag_f1",
        main_score="f1",
        trained_on="udpos",
        seen=("pos",),
        origin="pud",
        parallel=True,
        source="UniversalDependencies/UD_*-PUD r2.5",
    ),
    _XNLI,
    replace(
        _XNLI,
        name="c-xnli",
        about="XNLI's dev and test items in Croatian (C-XNLI)",
        languages=("hr",),
        files={split: (f"c-xnli/data/xnli.{split}.{{lang}}.csv",) for split in ("dev", "test")},
        options={"columns": ("premise", "hypo", "label"), "delimiter": ","},
        source="lobadic/C-XNLI data/",
    ),
    replace(
        _XNLI,
        name="myxnli",
        about="XNLI's dev and test items in Burmese (myXNLI)",
        languages=("my",),
        files={
            split: (f"myxnli/output/{{lang}}/{{lang}}.genre.{split}.tsv",)
            for split in ("dev", "test")
        },
        options={"columns": ("sentence1_my", "sentence2_my", "label"), "quoting": False},
        source="akhtet/myXNLI output/",
    ),
    Task(
        name="squad-es",
        kind="qa",
        group="qa",
        about="SQuAD v1.1 by machine in Spanish (SQuAD-es)",
        languages=("es",),
        reader="squad_json",
        files={
            split: (
                f"squad-es/SQuAD-{{lang}}-v1.1/{split}-v1.1-{{lang}}.json",
                f"squad-es/SQuAD-{{lang}}-v1.1/{split}-v1.1-{{lang}}_small.json",
            )
            for split in ("train", "dev")
        },
        metric="squad",
        main_score="mean",
        origin="squad",
        derived_from=("squad",),
        # Not dev: XQuAD is made of its original, and selection must see no test.
        train="train[:95%]",
        selection="train[95%:]",
        parallel=True,
        source="ccasimiro88/TranslateAlignRetrieve SQuAD-es-v1.1/",
    ),
    replace(
        _XNLI,
        name="americasnli",
        about=(
            "inference in ten indigenous languages of the Americas, translated from XNLI's Spanish"
            " (AmericasNLI)"
        ),
        languages=("ay", "bzd", "cni", "gn", "hch", "nah", "oto", "qu", "shp", "tar"),
        codes={"ay": "aym", "qu": "quy"},
        files={
            split: (
                f"americasnli/data/anli_final/{split}/{{lang}}.tsv",
                f"americasnli/anli_final/{split}/{{lang}}.tsv",
            )
            for split in ("dev", "test")
        },
        # Its ids are XNLI's rows, counted from these (the labels agree, all 150 of each split at
        # hand).
        options={
            "columns": ("premise", "hypothesis", "label"),
            "own": "id",
            "quoting": False,
            "first": {"dev": 12451, "test": 25051},
        },
        source="abteen/americasnli data/anli_final/",
    ),
)
