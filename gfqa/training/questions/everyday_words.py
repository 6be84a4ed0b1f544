"""Authors' words turned into a user's: markup off, identifiers split, verbs inflected, error messages read as conditions.

Nothing here knows a language or a file: it takes the words of a docstring, comment or message and gives slots for the
templates of `everyday_phrasings`, or None where nobody would ask so.
"""

from __future__ import annotations

import random
import re

from gfqa.training.questions.sentences import plain_verb, third_person

Slots = dict[str, str]

LONGEST_WORDS = 16
"""A description longer than this is no question of a user's."""

_MARKUP = (
    (re.compile(r":\w+(?::\w+)?:`~?(?:[^`<]*<)?([^`>]*)>?`"), r"\1"),
    (re.compile(r"\[([^\]]+)\]\([^)]*\)|\[`?([^\]`]+)`?\](?:\[[^\]]*\])?"), r"\1\2"),
    (re.compile(r"\{@\w+\s+#?([^}]*)\}"), r"\1"),
    (re.compile(r"``?([^`]*)``?|\*\*([^*]+)\*\*"), r"\1\2"),
    (re.compile(r"</?\w+>"), ""),
    (re.compile(r"\s*\([^()]*\)"), ""),
    (re.compile(r",? (?:e\.g\.|i\.e\.|eg\.|etc\.).*$"), ""),
    (re.compile(r"\b[a-z_]\w*(?:\.\w+)+\.(\w+)|\b([A-Za-z]\w+)\(\)"), r"\1\2"),
)
_REFUSED = re.compile(
    r"[{}\[\]=<>;|\\@#$^~\"“”()*]|https?:|::|->|\.\.|[^\x00-\u024f’]|\s'\w|\b(?:todo|fixme|xxx|hack|noqa|pylint|"
    r"eslint|nolint|mypy|"
    r"copyright|licen[cs]ed?|deprecated|spdx|rst|internal|this (?:is|was|function|method|class)|see|note|same as|alias|like|"
    r"initiali[sz]e self|not implemented|you|we|here|above|below|following|which|unused|stub|ie|eg|overridden|"
    r"subclass(?:es)?|these|"
    r"former|latter|nyi|tbd|backwards?|compat\w*|pep|rfc|issue|bug|workaround|for now|i)\b",
    re.IGNORECASE,
)
_FEW_WORDS = "a an the of to in on for and or is are be with by as at that this it if not its from self args"
_FEW = frozenset(_FEW_WORDS.split())
_ACRONYM = re.compile(r"[A-Z]{2,}s?\d*$")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WHOLE_WORDS = (
    "javascript typescript restructuredtext github gitlab whatsapp postgresql mysql sqlite openai chatgpt youtube "
    "macos ios pytorch "
    "numpy oauth openid graphql mongodb websocket websockets lora dora webassembly"
)
_WHOLE = frozenset(_WHOLE_WORDS.split())
_ARTICLE = re.compile(r"(?:the|an?|some|any|this|its|our|their) ", re.IGNORECASE)


def words_of_name(name: str) -> str:
    """An identifier as plain words: chunk_size and chunkSize are "chunk size"."""
    words: list[str] = []
    for part in re.sub(r"[\W_]+", " ", name).split():
        humps = _HUMP.sub(" ", part).split()
        # JavaScript, OAuth and RoPE are one word each.
        whole = (
            part.lower() in _WHOLE or any(len(hump) < 2 for hump in humps) or re.match(r"[A-Z][a-z]?[A-Z]{2,}$", part)
        )
        words += [part] if whole and not part.isupper() else humps
    acronyms = not name.isupper() and "_" not in name
    return " ".join(word if _ACRONYM.match(word) and acronyms else word.lower() for word in words)


def _plain_word(word: str) -> str:
    core = word.strip(".,:'!")
    if core.lower() in _WHOLE:
        return word
    inner = re.search(r"[a-z0-9][A-Z]|_|[A-Za-z]\.[a-z]{3}", core)
    return word.replace(core, words_of_name(core)) if inner and not re.search(r"[\d/]", core) else word


