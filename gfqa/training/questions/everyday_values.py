"""Descriptions and names of values as the questions for them: "maximum number of retries" is "how many retries at most"."""

from __future__ import annotations

import itertools
import re

from gfqa.training.questions.everyday_words import bare, is_clause
from gfqa.training.questions.sentences import plain_verb

_NOT_THINGS = re.compile(
    r"(?:if|when|whether|used|only|can|should|must|may|will|allows?|controls?|not|no|and|or|to|for|in|on|with|by|as|at|is|are|"
    r"it|he|they|there|each|all|any|optional|optionally|either|one|same|other|how|what|where|why|who|do|does|don't|these|this|"
    r"just|make|ensure|let|indicates?|specif(?:y|ies)|determines?|defines?|sets?|gets?|returns?|given|set|be|has|have|always|"
    r"never|currently|also|here|from|after|before|until|because|since|so|then|first|now|handle|avoid|prevent|helper|utility|"
    r"constants?|variables?|types?|base class|tests?|cached?|global|module|import|imported|placeholder|option|some|"
    r"this|needed|required|intended|meant|try|everything|something|nothing|details|more|less|e|usually|still|defaults|main)\b"
)
_HOW = re.compile(
    r"(?:controls |defines |sets )?(how (?:long|many|often|much|big|large|far|deep)(?: [a-z]+){0,4}?) to ([a-z].+)$"
)
_NUMBER = re.compile(
    r"(?:the )?(?:(?P<max>max|maximum|maximal|largest|minimum|min|total|default|initial|upper limit on the|limit on the) )?"
    r"(?:number|amount|count) of (?P<n>[a-z][\w -]*?)(?P<to> (?:to|before|per|in|for|that|allowed|on|between|after|we) .+)?$"
)
_EXTENT = re.compile(
    r"(?:the )?(?P<max>maximum|max|minimum|min) (?:allowed |permitted )?(?P<what>size|length|time|duration|depth|"
    r"width|height|age)"
    r"(?: in [a-z]+)? (?P<of>of|for) (?P<n>[a-z].+)$"
)
_WAIT = re.compile(
    r"(?:the )?(?:timeout|time|seconds|milliseconds|duration|delay)(?: in [a-z]+|, in [a-z]+)? to ([a-z]+ .+)$"
)
_SIZE = re.compile(
    r"(?:the )?(size|length|duration|depth|width|height) of ((?:the |an? |each |every )?[a-z][\w -]{3,40})$"
)
_UNIT = re.compile(
    r"(?:the )?([a-z][\w -]{3,50}?),? in (seconds|milliseconds|bytes|minutes|hours|days|pixels|characters|ms)$"
)
_TO = re.compile(r"(?:the |an? )?((?:[a-z][\w-]* ){0,3}[a-z][\w-]*) to ([a-z]+(?: [\w-]+){0,8})$")
WHETHER = re.compile(r"(?:whether|if|flag)(?: or not)?(?: true| set| enabled| the \w+ should)?,? (?:to )?([a-z].+)$")
_ADJECTIVES = {"size": "big", "length": "long", "time": "long", "duration": "long", "depth": "deep", "width": "wide",
               "height": "high", "age": "old"}  # fmt: skip
_MOST = {"max": "at most", "maximum": "at most", "maximal": "at most", "largest": "at most", "minimum": "at least",
         "min": "at least", "upper limit on the": "at most", "limit on the": "at most"}  # fmt: skip


PLAIN_VALUE = re.compile(
    r"-?(?!0x)\d[\w.]*(?: ?[*<+]{1,2} ?[\d_]+)*$|b?(['\"])[^'\"\n{}%\\]{2,40}\1$|(?:datetime\.)?timedelta\([\w=, ]+\)$"
)


_ABBREVIATIONS = "repl obj func args kwargs impl repr attr regex foo bar test num idx ret buf init str int abi"
_CODE_WORDS = frozenset(_ABBREVIATIONS.split())
_VALUE_WORDS = (
    "size length timeout limit port host hostname path file filename name dir directory folder url uri version "
    "interval count threshold level format encoding charset prefix suffix key rate width height depth mode style "
    "retries attempts days hours minutes seconds delay ttl age header domain endpoint template separator delimiter "
    "extension color theme model language method message title address capacity factor ratio percent percentage "
    "tokens workers threads connections redirects lines bytes chunks items entries characters columns rows pages "
    "results steps epochs iterations samples indent quality algorithm protocol scheme user username agent label "
    "text description date timezone locale backend engine driver device type weight priority frequency duration "
    "lifetime expiry window period tolerance temperature seed page schema table queue exchange topic namespace "
    "scope realm currency unit symbol quote comment pattern root status code"
)
VALUE_NOUNS = frozenset(_VALUE_WORDS.split())
_VAGUE_WORDS = (
    "read write send normal total hidden max min initial current new full default base inner outer output input local"
)
_VAGUE = frozenset(_VAGUE_WORDS.split())
_SPOKEN_WORDS = (
    "id http https url sql ssl tls tcp dns css html xml ttl rss sdk cpu gpu llm jwt db ssh csv pdf by my try dry"
)
_SPOKEN = frozenset(_SPOKEN_WORDS.split())


_EMPTY_WORDS = "string value name list object function class type path file flag real data dict method id"
_EMPTY = frozenset(_EMPTY_WORDS.split())


