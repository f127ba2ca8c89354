"""The nine targets of XTREME (Hu et al. 2020), files as its `scripts/download_data.sh` leaves them.

Language lists are those of `evaluate.py` (google-research/xtreme 838c13b). Test labels, which
XTREME's preprocessing blanks, lie in a second tree, `xtreme_labels/`, in the layout that
`evaluate.py --label_folder` reads."""

from __future__ import annotations

from adapters_xitt.tasks.conventions import MEAN_14, Convention
from adapters_xitt.tasks.intermediate import NLI
from adapters_xitt.tasks.record import Format, Task

UPOS = tuple(
    "ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X".split()
)
NER = ("B-LOC", "B-ORG", "B-PER", "I-LOC", "I-ORG", "I-PER", "O")

# A treebank's own file as XTREME's `ud-conversion-tools/conllu_to_conll.py` reads it
# (--replace_subtokens_with_fused_forms --print_fused_forms), which ranks the tags of a fused word's
# parts by lists of their own in three languages.
TREEBANK = Format(
    reader="conllu",
    options={"multiword": "fused"},
    in_language={
        language: {"precedence": tuple(tags.split())}
        for language, tags in {
            "es": "VERB AUX PRON ADP DET",
            "fr": "VERB AUX PRON NOUN ADJ ADV ADP DET PART SCONJ CONJ",
            "it": "VERB AUX ADV PRON ADP DET INTJ",
        }.items()
    },
)

# Ways to read a sentence's vector, after XTREME's and jiant's code (protocol of both papers: "the
# mean of layer 14").
MEAN_20 = Convention(
    name="mean-20",
    layer=20 / 24,
    pooling="mean",
    why=(
        "XTREME's BUCC script of 2020: layer 20 by a missing option, its pooling option ignored"
        " until 287a7b7"
    ),
)
FIRST_20 = Convention(
    name="first-20",
    layer=20 / 24,
    pooling="first",
    why="XTREME's BUCC script since 287a7b7: the vector of <s> at layer 20",
)


def in_xtreme(folder: str, name: str) -> tuple[str, ...]:
    """The two places of a file: in a data folder that holds the XTREME tree, or in the tree
    itself."""
    return f"xtreme/{folder}/{name}", f"{folder}/{name}"


