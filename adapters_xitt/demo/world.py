"""Writes the demo's tasks in their origins' file formats; `corpus` gives the text the encoder was pre-trained on."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from adapters_xitt.demo.corpus import corpus
from adapters_xitt.demo.items import Pair, Paragraph, Said, inference, pairs, paragraphs, sentences
from adapters_xitt.demo.render import LANGUAGES, join, say, sentence, spaced, span, text

__all__ = ["corpus", "write"]

# Items per split: English train and dev, and a test in every language. Questions come four to a paragraph.
SIZES = {
    "demo-nli": {"train": 3000, "dev": 400, "test": 300},
    "demo-qa": {"train": 500, "dev": 75, "test": 50},
    "demo-pairs": {"train": 1500, "dev": 300, "test": 300},
    "demo-pos": {"train": 1000, "dev": 200, "test": 200},
    "demo-retrieval": {"test": 300},
}


def write(folder: Path, *, seed: int = 0) -> None:
    """Write every task's files under `folder`; the same seed gives the same bytes."""
    for task in SIZES:
        (folder / task).mkdir(parents=True, exist_ok=True)
    for split, languages in (("train", ("en",)), ("dev", ("en",)), ("test", LANGUAGES)):
        sizes = {task: of[split] for task, of in SIZES.items() if split in of}
        nli = inference(sizes["demo-nli"], seed=seed, part=split)
        same = pairs(sizes["demo-pairs"], seed=seed, part=split)
        qa = paragraphs(sizes["demo-qa"], seed=seed, part=split)
        pos = sentences(sizes["demo-pos"], task="pos", seed=seed, part=split)
        for language in languages:
            name = f"{split}-{language}"
            write_pairs(folder / "demo-nli" / f"{name}.tsv", nli, language)
            write_pairs(folder / "demo-pairs" / f"{name}.tsv", same, language)
            write_questions(folder / "demo-qa" / f"{name}.json", qa, language, split)
            write_tagged(folder / "demo-pos" / f"{name}.conllu", pos, language, split)
    write_retrieval(folder / "demo-retrieval", SIZES["demo-retrieval"]["test"], seed)


def told(said: Said, language: str) -> str:
    """The text of one sentence."""
    return say(said.scene, language, front=said.front, ask=said.ask)


def write_pairs(path: Path, items: list[Pair], language: str) -> None:
    """Tab-separated: first sentence, second sentence, label."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, delimiter="\t", lineterminator="\n")
        rows.writerows((told(item.first, language), told(item.second, language), item.label) for item in items)


def write_questions(path: Path, items: list[Paragraph], language: str, split: str) -> None:
    """SQuAD v1.1; ids are the same in all languages."""
    found = []
    for n, item in enumerate(items):
        context, answers = answered(item, language)
        rows = [
            {"id": f"{split}-{n}-{i}", "question": told(question, language), "answers": [answer]}
            for i, ((question, _), answer) in enumerate(zip(item.questions, answers, strict=True))
        ]
        found.append({"context": context, "qas": rows})
    document = {"version": "1.1", "data": [{"title": f"demo {split}", "paragraphs": found}]}
    path.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def answered(item: Paragraph, language: str) -> tuple[str, list[dict]]:
    """The paragraph's text, and for each question its answer and where it starts, in characters."""
    parts = [sentence(one.scene, language, front=one.front) for one in item.statements]
    texts = [text(part, language) for part in parts]
    context = join(texts, language)
    starts = [len(join([*texts[:n], ""], language)) for n in range(len(texts))]
    answers = []
    for question, number in item.questions:
        begin, end = span(parts[number], language, question.ask)
        begin, end = begin + starts[number], end + starts[number]
        answers.append({"text": context[begin:end], "answer_start": begin})
    return context, answers


def write_tagged(path: Path, items: list[Said], language: str, split: str) -> None:
    """CoNLL-U with words and universal tags; `SpaceAfter=No` where the text has no space, so it can be rebuilt."""
    with path.open("w", encoding="utf-8", newline="") as file:
        for n, item in enumerate(items):
            found = sentence(item.scene, language, front=item.front)
            file.write(f"# sent_id = {split}-{n}\n# text = {text(found, language)}\n")
            for i, (token, space) in enumerate(zip(found, spaced(found, language), strict=True), start=1):
                misc = "_" if space or i == len(found) else "SpaceAfter=No"
                file.write("\t".join([str(i), token.word, "_", token.upos, *"_____", misc]) + "\n")
            file.write("\n")


def write_retrieval(folder: Path, count: int, seed: int) -> None:
    """Aligned line by line, no line twice in any language; English with each other language."""
    chosen: list[Said] = []
    seen: dict[str, set[str]] = {language: set() for language in LANGUAGES}
    for item in sentences(2 * count, task="retrieval", seed=seed, part="test"):
        texts = {language: told(item, language) for language in LANGUAGES}
        if any(texts[language] in seen[language] for language in LANGUAGES) or len(chosen) == count:
            continue
        chosen.append(item)
        for language in LANGUAGES:
            seen[language].add(texts[language])
    for language in LANGUAGES[1:]:
        for ending, spoken in ((language, language), ("eng", "en")):
            lines = "".join(told(item, spoken) + "\n" for item in chosen)
            (folder / f"{language}-eng.{ending}").write_text(lines, encoding="utf-8")