def is_code_word(word: str) -> bool:
    """Whether a word is an abbreviation that stands in code only: cls, ngx, ptr."""
    return word in _CODE_WORDS or (word not in _SPOKEN and not re.search(r"[aeiouy\d]", word))


def thing(said: str) -> str | None:
    """A description that is a noun phrase, without its article and what follows it; None for anything else."""
    whole = said
    said = re.split(
        r",? (?:that|which|where|when|if|so that|because|unless|in order|as well|set by|see|and then)\b|, ", said
    )[0]
    left = bare(said).split()
    if said != whole and (len(left) < 2 or (left[0].lower() in _EMPTY and left[1] != "of")):
        return None  # "the string that is returned": what matters was cut off
    first = said.split()[0]
    said = re.sub(r"^(?:an? |the )?(?:optional|default|a default|string containing the) (?=[a-z]+ ?)", "", said)
    name = bare(said)
    words = name.split()
    if any(len(word) < 2 for word in words if word not in "aA"):
        return None
    if not 2 <= len(words) <= 9 or _NOT_THINGS.match(name) or is_clause(said):
        return None
    if plain_verb(first.lower()) and not (len(words) > 1 and words[1] == "of") and not first.endswith(("er", "or")):
        return None
    if words[0].endswith(("ing", "ed")) and first == words[0] and len(words) < 3:
        return None
    if (
        len(words) > 2
        and words[0].endswith("s")
        and words[1] in ("the", "a", "an", "to", "that", "only", "all", "this")
    ):
        return None  # "instructs the kernel": a verb that nobody listed
    if any(
        plain_verb(word) not in (None, word) and after in ("a", "an", "the", "another")
        for word, after in itertools.pairwise(words)
    ):
        return None  # "map decorates another map"
    if words[0].endswith("ly") or (words[0].endswith("ed") and words[1] in ("by", "in", "from", "to", "with", "when")):
        return None
    return None if words[-1] in ("to", "of", "for", "in", "with", "by", "be", "used") else name


def quantity(said: str) -> str | None:
    """A description of a number as the question for it: "maximum number of retries" is "how many retries at most"."""
    said = re.split(r",? (?:that|which|where|when|if|so that|because|unless)\b|, ", said)[0]
    if match := _HOW.match(said):
        return f"{match[1]} does it {match[2]}"
    if match := _NUMBER.match(said):
        end = f" {_MOST[match['max']]}" if match["max"] in _MOST else ""
        rest = match["to"] or ""
        if rest.startswith(" to ") and plain_verb(rest.split()[1]):
            return f"how many {match['n']} does it {rest[4:]}{end}"
        return f"how many {match['n']}{'' if rest.startswith((' to ', ' that ', ' we ')) else rest}{end}"
    if match := _EXTENT.match(said):
        verb = "must" if match["max"].startswith("min") else "can"
        end = " at least" if verb == "must" else " at most"
        return (
            f"how {_ADJECTIVES[match['what']]} {verb} {bare(match['n'])} {'be' if match['of'] == 'of' else 'take'}{end}"
        )
    if (match := _WAIT.match(said)) and plain_verb(match[1].split()[0]):
        return f"how long does it {match[1]}"
    if match := _SIZE.match(said):
        return f"how {_ADJECTIVES[match[1]]} is the {bare(match[2])}"
    if match := _UNIT.match(said):
        return f"how {'big' if match[2] in ('bytes', 'pixels', 'characters') else 'long'} is the {bare(match[1])}"
    return None


def used_for(said: str) -> str | None:
    """ "Port to listen on" as "what port does it listen on"; None where no known verb follows."""
    match = _TO.match(re.split(r",? (?:that|which|where|when|if|so that|because|unless)\b|, ", said)[0])
    if (
        not match
        or not plain_verb(match[2].split()[0])
        or _NOT_THINGS.match(match[1])
        or plain_verb(match[1].split()[0])
    ):
        return None
    name = re.sub(r"^(?:default|optional) ", "", bare(match[1]))
    return f"what {name} does it {match[2]}" if not name.endswith("s") or name.endswith("ss") else None


def asked_by_name(words: list[str], *, number: bool, default: bool) -> str | None:
    """The words of a name as a question for its number: ["max", "retries"] is "how many retries at most"."""
    said = " ".join(words)
    if not number or said == "size":
        return None
    if words[0] in ("max", "min") and len(words) > 1:
        limit = "at most" if words[0] == "max" else "at least"
        if words[-1] in _ADJECTIVES and len(words) > 2:
            verb = "can" if words[0] == "max" else "must"
            return f"how {_ADJECTIVES[words[-1]]} {verb} the {' '.join(words[1:-1])} be {limit}"
        if words[-1].endswith("s") and not words[-1].endswith("ss"):
            return f"how many {' '.join(words[1:])} {limit}"
    if words[-1] in ("timeout", "interval", "delay", "duration"):
        return f"how long is the {said}"
    if words[-1] in ("size", "length", "width", "height", "depth") and len(words) > 1:
        of_what = " ".join(words[:-1])
        return f"how {_ADJECTIVES[words[-1]]} is the {said if of_what in _VAGUE else of_what}"
    if default and re.search(r"[^su]s$", words[-1]) and words[-1] not in ("axis", "eps", "radius"):
        return f"how many {said}"
    return None