def clean(said: str | None) -> str | None:
    """The first sentence of a description in plain words without its stop; None where it is not fit to be asked."""
    if not said:
        return None
    text = re.split(r"\n\s*\n|\n\s*(?:[-*:@]|\.\. )", said.strip())[0]
    text = re.sub(r"\s+", " ", text)
    for pattern, put in _MARKUP:
        text = pattern.sub(put, text)
    text = re.split(r"(?<=[a-z0-9'’)])[.!?](?:\s|$)|[.!?]\s+(?=[A-Z][a-z]+ )|: | - | -- | — | – ", text)[0].strip(
        " .:,-!'"
    )
    words = text.split()
    if not 2 <= len(words) <= LONGEST_WORDS or _REFUSED.search(text) or not text[0].isalpha():
        return None
    text = " ".join(_plain_word(word) for word in words)
    letters = sum(char.isalpha() or char == " " for char in text)
    if letters < 0.9 * len(text) or not any(word.lower() not in _FEW and len(word) > 3 for word in words):
        return None
    stranded = re.search(r"\bto [a-z]+ (?:.+ )?(?:on|in|for|from|with|at|to)$", text)  # "port to listen on"
    if not stranded and text.split()[-1].lower() in _FEW | {"when", "where", "than", "into", "only", "also", "e.g"}:
        return None
    return text[0].lower() + text[1:] if words[0][1:].islower() or len(words[0]) == 1 else text


def bare(said: str) -> str:
    """Without the article it begins with."""
    return _ARTICLE.sub("", said, count=1) if _ARTICLE.match(said) else said


_IRREGULAR = {"run": "running", "get": "getting", "set": "setting", "put": "putting", "stop": "stopping", "begin": "beginning",
              "split": "splitting", "strip": "stripping", "skip": "skipping", "wrap": "wrapping", "shut": "shutting",
              "map": "mapping", "swap": "swapping", "drop": "dropping", "pop": "popping", "trim": "trimming",
              "plan": "planning", "log": "logging", "submit": "submitting", "emit": "emitting", "permit": "permitting",
              "format": "formatting", "reset": "resetting", "tag": "tagging", "pad": "padding", "cut": "cutting",
              "sum": "summing", "scan": "scanning", "let": "letting", "forget": "forgetting", "quit": "quitting",
              "be": "being", "tie": "tying", "see": "seeing", "free": "freeing", "hit": "hitting"}  # fmt: skip


def gerund(plain: str) -> str:
    """The -ing form of a plain verb."""
    if plain in _IRREGULAR:
        return _IRREGULAR[plain]
    return (plain[:-1] if plain.endswith("e") and not plain.endswith("ee") else plain) + "ing"


_DETERMINERS_WORDS = "the a an it them its all any each this that equivalent"
_DETERMINERS = frozenset(_DETERMINERS_WORDS.split())


def action(said: str) -> Slots | None:
    """"Reads the file and returns it" or "Read the file" as {d: plain, s: third person, g: gerund}; None if no known verb
    begins it. Verbs behind "and" are inflected too."""  # fmt: skip
    words = said.split()
    adverb = words.pop(0) + " " if words[0] in ("recursively", "safely", "automatically", "asynchronously") else ""
    plain = plain_verb(words[0].lower()) if len(words) > 1 else None
    if plain is None or (
        words[1] in ("of", "is", "are", "for", "used", "that", "which")
        and words[0] not in ("look", "looks", "search", "wait", "waits")
    ):
        return None  # "list of jumps" is a thing
    if words[1].endswith("ed") and words[2:3] in (["by"], ["from"], ["in"]):
        return None  # "stream returned by it" too
    third = words[0].lower() != plain
    forms: list[list[str]] = [[plain], [third_person(plain)], [gerund(plain)]]
    for i, word in enumerate(words[1:], 1):
        other = plain_verb(word) if words[i - 1] in ("and", "or", "then") else None
        following = words[i + 1] if i + 1 < len(words) else ""
        # "add handlers and filters" names things, "adds it and calls the api" does not.
        if other and following and ((word != other) == third or (word != other and following in _DETERMINERS)):
            changed = (other, third_person(other), gerund(other))
        elif third and words[i - 1] == "and" and following in _DETERMINERS and re.search(r"[a-z]{3}[^s]s$", word):
            changed = (word[:-1], word, gerund(word[:-1]))  # a verb that nobody listed
        else:
            changed = (word, word, word)
        for form, put in zip(forms, changed):
            form.append(put)
    return {name: adverb + " ".join(form) for name, form in zip("dsg", forms)}


