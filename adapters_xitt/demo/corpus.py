"""Unlabelled parallel text for pre-training, from scenes that no test item uses."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

from adapters_xitt.demo.render import LANGUAGES, say
from adapters_xitt.demo.scenes import NAMES, PEOPLE, Scene, broader, draw, fronts, share, valid

QUESTIONS = 0.2  # share of questions among the sentences
BROADER = 0.12  # how often a thing goes by its more general name


def corpus(seed: int = 0, *, part: str = "train") -> Iterator[dict[str, str]]:
    """An endless stream of sentences in all languages, `{language: text}`, from one share of the world."""
    rng = random.Random(f"corpus {seed} {part}")
    while True:
        scene = generalise(rng, draw(rng))
        ask = rng.choice(askable(scene) or [""]) if rng.random() < QUESTIONS else ""
        if not valid(scene) or share(scene, ask) != part:
            continue
        fixed = "" if ask else rng.choice(fronts(scene))
        yield {
            # Translations are free about what they say first.
            language: say(scene, language, front=fixed if ask or rng.random() < 0.7 else rng.choice(fronts(scene)), ask=ask)
            for language in LANGUAGES
        }


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
