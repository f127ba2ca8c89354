"""Finnish: objects in the accusative or the partitive, by verb, number and negation; a negative auxiliary."""

from __future__ import annotations

from adapters_xitt.demo.grammars import adverbs, asked
from adapters_xitt.demo.scenes import FROM, Scene, Thing
from adapters_xitt.demo.words import Token, Words, tokens

ASK = {"agent": "kuka/PRON", "object": "mitä/PRON", "place": "missä/ADV", "time": "milloin/ADV"}
NUMBERS = {3: {"gen": "kolme", "par": "kolmea"}, 5: {"gen": "viisi", "par": "viittä"}}


def noun(w: Words, thing: Thing, case: str, slot: str) -> list[Token]:
    if w.is_name(thing.noun):
        return w.say("name", thing.noun, case, slot)
    adj = w.say("adj", thing.adj, case, slot) if thing.adj else []
    return adj + w.say("noun", thing.noun, case, slot)


def clause(w: Words, s: Scene, *, front: str, ask: str) -> list[Token]:
    first, place, time = adverbs(w, s, front, ask)
    plural = s.agent.count > 1 and ask != "agent"
    agent = noun(w, s.agent, "pl" if plural else "nom", "agent")
    if s.negated:
        verb = tokens("eivät" if plural else "ei", "AUX") + w.say("verb", s.verb, "neg", "verb")
    else:
        verb = w.say("verb", s.verb, "pl" if plural else "sg", "verb")
    thing, partner = [], []
    if s.object and ask != "object":
        case = "par" if s.negated else w.form("verb", s.verb, "case")
        if s.object.count > 1:  # behind a number the noun is partitive singular; the number has the object's case
            number = tokens(NUMBERS[s.object.count][case], "NUM", "object")
            thing = number + noun(w, s.object, "par", "object")
        else:
            thing = noun(w, s.object, case, "object")
    if s.partner:
        partner = noun(w, Thing(s.partner), "abl" if s.verb in FROM else "all", "partner")
    told = w.say("name", s.teller, "nom") + tokens("sanoo/VERB ,/PUNCT että/SCONJ") if s.teller else []
    question = asked(ASK, ask)
    head = question + verb if ask == "agent" else first + question + agent + verb
    return told + head + partner + thing + place + time