_WHETHER = re.compile(
    r"(?:(?:returns?|gives?|yields?) whether(?: or not)?|(?:(?:returns?|gives?|yields?) (?:true|false|none zero|"
    r"nonzero)|true|checks?|"
    r"tests?|determines?|tells?|decides?|detects?|verif(?:y|ies)|sees?|finds? out|indicates?|"
    r"reports?)(?: and returns?)?(?: true)?"
    r"(?: value)?,? (?:if(?: and only if)?|whether|iff|when|that)(?: or not)?) (?P<c>.+)$",
    re.IGNORECASE,
)
_GIVES = re.compile(
    r"(?:returns?|gets?|gives?|retrieves?|fetch(?:es)?|obtains?|finds?|computes?|calculates?) (?P<n>.+)$"
)
_CLAUSE = re.compile(
    r"(?!(?:is|are|was|has|can|could|cannot|can't|does|do|did|not|if|when|should|must|that|which|what|to|in|on|for)\b)"
    r"(?:[^\s;]+ ){1,6}(?:is|are|was|were|has|have|had|can|cannot|"
    r"can't|could|does|do|did|doesn't|isn't|aren't|exists?|contains?|fails?|matches|needs?|should|must|will|exceeds?|"
    r"occurred|occurs|expired|belongs|supports?|uses|starts|ends|happened|times|timed|goes|comes|became|requires?|"
    r"accepts|takes|means|holds|returns|wants|gets|yields|raises|doesn't|don't)\b"
)
_SUBJECT = re.compile(r"(?:the|an?|this|it|there) (?:[\w-]+ ){2,}")
_POINTS = re.compile(r"(?:it|they|this|that|those|these|other|otherwise|so|successful|necessary|needed|possible)\b")


def many(noun: str) -> bool:
    """Whether a noun phrase is of several things: "headers to send"."""
    head = re.split(r" (?:of|for|to|in|on|with|from|by|used|at|per|between|as)\b", noun)[0].split()[-1:]
    return bool(head) and head[0].endswith("s") and not head[0].endswith(("ss", "us", "is", "ous"))


def is_clause(said: str) -> bool:
    """Whether the words have a subject and a verb: "the host is empty"."""
    return bool(_CLAUSE.match(said)) and len(said.split()) >= 3


def told(said: str) -> tuple[str, Slots] | None:
    """What is asked of a function by its description: (kind, slots) of "tells" (a clause), "gives" or "does"."""
    match = _WHETHER.match(said)
    if match and (is_clause(match["c"]) or _SUBJECT.match(match["c"])) and not _POINTS.match(match["c"]):
        return "everyday_tells", {"c": re.split(r",? (?:else|otherwise)\b|, false\b", match["c"])[0]}
    if re.match(r"returns? (?:true|false|whether|self|none|this)\b", said, re.IGNORECASE):
        return None
    match = _GIVES.match(said)
    moves = re.search(r" (?:and|then|or) (\w+) (?:it|them|its|the|a|an|their)\b", said)
    if moves and plain_verb(moves[1]):
        match = None  # does more than to give something
    if match and len(match["n"].split()) >= 2 and not _POINTS.match(match["n"]) and re.match(r"[a-zA-Z]", match["n"]):
        if re.match(r"(?:and|or|from|to|if|whether|by|how)\b", match["n"]):
            return None
        return "everyday_gives", {"n": match["n"]}
    does = action(said)
    return ("everyday_does", does) if does and len(said.split()) >= 3 else None


