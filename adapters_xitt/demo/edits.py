"""Changes of scenes whose effect on the truth is known: weaker, opposite, merely different, the same said otherwise."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from adapters_xitt.demo.scenes import (
    ABOVE,
    CONVERSE,
    NAMES,
    OBJECTS,
    ON_PEOPLE,
    PEOPLE,
    PLACES,
    SAME,
    TIMES,
    Scene,
    Thing,
    adjectives,
    broader,
    opposites,
)  # fmt: skip

Edit = tuple[str, Scene]  # the part that was changed, and the scene after it
PERSONS = (*PEOPLE, *NAMES, "person")


def with_part(scene: Scene, part: str, **fields) -> Scene:
    """The scene with fields of its agent or object replaced."""
    return replace(scene, **{part: replace(getattr(scene, part), **fields)})


def said(scene: Scene) -> list[tuple[str, Thing]]:
    """Agent and, where there is one, object, by their part's name."""
    return [("agent", scene.agent)] + ([("object", scene.object)] if scene.object else [])


def weaker(scene: Scene) -> list[Edit]:
    """All the ways to say a little less, each entailed by an affirmed scene: drop a part, or use a broader word."""
    found = [(slot, replace(scene, **{slot: None})) for slot in ("place", "time") if getattr(scene, slot)]
    if scene.partner and scene.verb != "give":
        found.append(("partner", replace(scene, partner=None)))
    for part, thing in said(scene):
        if thing.adj:
            found.append((f"{part}.adj", with_part(scene, part, adj=None)))
        if thing.noun in ABOVE:
            found += [(f"{part}.noun", replace(scene, **{part: broader(thing)}))] * 2
    if scene.verb in ABOVE:
        found += [("verb", replace(scene, verb=ABOVE[scene.verb]))] * 2
    return found


def stronger(scene: Scene, rng: random.Random) -> list[Edit]:
    """All the ways to say a little more: add a part, or use a narrower word."""
    found = []
    if not scene.place:
        found.append(("place", replace(scene, place=rng.choice(PLACES))))
    if not scene.time:
        found.append(("time", replace(scene, time=rng.choice(TIMES))))
    thing = scene.object
    if thing and thing.noun not in PERSONS and not thing.adj and adjectives(thing.noun):
        found.append(("object.adj", with_part(scene, "object", adj=rng.choice(adjectives(thing.noun)))))
    narrower = [verb for verb in ("whisper", "shout", "buy") if ABOVE[verb] == scene.verb]
    if narrower:
        found += [("verb", replace(scene, verb=rng.choice(narrower)))] * 2
    if thing and thing.noun in ("fruit", "garment", "animal"):
        below = [noun for noun in OBJECTS[scene.verb] if ABOVE.get(noun) == thing.noun]
        found += [("object.noun", with_part(scene, "object", noun=noun)) for noun in below]
    return found


def against(scene: Scene) -> list[Edit]:
    """All the ways to contradict an affirmed scene by one word: opposites, another number."""
    verbs = [verb for verb in opposites(scene.verb) if verb in OBJECTS or not scene.object]
    found = [("verb", replace(scene, verb=verb)) for verb in verbs]
    for part, thing in said(scene):
        if thing.adj:
            choices = [word for word in opposites(thing.adj) if word in adjectives(thing.noun)]
            found += [(f"{part}.adj", with_part(scene, part, adj=word)) for word in choices[:2]]
    if scene.object and scene.object.count > 1:
        found += [("object.count", with_part(scene, "object", count=8 - scene.object.count))] * 2
    return found


def other(scene: Scene, rng: random.Random) -> list[Edit]:
    """All the ways to tell of something else, which may be true as well: another place, time, agent or object."""
    found = []
    for slot, choices in (("place", PLACES), ("time", TIMES)):
        value = getattr(scene, slot)
        if value:
            choices = [word for word in choices if word not in (value, SAME.get(value))]
            found.append((slot, replace(scene, **{slot: rng.choice(choices)})))
    for part, thing in said(scene):
        kind = NAMES if thing.noun in NAMES else PEOPLE if thing.noun in PEOPLE else ()
        if part == "object" and not kind:
            kind = OBJECTS[scene.verb]
        fitting = [
            noun for noun in kind
            if noun not in (thing.noun, SAME.get(thing.noun), ABOVE.get(thing.noun))
            and (not thing.adj or thing.adj in adjectives(noun))
        ]  # fmt: skip
        if fitting and thing.noun not in ("person", "animal", "fruit", "garment"):
            found.append((f"{part}.noun", with_part(scene, part, noun=rng.choice(fitting))))
    return found


def swapped(scene: Scene) -> list[Edit]:
    """The scene with its two persons in each other's place, where it has two."""
    if scene.agent.count > 1:
        return []
    if scene.verb in ON_PEOPLE:
        return [("roles", replace(scene, agent=scene.object, object=scene.agent))]
    if scene.partner and not scene.agent.adj:
        return [("roles", replace(scene, agent=Thing(scene.partner), partner=scene.agent.noun))]
    return []


def converse(scene: Scene) -> list[Edit]:
    """The same event told from its other side: buying from someone is their selling, getting is their giving."""
    if scene.verb not in CONVERSE or not scene.partner or scene.agent.count > 1 or scene.agent.adj or scene.negated:
        return []
    turned = replace(scene, agent=Thing(scene.partner), partner=scene.agent.noun, verb=CONVERSE[scene.verb])
    return [("roles", turned)]


def renamed(scene: Scene) -> list[Edit]:
    """The scene with one word replaced by its synonym, in each possible way."""
    found = []
    for slot in ("verb", "time"):
        if getattr(scene, slot) in SAME:
            found.append((slot, replace(scene, **{slot: SAME[getattr(scene, slot)]})))
    for part, thing in said(scene):
        if thing.adj in SAME:
            found.append((f"{part}.adj", with_part(scene, part, adj=SAME[thing.adj])))
        if thing.noun in SAME:
            found.append((f"{part}.noun", with_part(scene, part, noun=SAME[thing.noun])))
    return found


def some(
    rng: random.Random, scene: Scene, edits: Callable[[Scene], list[Edit]], count: int, keep: set[str]
) -> Scene:
    """The scene after up to `count` random edits that leave the parts in `keep` alone."""
    keep = set(keep)
    for _ in range(count):
        choices = [(part, after) for part, after in edits(scene) if part not in keep]
        if not choices:
            break
        part, scene = rng.choice(choices)
        keep.add(part)
    return scene
