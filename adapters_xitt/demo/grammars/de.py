"""German: the verb stands second, and last after `dass`; articles and adjectives decline."""

from __future__ import annotations

from adapters_xitt.demo.grammars import adverbs, asked
from adapters_xitt.demo.scenes import FROM, PEOPLE, Scene, Thing
from adapters_xitt.demo.words import Token, Words, tokens

ASK = {"agent": "wer/PRON", "object": "was/PRON", "place": "wo/ADV", "time": "wann/ADV"}
NUMBERS = {3: "drei", 5: "fünf"}
THE = {"nom": {"m": "der", "f": "die", "n": "das"}, "acc": {"m": "den", "f": "die", "n": "das"}}
THE["dat"] = {"m": "dem", "f": "der", "n": "dem"}
WEAK = {"nom": {"m": "e", "f": "e", "n": "e"}, "acc": {"m": "en", "f": "e", "n": "e"}}
WEAK["dat"] = {"m": "en", "f": "en", "n": "en"}
EIN = {"m": "einen", "f": "eine", "n": "ein"}  # accusative
MIXED = {"m": "en", "f": "e", "n": "es"}  # accusative behind `ein` and `kein`


def definite(w: Words, thing: Thing, case: str, slot: str) -> list[Token]:
    if w.is_name(thing.noun):
        return w.say("name", thing.noun, "nom", slot)
    gender = w.form("noun", thing.noun, "g")
    if thing.count > 1:  # agents only: nominative plural
        article, ending, form = "die", "en", "pl"
    else:
        article, ending, form = THE[case][gender], WEAK[case][gender], case
    return tokens(article, "DET", slot) + adjective(w, thing, ending, slot) + w.say("noun", thing.noun, form, slot)


def indefinite(w: Words, thing: Thing, slot: str, *, negated: bool) -> list[Token]:
    gender = w.form("noun", thing.noun, "g")
    if thing.count > 1:
        head, ending, form = tokens(NUMBERS[thing.count], "NUM", slot), "e", "pl"
    else:
        article = "k" + EIN[gender] if negated else EIN[gender]
        head, ending, form = tokens(article, "DET", slot), MIXED[gender], "acc"
    return head + adjective(w, thing, ending, slot) + w.say("noun", thing.noun, form, slot)


def adjective(w: Words, thing: Thing, ending: str, slot: str) -> list[Token]:
    return tokens(w.form("adj", thing.adj, "stem") + ending, "ADJ", slot) if thing.adj else []


def clause(w: Words, s: Scene, *, front: str, ask: str) -> list[Token]:
    first, place, time = adverbs(w, s, front, ask)
    agent = definite(w, s.agent, "nom", "agent")
    verb = w.say("verb", s.verb, "pl" if s.agent.count > 1 and ask != "agent" else "sg", "verb")
    person, thing, partner = [], [], []
    if s.object and ask != "object":
        if s.object.noun in (*PEOPLE, "person") or w.is_name(s.object.noun):
            person = definite(w, s.object, w.form("verb", s.verb, "case"), "object")
        else:
            thing = indefinite(w, s.object, "object", negated=s.negated)
    if s.partner:
        partner = tokens("von", "ADP") if s.verb in FROM else []
        partner += definite(w, Thing(s.partner), "dat", "partner")
    no = tokens("nicht", "PART") if s.negated and not thing else []
    middle = person + time + no + place + partner + thing
    if s.teller:
        told = w.say("name", s.teller, "nom") + tokens("sagt/VERB ,/PUNCT dass/SCONJ")
        return told + agent + first + middle + verb
    question = asked(ASK, ask)
    if ask == "agent":
        return question + verb + middle
    if first or question:
        return (question or first) + verb + agent + middle
    return agent + verb + middle
