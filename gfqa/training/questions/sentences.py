"""Questions in everyday words from sentences whose form gives one away: "To restore a copy, run ..." asks how to restore one.

A sentence is taken only where it stands on one line and fits one of a few forms; the rest says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from gfqa.training.questions.facts import FileFacts

_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z`\"*\[])")
_PRONOUNS_WORDS = (
    "this it these those that they you we there here he she which what if when where while for in on at by as and but or to "
    "from with so then all each some any both one another following note such more most many other its their your our i "
    "first second finally also however example examples"
)
_PRONOUNS = frozenset(_PRONOUNS_WORDS.split())
_DO = "use|run|call|choose|select|set|specify|add|enable|open|click|pass|install|press|edit|create|define|pick|send"

# Answers that only point at what comes next.
_POINTER = re.compile(
    r"\b(?:this|these|the following|below|above|as follows|here)(?: \w+)?$|\b(?:following|below|above)\b"
)
_CLAUSE_WORDS = (
    "that which also can will must should if is are was were to who and or not only now where therefore thus it does"
)
_CLAUSE = frozenset(_CLAUSE_WORDS.split())

_HOW = re.compile(rf"To ([a-z][^,`\n]{{6,70}}), ((?:you can |simply |just )?(?:{_DO}) [^\n]{{3,110}}?)[.:]?$")
_WITH = re.compile(
    r"(?:You can |We |Please )?[Uu]se (?!it|this|them|these|that)([^,.;\n]{3,60}?) to ([a-z][^,.;`\n]{6,70})\.$"
)
_IS = re.compile(r"([^,;:.\n]{2,50}?) (?:is|are) ((?:an?|the) [^\n;:]{10,160})\.$")
_DEFAULT = re.compile(
    r"(?:The |By default, the )?default (?:value )?(?:of|for) ([^,.\n]{2,50}?) is ([^\n,;]{1,40}?)\.?$"
)
_DEFAULTS = re.compile(r"([^,;\n]{2,50}?) defaults to ([^\n,;]{1,40}?)\.?$")
_LIMIT = re.compile(
    r"(?:The )?(maximum|minimum|largest|smallest|highest|lowest) ([^,.;\n]{3,50}?) is ([^\n,;]{1,40}?)\.$"
)
_IF = re.compile(r"(?:If|When) ([^,\n]{10,80}), (?:then )?([a-z`][^\n;]{10,120}?)\.$")
_PLACE = re.compile(
    r"([^,;\n]{3,60}?) (?:is|are) (stored|kept|located|saved|written|found|defined|hosted|held|installed) "
    r"((?:in|at|on|under|to|inside) [^\n,;]{3,60}?)\.$"
)
_WHO = re.compile(
    r"([^,;\n]{3,60}?) (?:was|is|were|are) (created|written|founded|designed|introduced|maintained|developed|invented|"
    r"proposed|discovered|built|published|signed|managed|called) by ([^\n,;]{3,60}?)\.$"
)
_WHEN = re.compile(
    r"([^,;\n]{3,60}?) (?:was|were) (introduced|added|released|removed|deprecated|changed|founded|published|born|built) "
    r"in ((?:version |release )?[^\n,;]{2,30}?)\.$"
)
_THE_ONE = re.compile(
    r"([^,;:.\n]{2,40}?) is (?:an?|the(?: only| first| last| main)?) (?!only|first|last|main)([a-z]+(?: [a-z]+)?) "
    r"(?:that|which|who) "
    r"((?!is |are |was |can |will |you |we |it |they )[a-z]+s [^\n;:,]{4,80}?)(?:,.*)?\.$"
)
_DOES = re.compile(
    r"([^,;\n]{3,50}?) (requires|contains|supports|returns|accepts|includes|stands for|consists of|depends on|listens on|"
    r"represents|describes|specifies|takes|costs|lasts|provides|uses|expects|needs|prints|reads|writes|sends|produces) "
    r"([^\n;:]{3,110}?)\.$"
)


def sentence_facts(file: FileFacts) -> None:
    """Add the facts of every sentence of a documentation file that fits a form and has its answer on one line."""
    for first, lines in _paragraphs(file.text):
        for sentence in _END.split(" ".join(lines)):
            for kind, slots, answer in readings(sentence.strip()):
                line = next((i for i, text in enumerate(lines) if answer in text), None)
                if line is not None and not _POINTER.search(answer):
                    file.add(kind, slots, answer, first + line)


def _paragraphs(text: str) -> Iterator[tuple[int, list[str]]]:
    """(number of the first line, stripped lines) of every run of prose; a list item is one, code and tables are none."""
    fenced, first, lines = False, 0, list[str]()
    for number, line in enumerate([*text.split("\n"), ""], 1):
        stripped = line.strip()
        if stripped.startswith(("```", "~~~")):
            fenced = not fenced
        item = re.match(r"(?:[-*+>]|\d+\.)\s+", stripped)
        prose = not fenced and stripped and not stripped.startswith(("|", "#", "..", ":", "<", "=", "~~~", "```"))
        if lines and (not prose or item):
            yield first, lines
            lines = []
        if prose:
            first = first if lines else number
            lines.append(stripped[item.end() :] if item else stripped)


def readings(sentence: str) -> Iterator[tuple[str, dict[str, str], str]]:
    """(kind, slots, answer) of a sentence; the answer stands in it word for word."""
    if match := _HOW.match(sentence):
        yield "how", {"d": match[1]}, match[2]
    elif match := _WITH.match(sentence):
        yield "with_what", {"d": match[2]}, match[1]
    elif (match := _IF.match(sentence)) and not _PRONOUNS & set(match[1].lower().split()[:1]):
        yield "what_if", {"d": match[1]}, match[2]
    elif (match := _DEFAULT.match(sentence) or _DEFAULTS.match(sentence)) and (name := subject(match[1])):
        yield "default_of", {"name": name}, match[2]
    elif match := _LIMIT.match(sentence):
        yield "asked", {"q": f"what is the {match[1]} {match[2]}"}, match[3]
    elif (match := _PLACE.match(sentence)) and (name := subject(match[1])):
        yield "asked", {"q": f"where {_be(name)} {name} {match[2]}"}, match[3]
    elif (match := _WHEN.match(sentence)) and (name := subject(match[1])):
        yield "asked", {"q": f"when {_be(name, past=True)} {name} {match[2]}"}, match[3]
    elif (match := _WHO.match(sentence)) and (name := subject(match[1])):
        yield "asked", {"q": f"who {match[2]} {name}" if match[2] != "called" else f"who calls {name}"}, match[3]
    elif (match := _DOES.match(sentence)) and (name := subject(match[1])):
        yield from _does(name, match[2], match[3])
    elif (match := _IS.match(sentence)) and (name := subject(match[1])):
        yield "what_is", {"name": name}, match[2]
        if one := _THE_ONE.match(sentence):
            # "Berta is the only crane that lifts boxes": the one is asked for by what it does.
            yield "asked_back", {"q": f"which {one[2]} {one[3]}"}, one[1]


def _does(name: str, verb: str, rest: str) -> Iterator[tuple[str, dict[str, str], str]]:
    first, _, tail = verb.partition(" ")
    plain = first[:-3] + "y" if first.endswith("ies") else first.removesuffix("s")
    asked = {"lasts": "how long does", "costs": "how much does"}.get(verb, "what does")
    yield "asked", {"q": " ".join(part for part in (asked, name, plain, tail) if part)}, rest
    if verb in ("requires", "contains", "supports", "reads", "writes", "sends", "prints", "returns", "provides"):
        # The subject is asked for: it stands before the words that the question names.
        yield "asked_back", {"q": f"what {verb} {rest}"}, name


def subject(text: str) -> str | None:
    """The subject of a sentence as a question names it, None where it points elsewhere or is too long."""
    words = text.strip().split()
    if not words or len(words) > 7 or words[0].lower().strip("*_`") in _PRONOUNS:
        return None
    if words[0] in ("The", "A", "An") or (words[0].istitle() and len(words) > 2 and words[1].islower()):
        words[0] = words[0].lower()
    if _CLAUSE & {word.lower() for word in words}:
        return None
    cleaned = " ".join(words).replace("**", "").rstrip(":")
    return cleaned if len(cleaned) > 2 and "](" not in cleaned and cleaned.count("`") % 2 == 0 else None


def _be(name: str, *, past: bool = False) -> str:
    many = name.split()[-1].endswith("s") and not name.endswith(("ss", "us", "is"))
    return ("were" if many else "was") if past else ("are" if many else "is")


_VERB = re.compile(r"([A-Z][a-z]{2,12})\b(.*)$")
_NOT_VERBS_WORDS = (
    "The This That These Those Test Tests Class Function Method Helper Base Whether When What Whose Whether An A"
)
_NOT_VERBS = frozenset(_NOT_VERBS_WORDS.split())


def purpose(sentence: str) -> dict[str, str] | None:
    """A docstring's "Read the file." or "Reads the file." as {d: "read the file", s: "reads the file"}, else None."""
    match = _VERB.match(sentence.rstrip(". "))
    if not match or match[1] in _NOT_VERBS or len(match[2].split()) < 2 or len(sentence) > 110:
        return None
    plain, rest = plain_verb(match[1].lower()), match[2]
    if plain is None:
        return None
    return {"d": plain + rest, "s": third_person(plain) + rest}