XTREME = (
    Task(
        name="xnli",
        kind="pair",
        group="classification",
        about="natural language inference, professionally translated (XNLI)",
        languages=tuple("ar bg de el en es fr hi ru sw th tr ur vi zh".split()),
        reader="pairs_tsv",
        files={split: in_xtreme("xnli", split + "-{lang}.tsv") for split in ("dev", "test")},
        gold={"test": ("xtreme_labels/xnli/test-{lang}.tsv",)},
        labels=NLI,
        metric="accuracy",
        main_score="accuracy",
        trained_on="mnli",
        seen=("nli",),
        origin="xnli",
        parallel=True,
        source="dl.fbaipublicfiles.com/XNLI/XNLI-1.0.zip",
    ),
    Task(
        name="pawsx",
        kind="pair",
        group="classification",
        about="paraphrase or not, with high word overlap (PAWS-X)",
        languages=("de", "en", "es", "fr", "ja", "ko", "zh"),
        reader="pairs_tsv",
        files={
            split: in_xtreme("pawsx", split + "-{lang}.tsv") for split in ("train", "dev", "test")
        },
        gold={"test": ("xtreme_labels/pawsx/test-{lang}.tsv",)},
        labels=("0", "1"),
        metric="accuracy",
        main_score="accuracy",
        seen=("paraphrase",),
        origin="pawsx",
        parallel=True,
        source="storage.googleapis.com/paws/pawsx/x-final.tar.gz",
    ),
    Task(
        name="udpos",
        kind="tagging",
        group="tagging",
        about=(
            "universal part-of-speech tags (UD 2.5); F1 over runs of equal tags, token accuracy"
            " beside it"
        ),
        languages=tuple(
            (
                "af ar bg de el en es et eu fa fi fr he hi hu id it ja kk ko mr nl pt ru ta "
                "te th tl tr ur vi yo zh"
            ).split()
        ),
        more=("lt", "pl", "uk", "wo", "ro"),
        reader="tags_tsv",
        files={
            split: in_xtreme("udpos", split + "-{lang}.tsv") for split in ("train", "dev", "test")
        },
        gold={"test": ("xtreme_labels/udpos/test-{lang}.tsv",)},
        formats={".conllu": TREEBANK},
        labels=UPOS,
        metric="tag_f1",
        main_score="f1",
        seen=("pos",),
        origin="udpos",
        derived_from=("ewt", "pud"),
        source="Universal Dependencies 2.5, lindat.mff.cuni.cz 11234/1-3105",
    ),
    Task(
        name="panx",
        kind="tagging",
        group="tagging",
        about="named entities of Wikipedia (WikiANN, PAN-X)",
        languages=tuple(
            (
                "af ar bg bn de el en es et eu fa fi fr he hi hu id it ja jv ka kk ko ml mr "
                "ms my nl pt ru sw ta te th tl tr ur vi yo zh"
            ).split()
        ),
        more=("qu", "pl", "uk", "az", "lt", "pa", "gu", "ro"),
        reader="tags_tsv",
        files={
            split: in_xtreme("panx", split + "-{lang}.tsv") for split in ("train", "dev", "test")
        },
        gold={"test": ("xtreme_labels/panx/test-{lang}.tsv",)},
        labels=NER,
        metric="tag_f1",
        main_score="f1",
        seen=("ner",),
        origin="panx",
        source="WikiANN, Rahimi et al. 2019 splits",
    ),
    Task(
        name="xquad",
        kind="qa",
        group="qa",
        about="1,190 questions of SQuAD dev, translated (XQuAD)",
        languages=("en", "es", "de", "el", "ru", "tr", "ar", "vi", "th", "zh", "hi"),
        more=("ro",),
        reader="squad_json",
        files={"test": in_xtreme("xquad", "xquad.{lang}.json")},
        gold={"test": ("xtreme_labels/xquad/test-{lang}.json",)},
        metric="squad",
        main_score="mean",
        trained_on="squad",
        origin="squad",
        derived_from=("squad",),
        parallel=True,
        source="deepmind/xquad",
    ),
    Task(
        name="mlqa",
        kind="qa",
        group="qa",
        about=(
            "questions on aligned Wikipedia sentences; context and question in one language (MLQA)"
        ),
        languages=("en", "es", "de", "ar", "hi", "vi", "zh"),
        reader="squad_json",
        files={
            split: (
                f"mlqa/MLQA_V1/{split}/{split}-context-{{lang}}-question-{{lang}}.json",
                f"xtreme/mlqa/MLQA_V1/{split}/{split}-context-{{lang}}-question-{{lang}}.json",
            )
            for split in ("dev", "test")
        },
        metric="mlqa",
        main_score="mean",
        trained_on="squad",
        origin="mlqa",
        parallel=True,
        source="dl.fbaipublicfiles.com/MLQA/MLQA_V1.zip",
    ),
    Task(
        name="tydiqa",
        kind="qa",
        group="qa",
        about=(
            "questions by people who did not know the answer (TyDiQA-GoldP); XTREME's test is"
            " its dev"
        ),
        languages=("en", "ar", "bn", "fi", "id", "ko", "ru", "sw", "te"),
        reader="squad_json",
        files={
            "train": in_xtreme("tydiqa", "tydiqa-goldp-v1.1-train/tydiqa.goldp.{lang}.train.json"),
            "test": in_xtreme("tydiqa", "tydiqa-goldp-v1.1-dev/tydiqa.goldp.{lang}.dev.json"),
        },
        gold={"test": ("xtreme_labels/tydiqa/test-{lang}.json",)},
        metric="squad",
        main_score="mean",
        # GoldP has no third split: a tenth of its English training data picks the step, never the
        # test.
        train="train[:90%]",
        selection="train[90%:]",
        origin="tydiqa",
        source="storage.googleapis.com/tydiqa/v1.1/tydiqa-goldp-v1.1-{train.json,dev.tgz}",
    ),
    Task(
        name="bucc2018",
        kind="mining",
        group="retrieval",
        fitted="dev",
        about="parallel sentences hidden in two large collections (BUCC 2018)",
        languages=("de", "fr", "ru", "zh"),
        reader="bucc_tsv",
        files={
            split: in_xtreme("bucc2018", "{lang}-en." + split + ".{lang}")
            for split in ("dev", "test")
        },
        gold={
            "dev": in_xtreme("bucc2018", "{lang}-en.dev.gold"),
            "test": (
                "xtreme_labels/bucc2018/test-{lang}.tsv",
                *in_xtreme("bucc2018", "{lang}-en.test.gold"),
            ),
        },
        options={"other": "{lang}-en.{split}.en"},
        metric="bucc",
        main_score="f1",
        conventions=(MEAN_14, MEAN_20, FIRST_20),
        origin="bucc2018",
        source="comparable.limsi.fr/bucc2018",
    ),
    Task(
        name="tatoeba",
        kind="retrieval",
        group="retrieval",
        about=(
            "find the translation of an English sentence among up to 1,000 (Tatoeba, LASER's"
            " selection)"
        ),
        languages=tuple(
            (
                "af ar bg bn de el es et eu fa fi fr he hi hu id it ja jv ka kk ko ml mr nl "
                "pt ru sw ta te th tl tr ur vi zh"
            ).split()
        ),
        more=("az", "lt", "pl", "uk", "ro"),
        reader="parallel_lines",
        files={"test": in_xtreme("tatoeba", "{lang}-en.{lang}")},
        gold={"test": ("xtreme_labels/tatoeba/test-{lang}.tsv",)},
        options={"other": "{lang}-en.en"},
        metric="retrieval_accuracy",
        main_score="accuracy",
        conventions=(MEAN_14, MEAN_20, FIRST_20),
        origin="tatoeba",
        source="facebookresearch/LASER data/tatoeba/v1, as XTREME writes it (English side sorted)",
    ),
)
