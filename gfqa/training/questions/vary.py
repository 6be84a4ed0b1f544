"""Noisy variants of a question: how people type when nobody is looking.

`vary` is meant for the packer: it leaves most questions alone and never touches words that look like code, because an
identifier in another case is another identifier.
"""

from __future__ import annotations

import random
import re

_STOP_WORDS = (
    "a an the is are was were be been being do does did of for to in on at by with from as and or that which what who "
    "whom whose when where why how it its this these those there can could would will shall should may might i me my you "
    "your we us please tell give show find name know want need have has had if about into than then so any some just"
)
_STOP = frozenset(_STOP_WORDS.split())
_OPENERS = (
    "please tell me: ", "quick question: ", "hi, ", "hello - ", "i need to know ", "question: ", "um, ", "can you tell me: ",
    "do you know ",
    "ok so ", "for the docs: ", "according to the documents, ", "based on these files: ", "hey, ", "not sure but ",
)  # fmt: skip
_CLOSERS = (
    " thanks",
    " please",
    " thx",
    " - any idea?",
    " ??",
    " (short answer)",
    " exact value please",
    " anyone?",
    "...",
)
_SPELL = {
    "what's": "whats",
    "don't": "dont",
    "doesn't": "doesnt",
    "is not": "isnt",
    "because": "bc",
    "please": "pls",
    "you": "u",
}


def is_stop_word(word: str) -> bool:
    """Whether a word carries no content of its own."""
    return word.lower() in _STOP


def looks_like_code(word: str) -> bool:
    """True for words whose spelling matters: identifiers, paths, numbers with letters, anything quoted."""
    core = word.strip("?.,;:!()\"'")
    return bool(re.search(r"[_/\\`.\d<>=\-:{}$@]|[a-z][A-Z]", core)) or (len(core) > 1 and core.isupper())


def lower(question: str) -> str:
    """The question in lower case, words that look like code untouched."""
    return " ".join(word if looks_like_code(word) else word.lower() for word in question.split(" "))


def keywords(question: str) -> str:
    """Only the words that carry content, as typed into a search box; the question itself when under two are left."""
    words = [word.strip("?,;:!\"'") for word in lower(question).split()]
    kept = [word for word in words if word and not is_stop_word(word)]
    return " ".join(kept) if len(kept) >= 2 else question


def typo(question: str, rng: random.Random) -> str:
    """One slip of the fingers in one plain word of five letters or more."""
    words = question.split(" ")
    plain = [i for i, word in enumerate(words) if len(word) >= 5 and word.isalpha() and not looks_like_code(word)]
    if not plain:
        return question
    i = rng.choice(plain)
    word, at = words[i], rng.randrange(1, len(words[i]) - 2)
    slips = (
        word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        word[:at] + word[at + 1 :],
        word[:at] + word[at] + word[at:],
    )
    words[i] = rng.choice(slips)
    return " ".join(words)


def vary(question: str, rng: random.Random, strength: float = 0.35) -> str:
    """The question as it is, or with probability `strength` a noisy variant of it; same meaning, same names."""
    if rng.random() >= strength:
        return question
    draw = rng.random()
    if draw < 0.30:
        return lower(question).rstrip("?. ")
    if draw < 0.45:
        return question.rstrip("?. ")
    if draw < 0.62:
        return keywords(question)
    if draw < 0.74:
        return rng.choice(_OPENERS) + lower(question)
    if draw < 0.84:
        return lower(question).rstrip("?. ") + rng.choice(_CLOSERS)
    if draw < 0.92:
        return typo(question, rng)
    varied = lower(question)
    for plain, short in _SPELL.items():
        varied = re.sub(rf"\b{plain}\b", short, varied)
    return varied.rstrip("?")