def plain_verb(verb: str) -> str | None:
    """The plain form of a known verb in the imperative or the third person, lower case; None for other words."""
    plain = verb
    if verb.endswith("s") and not verb.endswith(("ss", "us")):
        plain = verb[:-2] if verb.endswith(("shes", "ches", "sses", "xes", "zes")) else verb[:-1]
        if verb.endswith("ies"):
            plain = verb[:-3] + "y"
    return plain if plain in _PLAIN_VERBS else None


def third_person(plain: str) -> str:
    """The third person of a plain verb."""
    if plain.endswith(("sh", "ch", "ss", "x", "z")):
        return plain + "es"
    if plain.endswith("y") and plain[-2] not in "aeou":
        return plain[:-1] + "ies"
    return plain + "s"


_PLAIN_VERBS_WORDS = """
abort accept access accumulate acknowledge acquire activate add adjust advance align allow analyze animate append
apply archive arrange ask assemble assert assign assist attach authenticate authorize await backup balance begin bind
block bootstrap broadcast buffer build bundle bypass cache calculate call cancel canonicalize capture carry cast
change check choose classify clean clear clip clone close cluster coerce collect combine commit communicate compare
compile complete compose compress compute concatenate configure confirm connect construct consume convert copy correct
count cover crawl create customize decide decode decompress decorate decrypt deduplicate defer define delay delete
denote depend deploy derive describe deserialize destroy detect determine disable discard dispatch display distribute
divide download drain draw drive drop dump duplicate edit embed emit emphasize emulate enable encode encrypt enforce
ensure enter escape estimate evaluate execute exit expand expire export expose extend extract fail fetch fill filter
find finish flatten flush force format forward freeze gather generate get give group guess hand handle hash hide hold
identify ignore implement import include increment index infer initialize inject insert inspect install intercept
interpret intersect introduce invoke iterate join keep kill launch limit link list listen load locate lock log look
lower make manage map mark mask match measure merge mock modify monitor mount move mutate negotiate normalise
normalize notify obey obtain open optimize order override pack pad parse partition pass patch perform persist ping pop
populate prefer prepare preserve prevent print probe process produce prompt propagate provide prune publish pull push
put quantize query queue quote raise read rebuild receive record recover recreate redirect reduce refresh register
reject release reload remove rename render reorder repeat rephrase replace reply report represent request require
reserve reset resize resolve respond restore restrict resume retain retrieve retry return reuse reverse revert rewind
rewrite roll rotate round run sample save scale scan schedule scroll search seek select send serialize serve set shift
show shuffle shut sign simplify simulate skip sleep slice sort spawn split start stop store stream strip submit
subscribe sum support suppress swap switch synchronize tag take talk tell terminate test throw toggle tokenize touch
trace track train transfer transform translate transmit transpose traverse treat trigger trim truncate trust try turn
unescape unlock unmount unpack unquote unregister unset unwrap update upgrade upload use validate verify visit wait
wake walk warn weigh wrap write yield zip
"""
_PLAIN_VERBS = frozenset(_PLAIN_VERBS_WORDS.split())
