"""Unlabelled parallel text for pre-training, from scenes that no test item uses."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

from adapters_xitt.demo.render import LANGUAGES, sentence, text
from adapters_xitt.demo.scenes import NAMES, PEOPLE, Scene, broader, draw, fronts, share, valid
from adapters_xitt.demo.words import Token

QUESTIONS = 0.2  # share of questions among the sentences
BROADER = 0.12  # how often a thing goes by its more general name


def corpus(seed: int = 0, *, part: str = "train") -> Iterator[dict[str, str]]:
    """An endless stream of sentences in all languages, `{language: text}`, from one share of the world."""
    for row in tokenised(seed, part=part):
        yield {language: text(found, language) for language, found in row.items()}


def tokenised(seed: int = 0, *, part: str = "train") -> Iterator[dict[str, list[Token]]]:
    """The same stream as tokens."""
    rng = random.Random(f"corpus {seed} {part}")
    while True:
        scene = generalise(rng, draw(rng))
        if not valid(scene):
            continue
        ask = rng.choice(askable(scene) or [""]) if rng.random() < QUESTIONS else ""
        if share(scene, ask) != part:
            continue
        common = rng.choice(fronts(scene))
        row = {}
        for language in LANGUAGES:  # translations are free about what they say first
            front = "" if ask else common if rng.random() < 0.7 else rng.choice(fronts(scene))
            row[language] = sentence(scene, language, front=front, ask=ask)
        yield row


def generalise(rng: random.Random, scene: Scene) -> Scene:
    """The scene with its agent or its object now and then under a more general name."""
    agent = broader(scene.agent) if rng.random() < BROADER else scene.agent
    thing = broader(scene.object) if scene.object and rng.random() < BROADER else scene.object
    return replace(scene, agent=agent, object=thing)


def askable(scene: Scene) -> list[str]:
    """The parts a question can ask for: who, what (no person), where, when."""
    if scene.teller or scene.negated:
        return []
    asks = ["agent"] if scene.agent.noun in (*PEOPLE, *NAMES, "person") else []
    if scene.object and scene.object.noun not in (*PEOPLE, *NAMES, "person"):
        asks.append("object")
    return asks + [slot for slot in ("place", "time") if getattr(scene, slot)]
