"""Everyday facts: what a file's authors wrote beside its names and values, as questions that do not say the name.

Read from words only: docstrings, descriptions of parameters, comments, help texts and error messages. `describe` adds
what a description says to a file's facts; `everyday_python` and `everyday_comments` find the descriptions.
"""

from __future__ import annotations

import re

from gfqa.training.questions.everyday_values import (
    PLAIN_VALUE,
    VALUE_NOUNS,
    WHETHER,
    asked_by_name,
    is_code_word,
    quantity,
    thing,
    used_for,
)
from gfqa.training.questions.everyday_words import (
    Slots,
    action,
    circumstance,
    clean,
    complained,
    many,
    told,
    words_of_name,
)
from gfqa.training.questions.facts import FileFacts

LONGEST_VALUE = 60

# What comments say of the next lines of code, not of the variable read there.
_STEP = re.compile(
    r"(?:initiali[sz]e|gets?|set|load|reads?|check|create|build|use|add|find|try|make|parse|determine|define|import|return|"
    r"apply|call|run|resolve|handle|configure|test|ensure|convert|start|execute|detect|extract|verify|validate)\b"
)
_NO_VALUE = re.compile(
    r"(?:\(\)|\[\]|\{\}|\"\"|''|\.\.\.|_|self.*|cls.*|lambda\b.*|\[\]\w.*|field\(.*|Field\(.*|TypeVar.*|logging\..*|"
    r"getLogger.*|"
    r"object\(\)|\w*[sS]entinel.*|_?U[nN][sS][eE][tT]|_missing\w*|MISSING|Undefined|undefined|.*[({\[,+]|function\b.*|"
    r".*=>.*|new Map.*|dict\(\)|list\(\)|set\(\)|"
    r"(?!timedelta|datetime\.timedelta|Path|pathlib)[\w.:]+!?\(.*|\$.*|weakref.*|threading\..*|iota.*|.*\w\(.*\w\(.*)$"
)


def add(
    file: FileFacts, kind: str, slots: Slots, answer: str | None, line: int, *, back: bool, scope: str = ""
) -> None:
    """Keep a fact; `back` where the answer stands before the words that the question is made of.

    `scope` names the place in plain words, for words that are said of several places.
    """
    names = [slots, {**slots, "in": scope}] if scope else [slots]
    file.add(kind + ("_back" if back else ""), names, answer, line)


def describe_value(
    file: FileFacts, said: str | None, value: str | None, line: int, *, back: bool, default: bool, scope: str = ""
) -> None:
    """What a value is for: a constant's comment, or (`default`) a parameter's description."""
    said, value = clean(said), (value or "").strip()
    if (
        not said
        or not value
        or (value == "None" and not default)
        or value.count('"') % 2
        or value.count("'") % 2
        or len(value) > LONGEST_VALUE
        or _NO_VALUE.match(value)
    ):
        return
    end = "_default" if default else ""
    said = re.sub(r"^(?:if (?:true|set|given|enabled|specified),? )", "whether ", said, flags=re.IGNORECASE)
    if value.lower() in ("true", "false"):
        match = WHETHER.match(said)
        said = re.split(r",? (?:if|when|otherwise|else)\b|, ", match[1] if match else said)[0]
        does = action(said) if default else None
        if does:
            add(file, "everyday_whether", {"d": does["d"]}, value, line, back=back, scope=scope)
    elif said.startswith("whether "):
        return
    elif (re.match(r"-?[\d(.]|.*\d\)?$|[A-Z_\d]+ [*<]", value) and (asked := quantity(said))) or (
        asked := used_for(said)
    ):
        add(file, f"everyday_quantity{end}", {"q": asked}, value, line, back=back, scope=scope)
    elif (name := thing(said)) and not (many(name) and not default and PLAIN_VALUE.match(value)):
        add(file, "everyday_default" if default else "everyday_value", {"n": name}, value, line, back=back, scope=scope)


def describe_name(
    file: FileFacts, name: str, value: str | None, line: int, *, default: bool = False, scope: str = ""
) -> None:
    """A value whose name says in plain words what it is: MAX_RETRIES = 5 is "how many retries at most"."""
    value = (value or "").strip()
    words = words_of_name(name).lower().split()
    if words[:1] == ["default"]:
        words, default = words[1:], True
    if (
        not PLAIN_VALUE.match(value)
        or not words
        or any(map(is_code_word, words))
        or any((len(word) < 3 and word != "id") or word.isdigit() for word in words)
        or len(words) > 5
    ):
        return
    if not (VALUE_NOUNS & {words[0], words[-1]} or (words[0] in ("num", "max", "min") and len(words) > 1)):
        return
    if len(words) < 2 and not (default and scope and len(words[0]) > 3):
        return
    end, number, said = "_default" if default else "", not value.startswith(("'", '"', "b")), " ".join(words)
    asked = asked_by_name(words, number=number, default=default)
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
    does = action(said)
    if does and what == "environment variable" and _STEP.match(said):
        return
    if does and what not in ("constant", "variable") and len(said.split()) >= 3:
        add(file, "everyday_sets", {**does, "what": what}, name, line, back=back, scope=scope)
    elif (noun := thing(said)) and not (what == "constant" and many(noun) and not file.path.endswith(".py")):
        # A comment about several things above a constant is about those below it too.
        add(file, "everyday_name", {"n": noun, "what": what}, name, line, back=back, scope=scope)


def describe_code(
    file: FileFacts, said: str | None, name: str, what: str, line: int, *, back: bool, scope: str = ""
) -> None:
    """What a function, method, class or type is for."""
    said = clean(said)
    if not said or name.startswith("__") or name in ("main", "_"):
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
        if said.startswith(noun) and re.match(r"\w+[^s]s (?!of|for|in|and)\b", noun):
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


COMMON_VARIABLES_WORDS = "HOME PATH USER PWD TEMP TMP SHELL CI USERPROFILE APPDATA"
COMMON_VARIABLES = frozenset(COMMON_VARIABLES_WORDS.split())


def place(name: str, owner: str | None = None) -> str:
    """A function or class in plain words, to tell two of them apart."""
    words = words_of_name(name)
    if owner and len(words.split()) < 2:
        words = f"{words} of {words_of_name(owner)}" if words and not name.startswith("__") else words_of_name(owner)
    return words
