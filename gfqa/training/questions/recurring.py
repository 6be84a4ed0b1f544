"""Questions from any text, without annotation: a phrase that stands twice is asked for by one of the sentences around it.

The sentence is taken out of the text and turned into a question without the phrase; what is left of the text still holds it.
After the recurring span selection of Ram et al., "Few-Shot Question Answering by Pretraining Span Selection" (2021), with
questions in place of masks, since that is what people type.
"""

from __future__ import annotations

import itertools
import random
import re
from collections import defaultdict

from gfqa.training.questions.places import occurrences
from gfqa.training.questions.units import Question, question
from gfqa.training.questions.vary import is_stop_word, looks_like_code

LONGEST = 6
"""Words of a phrase."""
MOST_OFTEN = 12
"""A phrase that stands more often than this is what the whole text is about: any sentence would do."""
NEAR, STEM = 160, 5
"""Characters to each side of an answer, and the letters by which two words are taken for one."""
REMOVED = 0.25
"""Share of the text's characters that may be taken out as questions."""

_WORD = re.compile(r"\w(?:[\w.'’/-]*\w)?")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"”’')\]]*\s+|\n\s*\n|\n(?=\s*(?:[-*+#|]|\d+\.\s))")
_ODD = re.compile(r"[|{}<>=\\;]|```|https?:|\w\(|\]\(|//|\.\. ")
_EDGE_WORDS = (
    "a an the is are was were be been has have had of for to in on at by with from as and or but that which who whose than "
    "not also its his her their this these those it he she they will would can could may must should into between"
)
_EDGE = frozenset(_EDGE_WORDS.split())

Span = tuple[int, int]


def recurring(text: str, most: int, rng: random.Random) -> tuple[str, list[Question]]:
    """`text` without the sentences that were turned into questions, and at most `most` questions about what is left.

    Every answer stands in the text that is left. Both are as given where nothing in the text recurs.
    """
    sentences = [span for span in _sentences(text) if _usable(text[slice(*span)])]
    places = _phrases(text)
    phrases = sorted(places)
    rng.shuffle(phrases)
    # Names and numbers first: they are what people ask for.
    phrases.sort(key=lambda phrase: not _factual(phrase) and rng.random() < 0.7)
    removed: list[Span] = []
    asked: list[tuple[str, str]] = []
    room = int(len(text) * REMOVED)
    for phrase in phrases:
        if len(asked) >= most:
            break
        spots = [(at, _holding(sentences, at)) for at in places[phrase]]
        # The answer must be left elsewhere, in a sentence that stays.
        free = [(at, held) for at, held in spots if held not in removed]
        usable = [(at, held) for at, held in free if held is not None and held[1] - held[0] <= room]
        if not usable:
            continue
        at, held = rng.choice(usable)
        assert held is not None
        if all(other == held for _, other in free):
            continue
        put = _question(text[held[0] : at], phrase, text[at + len(phrase) : held[1]], rng)
        if put is None:
            continue
        asked.append((put, phrase))
        removed.append(held)
        room -= held[1] - held[0]
    left = _without(text, removed)
    return left, [question(put, phrase, "recurring") for put, phrase in asked if _answered(left, put, phrase)]


def _sentences(text: str) -> list[Span]:
    ends = [*(match.end() for match in _SENTENCE_END.finditer(text)), len(text)]
    return list(zip([0, *ends[:-1]], ends, strict=True))


def _usable(sentence: str) -> bool:
    """Prose of a length that makes a question."""
    words = sentence.split()
    return 6 <= len(words) <= 60 and not _ODD.search(sentence) and sum(word[0].isalpha() for word in words) > 4


def _holding(sentences: list[Span], at: int) -> Span | None:
    """The usable sentence around a character."""
    low, high = 0, len(sentences)
    while low < high:
        middle = (low + high) // 2
        if sentences[middle][1] <= at:
            low = middle + 1
        else:
            high = middle
    return sentences[low] if low < len(sentences) and sentences[low][0] <= at else None


