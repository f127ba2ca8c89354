"""Hindi: the verb is last and agrees with its subject; people as objects are oblique with a postposition."""

from __future__ import annotations

from adapters_xitt.demo.grammars import adverbs, asked
from adapters_xitt.demo.scenes import FROM, PEOPLE, Scene, Thing
from adapters_xitt.demo.words import Token, Words, tokens

ASK = {"agent": "कौन/PRON", "object": "क्या/PRON", "place": "कहाँ/ADV", "time": "कब/ADV"}
NUMBERS = {3: "तीन", 5: "पाँच"}


def noun(w: Words, thing: Thing, slot: str, *, oblique: bool = False) -> list[Token]:
    if w.is_name(thing.noun):
        return w.say("name", thing.noun, "dir", slot)
    gender = w.form("noun", thing.noun, "g")
    agreement = "f" if gender == "f" else "mo" if oblique or thing.count > 1 else "m"
    adj = w.say("adj", thing.adj, agreement, slot) if thing.adj else []
    form = "obl" if oblique else "pl" if thing.count > 1 else "dir"
    return adj + w.say("noun", thing.noun, form, slot)


def patient(w: Words, s: Scene) -> list[Token]:
    thing = s.object
    if thing.noun in (*PEOPLE, "person") or w.is_name(thing.noun):
        mark = tokens(w.form("verb", s.verb, "mark"), "ADP")
        return noun(w, thing, "object", oblique=True) + mark
    if thing.count > 1:
        return tokens(NUMBERS[thing.count], "NUM", "object") + noun(w, thing, "object")
    return ([] if s.negated else tokens("एक", "NUM", "object")) + noun(w, thing, "object")


def predicate(w: Words, s: Scene, *, who: bool) -> list[Token]:
    gender, plural = w.form(w.nominal(s.agent.noun), s.agent.noun, "g"), s.agent.count > 1
    if who:  # `who` is masculine singular
        gender, plural = "m", False
    form = "f" if gender == "f" else "mpl" if plural else "m"
    before = w.say("verb", s.verb, "pre", "verb") if w.has("verb", s.verb, "pre") else []
    no = tokens("नहीं", "PART") if s.negated else []
    return before + no + w.say("verb", s.verb, form, "verb") + tokens("हैं" if plural else "है", "AUX")


def clause(w: Words, s: Scene, *, front: str, ask: str) -> list[Token]:
    first, place, time = adverbs(w, s, front, ask)
    question = asked(ASK, ask)
    agent = question if ask == "agent" else noun(w, s.agent, "agent")
    thing = question if ask == "object" else patient(w, s) if s.object else []
    place = question if ask == "place" else place
    time = question if ask == "time" else time
    partner = []
    if s.partner:
        partner = noun(w, Thing(s.partner), "partner", oblique=True) + tokens("से" if s.verb in FROM else "को", "ADP")
    told = []
    if s.teller:
        says = "कहती" if w.form("name", s.teller, "g") == "f" else "कहता"
        told = w.say("name", s.teller, "dir") + tokens(f"{says}/VERB है/AUX कि/SCONJ")
    return told + first + agent + time + place + partner + thing + predicate(w, s, who=ask == "agent")
