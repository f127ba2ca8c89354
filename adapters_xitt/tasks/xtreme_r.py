"""What XTREME-R (Ruder et al. 2021) adds: XCOPA, the two English tasks that train it, Mewsli-X and
LAReQA.

Packing after `third_party/run_xcopa.py` of google-research/xtreme (838c13b)."""

from __future__ import annotations

from adapters_xitt.tasks.conventions import Convention
from adapters_xitt.tasks.record import Task
from adapters_xitt.tasks.xtreme import in_xtreme

_XQUAD_R = ("ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh")

# How an answer is read: XTREME-R's evaluate_retrieval.py joins sentence and paragraph without a
# blank between them.
WITH_CONTEXT = Convention(
    name="sentence-and-context",
    context=True,
    why=(
        "XTREME-R, and LAReQA's own models: a sentence with its paragraph, 256 tokens; a"
        " question 96"
    ),
)
SENTENCE = Convention(name="sentence", why="the sentence alone: what stands around it says nothing")

XTREME_R = (
    Task(
        name="socialiqa",
        kind="choice",
        group="multi_choice",
        about="what people do, want and feel, three answers (Social IQa)",
        languages=("en",),
        reader="socialiqa_jsonl",
        files={
            "train": ("socialiqa/train.jsonl", *in_xtreme("siqa", "socialIQa_v1.4_trn.jsonl")),
            "dev": ("socialiqa/dev.jsonl", *in_xtreme("siqa", "socialIQa_v1.4_dev.jsonl")),
            "test": ("socialiqa/test.jsonl", *in_xtreme("siqa", "socialIQa_v1.4_tst.jsonl")),
        },
        gold={split: (f"socialiqa/{split}-labels.lst",) for split in ("train", "dev")},
        metric="accuracy",
        main_score="accuracy",
        origin="socialiqa",
        source="storage.googleapis.com/ai2-mosaic/public/socialiqa/socialiqa-train-dev.zip",
    ),
    Task(
        name="copa",
        kind="choice",
        group="multi_choice",
        about=(
            "which of two sentences is the cause or the effect of another (COPA, SuperGLUE's split)"
        ),
        languages=("en",),
        reader="copa_jsonl",
        files={
            "train": (*in_xtreme("xcopa", "train-{lang}.jsonl"), "copa/train.jsonl"),
            "dev": (*in_xtreme("xcopa", "val-{lang}.jsonl"), "copa/val.jsonl"),
            "test": ("copa/test.jsonl", *in_xtreme("xcopa", "test-{lang}.jsonl")),
        },
        metric="accuracy",
        main_score="accuracy",
        origin="copa",
        parallel=True,
        source="SuperGLUE COPA.zip",
    ),
    Task(
        name="xcopa",
        kind="choice",
        group="multi_choice",
        about="COPA's dev and test items, translated into languages of eleven families (XCOPA)",
        languages=("et", "ht", "id", "it", "qu", "sw", "ta", "th", "tr", "vi", "zh"),
        reader="copa_jsonl",
        # XTREME's own tree comes last: its test labels are blanked.
        files={
            "dev": ("xcopa/data/{lang}/val.{lang}.jsonl", *in_xtreme("xcopa", "val-{lang}.jsonl")),
            "test": (
                "xcopa/data/{lang}/test.{lang}.jsonl",
                *in_xtreme("xcopa", "test-{lang}.jsonl"),
            ),
        },
        gold={"test": ("xtreme_labels/xcopa/test-{lang}.jsonl",)},
        metric="accuracy",
        main_score="accuracy",
        trained_on="copa",
        origin="copa",
        derived_from=("copa",),
        parallel=True,
        source="cambridgeltl/xcopa data/",
    ),
    Task(
        name="mewslix",
        kind="ranking",
        group="retrieval",
        about=(
            "the entity that a mention in the news means, among descriptions in many languages"
            " (Mewsli-X)"
        ),
        languages=("ar", "de", "en", "es", "fa", "ja", "pl", "ro", "ta", "tr", "uk"),
        reader="mewslix_jsonl",
        files={
            split: in_xtreme("mewslix", f"wikinews_mentions/{split}-{{lang}}.jsonl")
            for split in ("dev", "test")
        },
        gold={
            "test": (
                "xtreme_labels/mewslix/test-{lang}.json",
                *in_xtreme("mewslix", "wikinews_labels/test-{lang}.json"),
            )
        },
        options={"other": "../candidate_set_entities.jsonl"},
        metric="mrr",
        main_score="mrr@20",
        origin="mewslix",
        parallel=True,
        source=(
            "google-research/google-research dense_representations_for_entity_retrieval/mel,"
            " Mewsli-X"
        ),
    ),
    Task(
        name="lareqa",
        kind="ranking",
        group="retrieval",
        about=(
            "the sentences that answer a question, among those of all its languages (LAReQA,"
            " XQuAD-R)"
        ),
        languages=_XQUAD_R,
        reader="lareqa_json",
        options={"pool": _XQUAD_R},
        conventions=(WITH_CONTEXT, SENTENCE),
        lengths={"max_length": 256, "question": 96},
        files={"test": ("lareqa/xquad-r/{lang}.json", *in_xtreme("lareqa", "xquad-r/{lang}.json"))},
        metric="map",
        main_score="map@20",
        seen=("qa", "retrieval"),
        origin="squad",
        derived_from=("squad",),
        parallel=True,
        source="google-research-datasets/lareqa xquad-r/",
    ),
)