def _phrases(text: str) -> dict[str, list[int]]:
    """Every phrase that stands at least twice, and where; none inside a longer one that recurs."""
    words = [match.span() for match in _WORD.finditer(text)]
    stop = [is_stop_word(text[slice(*word)]) for word in words]
    joined = [text[a[1] : b[0]] == " " for a, b in itertools.pairwise(words)]
    taken = [False] * len(words)
    found: dict[str, list[int]] = {}
    for n in range(LONGEST, 0, -1):
        places: dict[str, list[int]] = defaultdict(list)
        for i in range(len(words) - n + 1):
            last = i + n - 1
            if not stop[i] and not stop[last] and not any(taken[i : last + 1]) and all(joined[i:last]):
                places[text[words[i][0] : words[last][1]]].append(i)
        for phrase, numbers in places.items():
            characters = [words[i][0] for i in numbers]
            if 2 <= len(numbers) <= MOST_OFTEN and _says_something(text, phrase, characters):
                found[phrase] = characters
                for i in numbers:
                    taken[i : i + n] = [True] * n
    return found


def _says_something(text: str, phrase: str, places: list[int]) -> bool:
    if "'" in phrase or "’" in phrase:
        return False
    if " " in phrase:
        return len(phrase) > 6
    # A capital at the beginning of a sentence makes no name.
    named = phrase[0].isupper() and any(re.search(r"[\w,] $", text[max(0, at - 2) : at]) for at in places)
    return named or looks_like_code(phrase) or (phrase[0].islower() and len(phrase) > 7)


def _factual(phrase: str) -> bool:
    """A name, a number or an identifier."""
    return phrase[0].isupper() or looks_like_code(phrase)


def _question(left: str, phrase: str, right: str, rng: random.Random) -> str | None:
    """The sentence left + phrase + right as a question that does not say the phrase, None where too little is left."""
    before, after = _words(left), _words(right.strip().rstrip(".!?\"”’')]"))
    if phrase.lower() in " ".join((*before, *after)).lower():
        return None
    near = before[-rng.randint(4, 14) :], after[: rng.randint(4, 14)]
    bare = [word.strip(',;:()"“”.') for word in (*near[0], *near[1])]
    content = [word for word in bare if word and not is_stop_word(word)]
    if len(content) < 3:
        return None
    asking = _asking(phrase, rng)
    form = rng.random()
    if form < 0.25 and len(near[1]) >= 4:
        words = [asking, *near[1]]
    elif form < 0.5 and len(near[0]) >= 4:
        words = [asking, *_inner(near[0])]
    elif form < 0.7:
        chosen = [word for word in content if rng.random() < 0.8] or content
        if rng.random() < 0.5:
            rng.shuffle(chosen)
        words = [asking, *chosen] if rng.random() < 0.6 else chosen
    else:
        words = [*near[0], asking, *near[1]]
    put = re.sub(r"\s+([,;:.])", r"\1", " ".join(words)).strip(" ,;:-—\"“”'")
    if len(put.split()) < 4:
        return None
    return put[0].lower() + put[1:] + ("?" if rng.random() < 0.8 else "")


def _words(text: str) -> list[str]:
    """Words as people would type them: without markup."""
    plain = [word.strip("*_#") if word.count("`") % 2 == 0 else word.strip("*_#`") for word in text.split()]
    return [word for word in plain if any(letter.isalnum() for letter in word)]


def _answered(text: str, put: str, phrase: str) -> bool:
    """Whether some place of the phrase has a word of the question near it: else nothing could tell that it is meant."""
    stems = {word[:STEM].lower() for word in re.findall(r"\w{4,}", put) if not is_stop_word(word)}
    return any(
        stems
        & {word[:STEM].lower() for word in re.findall(r"\w{4,}", text[max(0, at - NEAR) : at + len(phrase) + NEAR])}
        for at in occurrences(text, phrase)
    )


def _inner(words: list[str]) -> list[str]:
    """Words without the little ones that a phrase taken out leaves hanging at the end."""
    words = list(words)
    while len(words) > 3 and words[-1].lower().strip(",;:(") in _EDGE:
        words.pop()
    return words


def _asking(phrase: str, rng: random.Random) -> str:
    if re.fullmatch(r"1\d{3}|20\d{2}", phrase):
        return rng.choice(("when", "what year", "in what year", "which year"))
    if phrase[0].isdigit():
        return rng.choice(("how many", "what number", "how much", "what"))
    if phrase[0].isupper():
        return rng.choice(("who", "what", "which", "what is the name of", "where", "whom"))
    return rng.choice(("what", "what", "which", "what kind of"))


def _without(text: str, removed: list[Span]) -> str:
    parts, at = [], 0
    for start, end in sorted(removed):
        parts.append(text[at:start])
        at = end
    return "".join([*parts, text[at:]])
