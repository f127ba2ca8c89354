"""The nine intermediate tasks of Phang et al. 2020, plain text for their masked language modelling,
and the small SICK: sizes and formats after jiant (daa5a258)."""

from __future__ import annotations

from adapters_xitt.languages import LANGUAGES
from adapters_xitt.tasks.record import Task

# jiant's order for every inference task, so that heads can be compared; files carry words or
# letters, never ids.
NLI = ("contradiction", "entailment", "neutral")

CHUNKS = (
    *(
        f"{place}-{name}"
        for place in "BI"
        for name in ("ADJP", "ADVP", "CONJP", "INTJ", "LST", "NP", "PP", "PRT", "SBAR", "UCP", "VP")
    ),
    "O",
)
XPOS = tuple(
    """$ '' , -LRB- -RRB- . : ADD AFX CC CD DT EX FW GW HYPH IN JJ JJR JJS LS MD NFP NN NNP NNPS
             NNS PDT POS PRP PRP$ RB RBR RBS RP SYM TO UH VB VBD VBG VBN VBP VBZ WDT WP WP$ WRB XX
             ``""".split()
)


def _mnli(split: str) -> tuple[str, ...]:
    """The places of a split outside XTREME: MultiNLI's own archive, and GLUE's."""
    return (
        f"mnli/multinli_1.0/multinli_1.0_{split}.jsonl",
        f"mnli/multinli_1.0_{split}.jsonl",
        f"mnli/MNLI/{split}.tsv",
        f"mnli/{split}.tsv",
    )