_RAISED = re.compile(
    r"(?:(?:an? |the )?(?:\w+ )?(?:exception|error|warning)s? )?(?:is |are |that is |to be )?(?:raised|thrown|"
    r"returned|used|issued|"
    r"emitted|happens?|occurs?|risen)(?: by [\w ]+?)? (?:when(?:ever)?|if|in case|because|on) (?P<c>.+)$|"
    r"(?:indicates?|signals?|means|signifies)(?: that)? (?P<d>.+)$|(?:the )?error (?:that|which) (?:means|"
    r"says) (?P<g>.+)$|(?:if|when|in case) (?P<e>.+)$|"
    r"(?:an? )?(?:exception|error)(?: raised)?,? (?:when|if|because|indicating(?: that)?|for when) (?P<f>.+)$",
    re.IGNORECASE,
)


def circumstance(said: str) -> str | None:
    """The clause of an exception's description: "Raised when the key is missing" gives "the key is missing"."""
    match = _RAISED.match(said)
    clause = next((part for part in match.groups() if part), "") if match else said
    if during := re.fullmatch(
        r"(?:an? )?(?:\w+ )?(?:exception|error)s? (during|while|in|when) (.+)", said, re.IGNORECASE
    ):
        return f"something goes wrong {during[1]} {during[2]}"
    clause = re.sub(r"^(?=(?:can|could|can't|cannot)\b)", "it ", clause)
    clause = re.split(r",? (?:and|but|so|since|because|due) (?=it|this|we|the user)", clause)[0]
    return clause if is_clause(clause) and not _POINTS.match(clause) and len(clause.split()) <= LONGEST_WORDS else None


_HOLE = re.compile(r"\{[^{}]*\}|%\(?\w*\)?[-+ #0]*\d*(?:\.\d+)?[sdrifxvqTuc]|\$\{[^{}]*\}|'\s*'|\"\s*\"|`\s*`")
_READINGS = (
    (r"(.+?) (?:must|should|needs? to|has to|have to) not be (.+)", r"\1 is \2"),
    (r"(.+?) (?:must|should|needs? to|has to|have to) be (?:an? |one of )?(.+)", r"\1 isn't \2"),
    (r"(.+?) (?:must|should|needs? to|has to) (have|contain|match|start|end|define|specify|provide) (.+)", r"\1 doesn't \2 \3"),
    (r"(.+?) (?:cannot|can not|can't|may not|could not|couldn't) be (\w+ed|read|found|set|sent|written|run|made|built|"
     r"done|both)\b(.*)",
     r"\1 can't be \2\3"),
    (r"(.+?) (?:cannot|can not|can't|may not) be (.+)", r"\1 is \2"),
    (r"(?:cannot|can not|can't|could not|couldn't|unable to|failed to|can 't) ([a-z]+ .+)", r"it can't \1"),
    (r"(?:failure|error|failed) ([a-z]+ing .+)", r"\1 fails"),
    (r"(?:an? |the )?(invalid|unknown|unexpected|missing|unsupported|unrecognized|duplicate|bad|illegal|malformed|empty) "
     r"((?!or\b|and\b)[a-z][\w' -]+)", r"the \2 is \1"),
    (r"no ([a-z][\w' -]+?) (?:(?:was|were|is|are) )?(?:currently )?(given|found|provided|supplied|specified|set|"
     r"available|configured|defined)",
     r"no \1 is \2"),
    (r"(.+?) (?:not found|does not exist|doesn't exist)", r"the \1 doesn't exist"),
    (r"(.+?) (?:is |are )?(?:required|needed)", r"I don't give \1"),
    (r"(.+?) (?:is |are )?not (supported|allowed|available|implemented|installed|set|enabled|valid|given|specified|"
     r"ready|running)",
     r"\1 isn't \2"),
    (r"(.+?) already (exists|closed|set|started|registered|running|defined|in use)", r"\1 already \2"),
    (r"too (many|few|much) ([a-z][\w ]+)", r"there are too \1 \2"),
    (r"expected (.+?),? (?:but )?(?:got|found|received|not).*", r"it doesn't get \1"),
)  # fmt: skip


