"""Everyday facts: what a file's authors wrote beside its names and values, as questions that do not say the name.

Read from words only: docstrings, descriptions of parameters, comments, help texts and error messages. `describe` adds
what a description says to a file's facts; `everyday_python` and `everyday_comments` find the descriptions.
"""

from __future__ import annotations

import re

from gfqa.training.questions.everyday_words import (
    Slots,
    action,
    bare,
    circumstance,
    clean,
    complained,
    is_clause,
    told,
    words_of_name,
)
from gfqa.training.questions.facts import FileFacts
from gfqa.training.questions.sentences import plain_verb

LONGEST_VALUE = 60

_NO_VALUE = re.compile(
    r"(?:\(\)|\[\]|\{\}|\"\"|''|\.\.\.|_|self.*|cls.*|lambda\b.*|field\(.*|Field\(.*|TypeVar.*|logging\..*|getLogger.*|"
    r"object\(\)|\w*[sS]entinel.*|_?U[nN][sS][eE][tT]|_missing\w*|MISSING|Undefined|undefined|.*[({\[,+]|function\b.*|.*=>.*|new Map.*|dict\(\)|list\(\)|set\(\)|"
    r"(?!timedelta|datetime\.timedelta|Path|pathlib)[\w.:]+!?\(.*|\$.*|weakref.*|threading\..*|iota.*|.*\w\(.*\w\(.*)$"
)
_NOT_THINGS = re.compile(
    r"(?:if|when|whether|used|only|can|should|must|may|will|allows?|controls?|not|no|and|or|to|for|in|on|with|by|as|at|is|are|"
    r"it|he|they|there|each|all|any|optional|optionally|either|one|same|other|how|what|where|why|who|do|does|don't|these|this|"
    r"just|make|ensure|let|indicates?|specif(?:y|ies)|determines?|defines?|sets?|gets?|returns?|given|set|be|has|have|always|"
    r"never|currently|also|here|from|after|before|until|because|since|so|then|first|now|handle|avoid|prevent|helper|utility|"
    r"constants?|variables?|types?|base class|tests?|cached?|global|module|import|imported|placeholder|option|some|this|needed|required|intended|meant|try|everything|something|nothing|details|more|less|e|usually|still|defaults|main)\b"
)
_HOW = re.compile(
    r"(?:controls |defines |sets )?(how (?:long|many|often|much|big|large|far|deep)(?: [a-z]+){0,4}?) to ([a-z].+)$"
)
_NUMBER = re.compile(
    r"(?:the )?(?:(?P<max>max|maximum|maximal|largest|minimum|min|total|default|initial|upper limit on the|limit on the) )?"
    r"(?:number|amount|count) of (?P<n>[a-z][\w -]*?)(?P<to> (?:to|before|per|in|for|that|allowed|on|between|after|we) .+)?$"
)
_EXTENT = re.compile(
    r"(?:the )?(?P<max>maximum|max|minimum|min) (?:allowed |permitted )?(?P<what>size|length|time|duration|depth|width|height|age)"
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
_WHETHER = re.compile(r"(?:whether|if|flag)(?: or not)?(?: true| set| enabled| the \w+ should)?,? (?:to )?([a-z].+)$")
_ADJECTIVES = {"size": "big", "length": "long", "time": "long", "duration": "long", "depth": "deep", "width": "wide",
               "height": "high", "age": "old"}  # fmt: skip
_MOST = {"max": "at most", "maximum": "at most", "maximal": "at most", "largest": "at most", "minimum": "at least",
         "min": "at least", "upper limit on the": "at most", "limit on the": "at most"}  # fmt: skip


def add(
    file: FileFacts, kind: str, slots: Slots, answer: str | None, line: int, *, back: bool, scope: str = ""
) -> None:
    """Keep a fact; `back` where the answer stands before the words that the question is made of.

    `scope` names the place in plain words, for words that are said of several places.
    """
    names = [slots, {**slots, "in": scope}] if scope else [slots]
    file.add(kind + ("_back" if back else ""), names, answer, line)


def thing(said: str) -> str | None:
    """A description that is a noun phrase, without its article and what follows it; None for anything else."""
    said = re.split(
        r",? (?:that|which|where|when|if|so that|because|unless|in order|as well|set by|see|and then)\b|, ", said
    )[0]
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


def describe_value(
    file: FileFacts, said: str | None, value: str | None, line: int, *, back: bool, default: bool, scope: str = ""
) -> None:
    """What a value is for: a constant's comment, or (`default`) a parameter's description."""
    said, value = clean(said), (value or "").strip()
    if (
        not said
        or not value
        or (value == "None" and not default)
        or len(value) > LONGEST_VALUE
        or _NO_VALUE.match(value)
    ):
        return
    end = "_default" if default else ""
    said = re.sub(r"^(?:if (?:true|set|given|enabled|specified),? )", "whether ", said, flags=re.IGNORECASE)
    if value.lower() in ("true", "false"):
        match = _WHETHER.match(said)
        said = re.split(r",? (?:if|when|otherwise|else)\b|, ", match[1] if match else said)[0]
        does = action(said) if default else None
        if does:
            add(file, "everyday_whether", {"d": does["d"]}, value, line, back=back, scope=scope)
    elif said.startswith("whether "):
        return
    elif re.match(r"-?[\d(.]|.*\d\)?$|[A-Z_\d]+ [*<]", value) and (asked := quantity(said)):
        add(file, f"everyday_quantity{end}", {"q": asked}, value, line, back=back, scope=scope)
    elif asked := used_for(said):
        add(file, f"everyday_quantity{end}", {"q": asked}, value, line, back=back, scope=scope)
    elif name := thing(said):
        add(file, "everyday_default" if default else "everyday_value", {"n": name}, value, line, back=back, scope=scope)


PLAIN_VALUE = re.compile(
    r"-?(?!0x)\d[\w.]*(?: ?[*<+]{1,2} ?[\d_]+)*$|b?(['\"])[^'\"\n{}%\\]{2,40}\1$|(?:datetime\.)?timedelta\([\w=, ]+\)$"
)


_CODE_WORDS = frozenset(
    "obj func args kwargs impl repr attr regex foo bar test num idx ret buf init str int abi".split()
)
_VALUE_NOUNS = frozenset(
    """size length timeout limit port host hostname path file filename name dir directory folder url uri version interval count
    threshold level format encoding charset prefix suffix key rate width height depth mode style retries attempts days hours
    minutes seconds delay ttl age header domain endpoint template separator delimiter extension color theme model language
    method message title address capacity factor ratio percent percentage tokens workers threads connections redirects lines
    bytes chunks items entries characters columns rows pages results steps epochs iterations samples indent quality algorithm
    protocol scheme user username agent label text description date timezone locale backend engine driver device type weight
    priority frequency duration lifetime expiry window period tolerance temperature seed page schema table queue exchange topic
    namespace scope realm currency unit symbol quote comment pattern root status code""".split()
)
_VAGUE = frozenset(
    "normal total hidden max min initial current new full default base inner outer output input local".split()
)
_SPOKEN = frozenset(
    "id http https url sql ssl tls tcp dns css html xml ttl rss sdk cpu gpu llm jwt db ssh csv pdf by my try dry".split()
)


def is_code_word(word: str) -> bool:
    """Whether a word is an abbreviation that stands in code only: cls, ngx, ptr."""
    return word in _CODE_WORDS or (word not in _SPOKEN and not re.search(r"[aeiouy\d]", word))


def describe_name(
    file: FileFacts, name: str, value: str | None, line: int, *, default: bool = False, scope: str = ""
) -> None:
    """A value whose name says in plain words what it is: MAX_RETRIES = 5 is "how many retries at most"."""
    value = (value or "").strip()
    words = [word for word in words_of_name(name).lower().split() if not word.isdigit()]
    if words[:1] == ["default"]:
        words, default = words[1:], True
    if (
        not PLAIN_VALUE.match(value)
        or not words
        or any(map(is_code_word, words))
        or any(len(word) < 3 and word != "id" for word in words)
        or len(words) > 5
    ):
        return
    if not (_VALUE_NOUNS & {words[0], words[-1]} or (words[0] in ("num", "max", "min") and len(words) > 1)):
        return
    if len(words) < 2 and not (default and scope and len(words[0]) > 3):
        return
    end, number, said = "_default" if default else "", not value.startswith(("'", '"', "b")), " ".join(words)
    asked = None
    if number and words[0] in ("max", "min") and len(words) > 1:
        limit = "at most" if words[0] == "max" else "at least"
        rest = " ".join(words[1:])
        if words[-1] in _ADJECTIVES and len(words) > 2:
            asked = f"how {_ADJECTIVES[words[-1]]} {'can' if words[0] == 'max' else 'must'} the {' '.join(words[1:-1])} be {limit}"
        elif words[-1].endswith("s") and not words[-1].endswith("ss"):
            asked = f"how many {rest} {limit}"
    elif number and words[-1] in ("timeout", "interval", "delay", "duration"):
        asked = f"how long is the {said}"
    elif number and words[-1] in ("size", "length", "width", "height", "depth") and len(words) > 1:
        of_what = " ".join(words[:-1])
        asked = f"how {_ADJECTIVES[words[-1]]} is the {said if of_what in _VAGUE else of_what}"
    elif number and default and re.search(r"[^su]s$", words[-1]) and words[-1] not in ("axis", "eps", "radius"):
        asked = f"how many {said}"
    if asked:
        add(file, f"everyday_quantity{end}", {"q": asked}, value, line, back=False, scope=scope)
    else:
        add(
            file, "everyday_default" if default else "everyday_value", {"n": said}, value, line, back=False, scope=scope
        )


def describe_setting(
    file: FileFacts, said: str | None, name: str, what: str, line: int, *, back: bool, scope: str = ""
) -> None:
    """What a setting is for: a constant, a field, a key, an option, an environment variable."""
    said = clean(said)
    if not said or len(name) < 3 or "environment variable" in said or name in ("NULL", "None", "null", "nil"):
        return
    said = re.sub(rf"^{re.escape(words_of_name(name))} (?:is|are) ", "", said, flags=re.I)
    said = re.sub(
        r"^(?:(?:this )?(?:holds|contains|specifies|defines|represents|describes|denotes|indicates|is) )(?=the |an? )",
        "",
        said,
    )
    said = re.sub(
        r"^(?:if (?:true|set|given|enabled|specified),? |whether (?:or not )?(?:to )?|used to |flag to )",
        "",
        said,
        flags=re.I,
    )
    if (does := action(said)) and what not in ("constant", "variable") and len(said.split()) >= 3:
        add(file, "everyday_sets", {**does, "what": what}, name, line, back=back, scope=scope)
    elif noun := thing(said):
        add(file, "everyday_name", {"n": noun, "what": what}, name, line, back=back, scope=scope)


def describe_code(
    file: FileFacts, said: str | None, name: str, what: str, line: int, *, back: bool, scope: str = ""
) -> None:
    """What a function, method, class or type is for."""
    said = clean(said)
    if not said or name.startswith("__") or name == "main":
        return
    if (
        said.replace(" ", "").lower().startswith(re.sub(r"\W|_", "", name).lower())
        and len(words_of_name(name).split()) > 1
    ):
        return  # "FileCache the simplest cache": a name, not a verb
    if (what == "exception" or re.search(r"(?:Error|Exception|Warning|Failure|Fault)$", name)) and what not in (
        "function",
        "method",
    ):
        if clause := circumstance(said):
            add(file, "everyday_error", {"c": clause}, name, line, back=back)
            return
        what = "exception"
    if asked := told(said):
        kind, slots = asked
        add(file, kind, {**slots, "what": what}, name, line, back=back, scope=scope)
    elif what not in ("function", "method") and (noun := thing(said)) and len(noun.split()) > 2:
        if said.startswith(noun) and re.match(r"\w+[^s]s (?!of|for|in|and|with)\b", noun):
            return  # a verb that nobody listed: "Hands out words"
        add(file, "everyday_thing", {"n": noun, "what": what}, name, line, back=back, scope=scope)


def describe_error(
    file: FileFacts, message: str, error: str | None, line: int, *, scope: str = "", clause: str | None = None
) -> None:
    """An error that is raised with a message: which it is, and what it says; `clause` where the code tells the case."""
    read = complained(message)
    error = error.removeprefix("self.") if error else None
    if error and read:
        add(file, "everyday_error", {"c": read}, error, line, back=True, scope=scope)
    if read and " " in message and len(message) <= 120 and read != message.strip(" .").lower():
        add(file, "everyday_says", {"c": read}, message, line, back=False, scope=scope)
    if clause and scope:
        said = {"c": clause, "in": scope}
        if error:
            file.add("everyday_error", said, error, line)
        if len(message) >= 12 and " " in message:
            file.add("everyday_says", said, message, line)


def describe_variant(file: FileFacts, message: str, name: str, line: int) -> None:
    """A variant of an error type, declared on the line below its message."""
    if read := complained(message):
        add(file, "everyday_error", {"c": read}, name, line + 1, back=False)
        add(file, "everyday_says", {"c": read}, message, line, back=False)


def heads_a_group(lines: list[str], at: int) -> bool:
    """Whether line `at` (from 0) is followed at once by another of its form: the comment above may be about them all."""
    if at + 1 >= len(lines) or lines[at].rstrip().endswith(("{", "(", "[", ":")):
        return False
    this, following = (re.match(r"(\s*)([\w\"']*)", line) for line in lines[at : at + 2])
    if not this or not following or not following[2] or this[1] != following[1]:
        return False
    apart = following[2] in (
        "def",
        "class",
        "return",
        "if",
        "for",
        "raise",
        "async",
        "func",
        "fn",
        "function",
        "import",
    )
    return not apart and not re.search(r"\S\s+(?:#|//|/\*)", lines[at + 1])


COMMON_VARIABLES = frozenset(("HOME", "PATH", "USER", "PWD", "TEMP", "TMP", "SHELL", "CI", "USERPROFILE", "APPDATA"))


def place(name: str, owner: str | None = None) -> str:
    """A function or class in plain words, to tell two of them apart."""
    words = words_of_name(name)
    if owner and len(words.split()) < 2:
        words = f"{words} of {words_of_name(owner)}" if words and not name.startswith("__") else words_of_name(owner)
    return words
