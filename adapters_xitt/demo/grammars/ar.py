"""Arabic: verb before subject, but not behind `inna`; verb and adjective agree; numbers take the other gender."""

from __future__ import annotations

from adapters_xitt.demo.grammars import adverbs, asked
from adapters_xitt.demo.scenes import FROM, PEOPLE, Scene, Thing
from adapters_xitt.demo.words import Token, Words, tokens

ASK = {"agent": "من/PRON", "object": "ماذا/PRON", "place": "أين/ADV", "time": "متى/ADV"}


def is_person(w: Words, noun: str) -> bool:
    return w.is_name(noun) or noun in (*PEOPLE, "person")


def definite(w: Words, thing: Thing, slot: str) -> list[Token]:
    if w.is_name(thing.noun):
        return w.say("name", thing.noun, "def", slot)
    gender, plural = w.form("noun", thing.noun, "g"), thing.count > 1
    if plural:  # the plural of what is not human agrees as a feminine singular
        agreement = gender + "pl" if is_person(w, thing.noun) else "f"
    else:
        agreement = gender
    adj = tokens("ال" + w.form("adj", thing.adj, agreement), "ADJ", slot) if thing.adj else []
    return w.say("noun", thing.noun, "defpl" if plural else "def", slot) + adj


def indefinite(w: Words, thing: Thing, slot: str) -> list[Token]:
    gender = w.form("noun", thing.noun, "g")
    if thing.count > 1:
        adj = w.say("adj", thing.adj, "f", slot) if thing.adj else []
        return w.say("num", str(thing.count), gender, slot) + w.say("noun", thing.noun, "pl", slot) + adj
    adj = w.say("adj", thing.adj, "acc" if gender == "m" else "f", slot) if thing.adj else []
    return w.say("noun", thing.noun, "acc", slot) + adj


def toward(body: list[Token]) -> list[Token]:
    """`To` is written together with its noun, and swallows the first letter of the article."""
    word = body[0].word
    return [body[0]._replace(word="لل" + word[2:] if word.startswith("ال") else "ل" + word), *body[1:]]


def clause(w: Words, s: Scene, *, front: str, ask: str) -> list[Token]:
    first, place, time = adverbs(w, s, front, ask)
    gender = w.form(w.nominal(s.agent.noun), s.agent.noun, "g")
    if s.agent.count > 1 and not is_person(w, s.agent.noun):
        gender = "f"
    no = tokens("لا", "PART") if s.negated else []
    verb = no + w.say("verb", s.verb, "m" if ask == "agent" else gender, "verb")
    agent = definite(w, s.agent, "agent")
    thing = []
    if s.object and ask != "object":
        thing = (definite if is_person(w, s.object.noun) else indefinite)(w, s.object, "object")
    if s.partner:
        partner = definite(w, Thing(s.partner), "partner")
        if s.verb == "give":
            thing = partner + thing
        elif s.verb in FROM:
            thing = thing + tokens("من", "ADP") + partner
        else:
            thing = thing + toward(partner)
    rest = thing + place + time
    if s.teller:
        says = "تقول" if w.form("name", s.teller, "g") == "f" else "يقول"
        told = tokens(says, "VERB") + w.say("name", s.teller, "def") + tokens("إن", "SCONJ")
        return told + agent + verb + first + rest
    if ask == "agent":
        return asked(ASK, ask) + verb + rest
    return first + asked(ASK, ask) + verb + agent + rest