INTERMEDIATE = (
    Task(
        name="anli-plus",
        kind="pair",
        group="classification",
        about="ANLI rounds 1-3, MNLI and SNLI under one head",
        languages=("en",),
        reader="snli_jsonl",
        files={"train": (), "dev": ()},
        joins=("anli", "mnli", "snli"),
        labels=NLI,
        metric="accuracy",
        main_score="accuracy",
        seen=("nli",),
        origin="anli-plus",
        derived_from=("anli", "mnli", "snli"),
        source="the files of anli, mnli and snli",
    ),
    Task(
        name="anli",
        kind="pair",
        group="classification",
        about="inference that people wrote to mislead a model, in three rounds (ANLI)",
        languages=("en",),
        reader="snli_jsonl",
        files={
            split: (
                *(
                    " + ".join(f"{folder}/R{round}/{split}.jsonl" for round in (1, 2, 3))
                    for folder in ("anli/anli_v1.0", "anli")
                ),
                f"anli/{split}.jsonl",
            )
            for split in ("train", "dev", "test")
        },
        options={
            "columns": ("context", "hypothesis", "label"),
            "own": "uid",
            "aliases": {"c": "contradiction", "e": "entailment", "n": "neutral"},
        },
        labels=NLI,
        metric="accuracy",
        main_score="accuracy",
        seen=("nli",),
        origin="anli",
        source="dl.fbaipublicfiles.com/anli/anli_v1.0.zip",
    ),
    Task(
        name="snli",
        kind="pair",
        group="classification",
        about="inference on captions of pictures (SNLI)",
        languages=("en",),
        reader="snli_jsonl",
        files={
            split: tuple(f"{folder}/snli_1.0_{split}.jsonl" for folder in ("snli/snli_1.0", "snli"))
            for split in ("train", "dev", "test")
        },
        labels=NLI,
        metric="accuracy",
        main_score="accuracy",
        seen=("nli",),
        origin="snli",
        source="nlp.stanford.edu/projects/snli/snli_1.0.zip",
    ),
    Task(
        name="mnli",
        kind="pair",
        group="classification",
        about="natural language inference over ten genres of English",
        languages=("en",),
        reader="mnli",
        files={
            "train": ("xtreme/xnli/train-{lang}.tsv", "xnli/train-{lang}.tsv", *_mnli("train")),
            "dev": ("mnli/dev-{lang}.tsv", *_mnli("dev_matched")),
        },
        options={"aliases": {"contradictory": "contradiction"}},
        labels=NLI,
        metric="accuracy",
        main_score="accuracy",
        seen=("nli",),
        origin="mnli",
        source=(
            "dl.fbaipublicfiles.com/XNLI/XNLI-MT-1.0.zip (multinli.train.en.tsv, as XTREME writes"
            " it), cims.nyu.edu/~sbowman/multinli/multinli_1.0.zip, or GLUE's MNLI.zip"
        ),
    ),
    Task(
        name="qqp",
        kind="pair",
        group="classification",
        about="are two questions duplicates",
        languages=("en",),
        reader="pairs_tsv",
        files={"train": ("qqp/train.tsv",), "dev": ("qqp/dev.tsv",)},
        options={"columns": (3, 4, 5), "header": True, "quoting": False},
        labels=("0", "1"),
        metric="qqp",
        main_score="mean",
        seen=("paraphrase",),
        origin="qqp",
        source="GLUE, QQP.zip",
    ),
    Task(
        name="squad",
        kind="qa",
        group="qa",
        about="SQuAD v1.1: the span of a Wikipedia paragraph that answers a question",
        languages=("en",),
        reader="squad_json",
        files={
            "train": ("squad/train-v1.1.json", "xtreme/squad/train-v1.1.json"),
            "dev": ("squad/dev-v1.1.json", "xtreme/squad/dev-v1.1.json"),
        },
        metric="squad",
        main_score="mean",
        origin="squad",
        # Not dev: XQuAD is made of it, and selection must see no test.
        train="train[:95%]",
        selection="train[95%:]",
        parallel=True,
        source="rajpurkar/SQuAD-explorer dataset/{train,dev}-v1.1.json",
    ),
    Task(
        name="squad2",
        kind="qa",
        group="qa",
        about="SQuAD v2.0: as v1.1, with questions that have no answer",
        languages=("en",),
        reader="squad_json",
        files={"train": ("squad/train-v2.0.json",), "dev": ("squad/dev-v2.0.json",)},
        options={"impossible": True},
        metric="squad2",
        main_score="mean",
        unanswerable=True,
        origin="squad",
        # Not dev: XQuAD is made of it, and selection must see no test.
        train="train[:95%]",
        selection="train[95%:]",
        parallel=True,
        source="rajpurkar/SQuAD-explorer dataset/{train,dev}-v2.0.json",
    ),
    Task(
        name="hellaswag",
        kind="choice",
        group="multi_choice",
        about="which of four endings continues a description",
        languages=("en",),
        reader="hellaswag_jsonl",
        files={
            "train": ("hellaswag/hellaswag_train.jsonl", "hellaswag/data/hellaswag_train.jsonl"),
            "dev": ("hellaswag/hellaswag_val.jsonl", "hellaswag/data/hellaswag_val.jsonl"),
        },
        metric="accuracy",
        main_score="accuracy",
        origin="hellaswag",
        source="rowanz/hellaswag data/",
    ),
    Task(
        name="ccg",
        kind="tagging",
        group="tagging",
        about=(
            "CCG supertagging, 1,363 tags; CCGbank is licensed (LDC2005T13), bring your own files"
        ),
        languages=("en",),
        reader="ccg_tags",
        # jiant's names, then CCGbank's sections as one file each.
        files={
            split: (f"ccg/{split}.tsv", f"ccg/ccg.{split}", f"ccg/{split}.auto")
            for split in ("train", "dev", "test")
        },
        open=True,
        label_files=("ccg/tags_to_id.json", "ccg/labels.txt"),
        metric="tag_accuracy",
        main_score="accuracy",
        seen=("syntax",),
        origin="ccg",
        source=(
            "LDC2005T13: CCGbank's trees, one word and tag a line, or jiant's sentences and tags"
        ),
        hint=(
            "CCGbank is licensed (LDC2005T13): put your own copy there, or take a task of tags that"
            " is free: ewt-xpos (tags of UD English-EWT) or conll2000 (chunks)"
        ),
    ),
    Task(
        name="conll2000",
        kind="tagging",
        group="tagging",
        about="chunks of English news (CoNLL-2000): in the place of CCG",
        languages=("en",),
        reader="conll_columns",
        files={"train": ("conll2000/train.txt",), "test": ("conll2000/test.txt",)},
        labels=CHUNKS,
        metric="tag_f1",
        main_score="f1",
        # It has no third split: a tenth of its training data picks the step, never the test.
        train="train[:90%]",
        selection="train[90%:]",
        seen=("syntax",),
        origin="conll2000",
        source="CoNLL-2000 shared task, cnts.ua.ac.be/conll2000/chunking",
    ),
    Task(
        name="ewt-xpos",
        kind="tagging",
        group="tagging",
        about=(
            "English part-of-speech tags after the Penn Treebank (UD English-EWT): in the place"
            " of CCG"
        ),
        languages=("en",),
        reader="conllu",
        files={
            split: (f"ud/UD_English-EWT/en_ewt-ud-{split}.conllu",)
            for split in ("train", "dev", "test")
        },
        options={"column": 4},
        labels=XPOS,
        metric="tag_accuracy",
        main_score="accuracy",
        seen=("pos",),
        origin="ewt",
        source="UniversalDependencies/UD_English-EWT r2.5",
    ),
    Task(
        name="cosmosqa",
        kind="choice",
        group="multi_choice",
        about="commonsense reading comprehension, four answers",
        languages=("en",),
        reader="cosmosqa_csv",
        files={
            "train": ("cosmosqa/data/train.csv", "cosmosqa/train.csv"),
            "dev": ("cosmosqa/data/valid.csv", "cosmosqa/valid.csv"),
        },
        metric="accuracy",
        main_score="accuracy",
        origin="cosmosqa",
        source="wilburOne/cosmosqa data/",
    ),
    Task(
        name="commonsenseqa",
        kind="choice",
        group="multi_choice",
        about="commonsense questions, five answers",
        languages=("en",),
        reader="commonsenseqa_jsonl",
        files={
            "train": ("commonsenseqa/train_rand_split.jsonl", "commonsenseqa/train.jsonl"),
            "dev": ("commonsenseqa/dev_rand_split.jsonl", "commonsenseqa/valid.jsonl"),
        },
        metric="accuracy",
        main_score="accuracy",
        origin="commonsenseqa",
        source="tau-nlp CommonsenseQA v1.11, random split",
    ),
    Task(
        name="text",
        kind="mlm",
        group="language_modelling",
        about=(
            "plain text, one a line: masked language modelling, for language modules and as an"
            " intermediate task"
        ),
        languages=tuple(LANGUAGES),
        reader="text_lines",
        files={
            "train": ("text/{lang}.txt", "text/{lang}.txt.gz"),
            "test": ("text/test-{lang}.txt", "text/test-{lang}.txt.gz"),
        },
        metric="masked_tokens",
        main_score="accuracy",
        train="train[:95%]",
        selection="train[95%:]",
        origin="text",
        source="bring your own files",
    ),
    Task(
        name="sick",
        kind="pair",
        group="classification",
        about="inference between short captions (SICK 2014): small, real, quick",
        languages=("en",),
        reader="sick_txt",
        files={
            "train": ("sick/SICK_train.txt",),
            "dev": ("sick/SICK_trial.txt",),
            "test": ("sick/SICK_test_annotated.txt",),
        },
        labels=NLI,
        metric="accuracy",
        main_score="accuracy",
        seen=("nli",),
        origin="sick",
        source="SemEval-2014 task 1",
    ),
)
