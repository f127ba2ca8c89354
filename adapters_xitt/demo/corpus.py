"""Unlabelled parallel text for pre-training, from scenes that no test item uses."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

from adapters_xitt.demo.edits import converse, renamed, some
from adapters_xitt.demo.render import LANGUAGES, sentence, text
from adapters_xitt.demo.scenes import NAMES, PEOPLE, Scene, broader, draw, fronts, share, valid
from adapters_xitt.demo.words import Token

QUESTIONS = 0.2  # share of questions among the sentences
SYNONYM, TURNED = 0.3, 0.15  # how often a translation takes another word, or the other side of a sale
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
        for language in LANGUAGES:
            version = freely(rng, scene, ask, part)
            front = "" if ask else common if rng.random() < 0.7 else rng.choice(fronts(version))
            row[language] = sentence(version, language, front=front, ask=ask)
        yield row


def freely(rng: random.Random, scene: Scene, ask: str, part: str) -> Scene:
    """The scene as a free translator would tell it: now and then with a synonym, or from its other side."""
    if rng.random() < SYNONYM:
        scene = some(rng, scene, renamed, 1, {ask})
    turned = [] if ask else converse(scene)
    if turned and rng.random() < TURNED and share(turned[0][1]) == part:
        scene = turned[0][1]
    return scene


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