def complained(message: str) -> str | None:
    """An error message as the condition that brings it: "port must be positive" is "port isn't positive"."""
    text = re.sub(r",? but .*$", "", re.sub(r"\s+", " ", _HOLE.sub(" ", message)).strip())
    text = re.sub(r"['\"`]\s*['\"`]", " ", text)
    text = re.sub(r"(?:[,:]?\s+(?:got|was|but|found|of type|for|in|at|to|by|from|with|is|as|not|the|and|or|on|named|"
                  r"called|than|a|an)\b)+[ :.,'\"]*$",
                  "", text)  # fmt: skip
    said = clean(text)
    if said is None or re.search(r"\b(?:please|try|use|dummy|test|should never|unreachable|assert|my|your)\b", said):
        return None
    for pattern, put in _READINGS:
        if re.fullmatch(pattern, said):
            read = re.sub(pattern, put, said)
            return re.sub(r"\bthe (?:the|an?) ", "the ", read) if len(read.split()) >= 3 else None
    return said if is_clause(said) and len(said.split()) >= 4 and not _POINTS.match(said) else None


_SAME_WORDS = (
    "get fetch obtain", "make create build", "check verify", "remove delete", "error exception", "folder directory",
    "maximum max most", "minimum min", "parameter argument", "begin start", "quit exit", "choose pick select",
    "show display print", "change modify", "convert turn", "find locate", "function helper", "configuration config settings",
    "environment env", "repository repo", "database db", "request req", "allowed permitted", "missing absent", "invalid bad",
    "specified given set", "provided given supplied", "contains has", "retrieve get fetch", "determine decide", "utilize use",
    "specify give set", "execute run", "terminate end stop", "initialize set up", "supported possible", "message text",
    "milliseconds ms", "characters chars", "send transmit", "save store", "large big", "quickly fast", "entire whole",
    "additional extra more", "construct build make", "compute calculate work out", "append add", "occurred happened",
    "gets fetches", "makes creates builds", "checks verifies", "removes deletes", "creates makes builds", "deletes removes",
    "displays shows", "finds locates", "starts begins", "retrieves gets", "determines decides", "executes runs",
    "constructs builds", "computes calculates", "converts turns", "saves stores", "sends transmits",
)  # fmt: skip
_SYNONYMS: dict[str, list[str]] = {}
for _line in _SAME_WORDS:
    _first, *_rest = _line.split()
    _SYNONYMS.setdefault(_first, []).extend(_rest if "out" not in _rest and "up" not in _rest else _rest[:1])


def loosen(said: str, rng: random.Random) -> str:
    """The words as a user would have them: a synonym now and then, articles dropped, "is not" drawn together."""
    words = said.split()
    for i, word in enumerate(words):
        if word in _SYNONYMS and rng.random() < 0.3:
            words[i] = rng.choice(_SYNONYMS[word])
    text = " ".join(words)
    if rng.random() < 0.3:
        text = re.sub(r"\b(is|are|was|were|does|do|has|have) not\b", r"\1n't", text).replace("cannot", "can't")
    if rng.random() < 0.15:
        # Before a noun only: "is not given" would turn into its opposite.
        text = re.sub(
            r"\b(the|an?) (?:specified|given|provided|current|underlying|corresponding|respective) ", r"\1 ", text
        )
    if rng.random() < 0.2:
        text = re.sub(r"\b(?:the|an?) ", "", text)
    return text


def leaks(asked: str, answer: str) -> str:
    """How far a question gives its answer away: "name" where it stands there, "split" where its words do, else ""."""
    lowered = asked.lower()
    core = re.sub(r"^\W+|\W+$", "", answer).lower()
    if not core:
        return ""
    if re.search(rf"(?<!\w){re.escape(core)}(?!\w)", lowered):
        return "name"
    parts = [part.lower() for part in re.split(r"[^A-Za-z0-9]+|(?<=[a-z0-9])(?=[A-Z])", answer) if len(part) > 1]
    heard = re.findall(r"[a-z0-9]+", lowered)
    stems = {word[:4] for word in heard}
    parts = [part for part in parts if part not in ("is", "error", "exception", "warning")] or parts
    return "split" if parts and all(part[:4] in stems for part in parts) else ""


def clue_names(said: str, text: str) -> list[str]:
    """The rarer words of a description that stand in the file: what tells another document that answers it."""
    lowered = text.lower()
    words = {word for word in re.findall(r"[a-z]{4,}", said.lower()) if word not in _FEW and word in lowered}
    return sorted(sorted(words, key=lambda word: (lowered.count(word), -len(word), word))[:3])
