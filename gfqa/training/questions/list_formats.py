"""A grammar of the ways in which people and programs write down keys with their values.

A format is put together at random: a bullet, what stands around the key and the value, what parts them, what follows, how
entries are parted and grouped. Beside it stand whole shapes of lines: markup, code, settings, logs, sentences.

Slots of a line: {k} key, {v} value, {i} its number, {r} what such values are called, {t} a time, {w} and {o} other words.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from gfqa.training.questions import synthetic
from gfqa.training.questions.marks import marked, padded
from gfqa.training.questions.naming import coined, listed
from gfqa.training.questions.vocabulary import split_templates

START, KEY, VALUE, END, MARKS = range(5)
"""Marks of an entry: MARKS * its number and one of the others."""

_BULLETS = (
    "- ", "* ", "+ ", "• ", "– ", "o ", "> ", "» ", "[ ] ", "[x] ", "▪ ", "→ ", "~ ", "# ", "// ", "; ", "-- ",
    "/// ", "%% ",
    "|- ", "!", "@", ". ", ":: ", "* [ ] ", "-", "*", "\t", "  ", "    ", "\t- ", "  * ", "    - ",
    "{i}. ", "{i}) ", "({i}) ", "[{i}] ", "#{i} ", "{i:02} ", "{i}: ", "{i}\t", "{i} - ", "No. {i}: ", "Item {i}: ",
    "§ {i} ",
    "{a}) ", "{a}. ", "({a}) ", "{x}. ", "({x}) ", "{i} | ", "1.{i} ", "3.{i}. ", "L{i:03}: ", "{i},",
)  # fmt: skip
_QUOTES = (
    '"%"', "'%'", "`%`", "**%**", "*%*", "__%__", "<%>", "[%]", "{%}", "(%)", "«%»", "“%”", "‘%’", "<b>%</b>", "$%", "%%%",
    "@%", "${%}", "|%|", "~%~", "==%==", "``%``", "_%_", "<code>%</code>", ":%:", "#%",
)  # fmt: skip
_BETWEEN = (
    "=", " = ", ": ", " : ", ":", ":\t", " ->", " -> ", "->", " => ", "=>", " --> ", "\t", "\t\t", " | ", "|", " — ", " – ",
    " - ", " -- ", " ~ ", " := ", " == ", "; ", ";", " / ", "::", " :: ", ", ", " >> ", " > ", "  ", "   ", " ... ", " …… ",
    " is ", " is set to ", " equals ", " has ", " gets ", " stands for ", ", that is ", " (see: ", " ⇒ ", " → ",
    " ↦ ", " = = ",
    " . . . . ", "~>", "@", "#", " + ", " at ", " maps to ", " was ", " reads ", " with ", " gives ", ": = ", "=:",
    "?= ", " \\ ",
)  # fmt: skip
_BETWEEN_BACK = (
    " <- ", " <= ", " ← ", " for ", " of ", " is for ", ": ", " = ", " | ", "\t", " # ", " // ", " - ", " — ", " / ",
    "; ", " @ ",
    " belongs to ", " goes to ", " as ", " => ", ", which is ", " (", "  ", " stands at ", " in ", " given to ",
    "::", " < ",
)  # fmt: skip
_TAILS = (
    ",", ";", ".", " ;", " \\", " |", " # {w}", " // {w}", " -- {w}", " /* {w} */", " ({w})", " [{w}]",
    " <!-- {w} -->", " (was {o})",
    "  # default {o}", " # {t}", ", {w}", " | {w}", "\t{w}", "; {w}", " !", " <br>", " (checked)", " *", " †",
    " - {w}", " // was {o}",
)  # fmt: skip
_ANY = (
    '<entry key="{k}" value="{v}"/>', '<item name="{k}">{v}</item>', "<li><b>{k}</b>: {v}</li>", "<dt>{k}</dt><dd>{v}</dd>",
    "<tr><td>{k}</td><td>{v}</td></tr>", "<tr><th>{i}</th><td>{k}</td><td>{v}</td></tr>",
    '<property name="{k}" value="{v}" />',
    '<option value="{v}">{k}</option>', "<string name='{k}'>{v}</string>", "<key>{k}</key>\n<string>{v}</string>",
    '{"key": "{k}", "value": "{v}"},', '  "{k}": "{v}",', "    '{k}': '{v}',", '["{k}", "{v}"],', '("{k}", "{v}"),',
    '{"id": {i}, "name": "{k}", "{r}": "{v}"},', "{ name: '{k}', {r}: '{v}' },", '{"{r}":"{v}","name":"{k}","id":{i}}',
    "INSERT INTO entries VALUES ({i}, '{k}', '{v}');", "UPDATE entries SET {r} = '{v}' WHERE name = '{k}';",
    "('{k}', '{v}', {i}),", "{i},{k},{v}", "{k};{v};{w}", '"{k}","{v}"', '"{i}";"{k}";"{v}"', "{k}\t{i}\t{v}",
    "{v},{k},{i}",
    "{t} INFO {k} set to {v}", "[{t}] {k}: {v}", "{t} {w}[{i}]: {k} => {v}", "{t} DEBUG loaded {k} ({v})",
    "{t} | {k} | {v}",
    'level=info time={t} name="{k}" {r}="{v}"', '{t} GET "{k}" {v}', "set {k} {v}", 'put("{k}", "{v}")',
    'map["{k}"] = "{v}"',
    'lookup("{k}") returns {v}', "\\item[{k}] {v}", "{k} & {v} \\\\", "| {k} | {v} |", "| {i} | {k} | {v} |",
    "|{k}|{v}|{w}|",
    "|| {k} || {v} ||", ":{k}: {v}", "/{k} ({v})", ".. |{k}| replace:: {v}", "`{k}` :: `{v}`", 'when "{k}": return "{v}"',
    'case "{k}": return "{v}";', 'if name == "{k}": {r} = "{v}"', "Name: {k}  Value: {v}", "Name: {k}\nValue: {v}",
    "{k}\n    {v}", "{k}\n: {v}", "* {k}\n** {v}", "== {k} ==\n{v}", "- name: {k}\n  {r}: {v}", "{i}. {k}\n   {v}",
    '[[entry]]\nname = "{k}"\n{r} = "{v}"', '{\n  "name": "{k}",\n  "{r}": "{v}"\n},', "BEGIN\nN:{k}\nX:{v}\nEND",
    "{k}\n\t=> {v}",
    "Entry {i}\n  key    {k}\n  value  {v}", "{k}:\n  {v}", "### {k}\n{v}", "{k}\n{v}", "{r}: {v}\nname: {k}\n--",
    "@{r}({k}) {v}",
    "<a href=\"{v}\">{k}</a>", "[{k}]: {v}", "[^{i}]: {k} = {v}", "add {v} to {k}", "assert get('{k}') == '{v}'",
    "({k} . {v})",
    "({i} \"{k}\" \"{v}\")", "{k} :- {v}.", "entry('{k}', '{v}').", "<< {k} >> {v}", "{{{k}|{v}}}", "%{k} {v}",
    "+ {k} [{v}]",
    "printf '%s' '{k}={v}'", ">>> get('{k}')\n'{v}'", "$ show {k}\n{v}", "Q: {k}?\nA: {v}", "<{r} of=\"{k}\">{v}</{r}>",
)  # fmt: skip
_IDENTIFIERS = (
    "<{k}>{v}</{k}>", "  <{k}>{v}</{k}>", "export {k}={v}", '{k}="{v}"', 'let {k} = "{v}";', "const {k} = '{v}';",
    "#define {k} {v}",
    "ENV {k} {v}", "ARG {k}={v}", "--{k}={v}", "-D{k}={v}", "-e {k}='{v}'", "%{k}% = {v}", '${k} = "{v}";',
    ".{k} = {v},", "{k} {v};",
    "self.{k} = '{v}'", "<var {k}='{v}' />", "param {k} := {v};", "'{k}' => '{v}',", "{k}: {v},", "{k} = {v} ; {w}",
    "final {k} = {v}",
    'setenv {k} "{v}"', "set -g {k} {v}", "var {k} {r} = {v}", "{k}: &{w} {v}", "@{k}: {v};", "$env:{k} = '{v}'",
    "{k}!={v}",
    "option {k} {v}", "{k}({v})", "<c:{k} v=\"{v}\"/>", "def {k}(): return '{v}'", "{k} ?= {v}", "\\newcommand{\\{k}}{{v}}",
    "reg add {k} /d {v}", "SET {k} TO '{v}';", "  {k}:   {v}", "data-{k}=\"{v}\"", "enum {k} = {v},", "[{k}={v}]",
    ".equ {k}, {v}",
)  # fmt: skip
_SENTENCES = (
    "The {r} of {k} is {v}.", "For {k}, the {r} is {v}.", "{k} has {v} as its {r}.", "{k} comes with {v}.",
    "Under {k} we noted {v}.",
    "Whoever asks for {k} gets {v}.", "{k} was given {v}.", "In the case of {k} it is {v}.", "With {k} goes the {r} {v}.",
    "{k} keeps {v} as {r}.", "As {r} for {k} we chose {v}.", "To {k} belongs {v}.", "At {k} you will find {v}.",
    "{k} takes {v}.",
    "We put {v} down for {k}.", "{v} is what {k} has.", "{v} belongs to {k}.", "The {r} {v} was given to {k}.",
    "{v} goes with {k}.",
    "It is {v} that {k} uses.", "They agreed on {v} for {k}.", "{k}, {r} {v}.", "For {k} take {v}.", "{k} stays at {v}.",
)  # fmt: skip
_TITLES = (
    "{R} list", "# {R} by name", "## {R}", "List of every {r}", "{R} of each entry:", "; {r} table", "// {r}",
    "<!-- {r} -->",
    "Overview ({r})", "[{r}]", "--- {r} ---", "The following {r} entries are valid:", "{R}\n======", "/* {r} */", "",
    "", "", "",
)  # fmt: skip
_HEADS = ("name{p}{r}", "Name{p}{R}", "key{p}value", "KEY{p}VALUE", "Item{p}{R}", "entry{p}{r}")
_WRAPS = (
    ("{", "}"), ("[", "]"), ("<entries>", "</entries>"), ("<ul>", "</ul>"), ("BEGIN", "END"), ("```", "```"),
    ("entries = {", "}"),
    ("<config>", "</config>"), ("---", "---"), ("\\begin{tabular}{ll}", "\\end{tabular}"), ("switch (name) {", "}"),
    ("(", ")"),
)  # fmt: skip
_WORDS = listed(
    "old new checked draft todo spare moved verified provisional optional legacy reserved see note ok main local"
)
_IDENTIFIER = re.compile(r"[A-Za-z_][\w.\-]*")
_KEPT_OUT = frozenset(split_templates(synthetic._PAIR_FORMS, True))


@dataclass(frozen=True)
class Format:
    """lines: templates of an entry; joint: between entries, of which `in_a_line` stand in a line; group: entries between
    empty lines or little titles, 0 for none; fill: what columns are filled up with, none where empty.
    """

    lines: tuple[str, ...]
    joint: str = "\n"
    in_a_line: int = 1
    group: int = 0
    group_title: str = ""
    fill: str = ""
    right: bool = False
    title: str = ""
    head: str = ""
    wrap: tuple[str, str] = ("", "")
    tree: bool = False

    @property
    def commas(self) -> bool:
        """Whether a comma ends a value."""
        return "," in self.joint or any("{v}," in line or ",{v}" in line for line in self.lines)


def draw_format(keys: list[str], rng: random.Random) -> Format:
    """A format for these keys; none of those whose lines are kept for the evaluation."""
    while True:
        made = _drawn(all(_IDENTIFIER.fullmatch(key) for key in keys), rng)
        if not any(line.strip() in _KEPT_OUT for line in made.lines):
            return made


def _drawn(identifiers: bool, rng: random.Random) -> Format:
    draw = rng.random()
    title = rng.choice(_TITLES)
    group = rng.choice((0, 0, 0, 1, 2, 3, 5, 8)) if rng.random() < 0.4 else 0
    group_title = rng.choice(("", "", "# {w}", "-- {n} --", "[{n}]", "{n}:", "## {n}", "// {n}")) if group > 1 else ""
    if draw < 0.07:
        lines = tuple(rng.sample(_SENTENCES, rng.randint(1, 6)))
        return Format(lines, joint=rng.choice((" ", " ", "\n")), in_a_line=rng.choice((1, 3, 4, 6)), title=title)
    if draw < 0.19:
        fill = rng.choice((" ", " ", " ", ".", " .", "_", "-"))
        line = rng.choice(
            ("{k}{pad}{v}",) * 3 + ("{k}{pad} {v}", "{k} {pad} {v}", "{v}{pad}{k}", "- {k}{pad}{v}", "{i}  {k}{pad}{v}")
        )
        head = rng.choice(_HEADS) if fill == " " and "{i}" not in line and line.index("{k}") < line.index("{v}") else ""
        return Format(
            (line,), group=group, fill=fill, right=rng.random() < 0.4, title=title, head=rng.choice((head, ""))
        )
    if draw < 0.24:
        between, quote = rng.choice(_BETWEEN), rng.choice(_QUOTES) if rng.random() < 0.2 else "%"
        return Format((_quoted("{k}", quote) + between + "{v}",), tree=True, title=rng.choice((title, "{r}")))
    if draw < 0.5:
        line = rng.choice(_IDENTIFIERS if identifiers and rng.random() < 0.55 else _ANY)
        # Two-line entries need to be told apart.
        group = 1 if "\n" in line and not line.startswith(("- ", "{\n", "BEGIN")) and rng.random() < 0.8 else group
        wrap = rng.choice(_WRAPS) if rng.random() < 0.25 else ("", "")
        tail = rng.choice(_TAILS) if "\n" not in line and rng.random() < 0.1 else ""
        return Format((line + tail,), group=group, group_title=group_title if group > 1 else "", title=title, wrap=wrap)
    line = _composed(rng)
    several = rng.random() < 0.16
    joint = (
        rng.choice((", ", "; ", " | ", "  ", "   ", " / ", "\t", " & ", " · ", " * ", " // ", ";", ". "))
        if several
        else "\n"
    )
    in_a_line = rng.choice((2, 2, 3, 4, 5)) if several else 1
    wrap = rng.choice(_WRAPS) if rng.random() < 0.1 else ("", "")
    return Format((line,), joint, in_a_line, 0 if several else group, group_title, title=title, wrap=wrap)


def _composed(rng: random.Random) -> str:
    """A line of parts."""
    around = rng.choice(_QUOTES) if rng.random() < 0.35 else "%"
    key = _quoted("{k}", around)
    value = _quoted("{v}", rng.choice((around, *_QUOTES)) if rng.random() < 0.3 else "%")
    if rng.random() < 0.22:
        between = rng.choice(_BETWEEN_BACK)
        line = value + between + key + (")" if between == " (" else "")
    else:
        between = rng.choice(_BETWEEN)
        line = key + between + value + (")" if "(" in between else "")
        line += rng.choice(_TAILS) if rng.random() < 0.22 else ""
    return (rng.choice(_BULLETS) if rng.random() < 0.5 else "") + line


def _quoted(slot: str, quote: str) -> str:
    if quote == "%%%":
        return f"%{slot}%"
    return quote.replace("%", slot, 1)


def rendered(made: Format, pairs: list[tuple[str, str]], noun: str, first: int, rng: random.Random) -> str:
    """The list in words, its keys and values marked; `first`: the number of its first entry among all that are marked."""
    widest = max(len(key if _key_first(made) else value) for key, value in pairs) + rng.randint(2, 6)
    parts = [_worded(made.title, noun, rng)] if made.title else []
    if made.head:
        name, other = _worded(made.head, noun, rng).split("{p}")
        parts.append(padded(name, widest) + other)
    parts += [made.wrap[0]] if made.wrap[0] else []
    line: list[str] = []
    for number, (key, value) in enumerate(pairs):
        if made.group and number and number % made.group == 0:
            parts.append("")
        if made.group_title and made.group and number % made.group == 0:
            parts.append(_worded(made.group_title, noun, rng))
        entry = _entry(made, number, (key, value), noun, widest, rng)
        base = MARKS * (first + number)
        line.append(marked(base + START, _filled(entry, key, value, base)) + marked(base + END, ""))
        if len(line) == made.in_a_line or number == len(pairs) - 1:
            parts.append((made.joint if made.in_a_line > 1 else "\n").join(line))
            line = []
    parts += [made.wrap[1]] if made.wrap[1] else []
    return "\n".join(parts)


def _key_first(made: Format) -> bool:
    return made.lines[0].index("{k}") < made.lines[0].index("{v}")


def _entry(made: Format, number: int, pair: tuple[str, str], noun: str, widest: int, rng: random.Random) -> str:
    """The line of one entry, {k} and {v} still open."""
    line = rng.choice(made.lines)
    line = (
        line.replace("{i:02}", f"{number + 1:02}").replace("{i:03}", f"{number + 1:03}").replace("{i}", str(number + 1))
    )
    line = line.replace("{a}", "abcdefghijklmnopqrstuvwxyz"[number % 26]).replace("{x}", _roman(number + 1))
    if "{pad}" in line:
        key, value = pair
        shown = len(key) if _key_first(made) else len(value)
        pad = (made.fill * widest)[: max(2, widest - shown)] if not made.right else ""
        if made.right:
            pad = (made.fill * (widest + 24))[: max(2, widest + 12 - len(key) - len(value))]
        line = line.replace("{pad}", pad)
    if made.tree:
        line = rng.choice(("├── ", "├── ", "│   ├── ")) + line
    return _worded(line, noun, rng)


def _filled(entry: str, key: str, value: str, base: int) -> str:
    """The slots of key and value filled with marked words; a sentence begins with a capital only where the key allows it."""
    parts = re.split(r"(\{k\}|\{v\})", entry)
    words = {"{k}": marked(base + KEY, key), "{v}": marked(base + VALUE, value)}
    return "".join(words.get(part, part) for part in parts)


def _worded(line: str, noun: str, rng: random.Random) -> str:
    """The open words of a line."""
    if "{" not in line:
        return line
    time = f"{rng.randrange(24):02}:{rng.randrange(60):02}:{rng.randrange(60):02}"
    day = f"{rng.randrange(2015, 2027)}-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}"
    # Inside markup and code what values are called is an identifier.
    code = re.search(r"[<\"'=@({]\{r\}|\{r\}[\"=(>:]|var |SET ", line) is not None
    slots = {
        "r": noun.replace(" ", "_") if code else noun, "R": noun[0].upper() + noun[1:], "t": f"{day} {time}",
        "w": rng.choice(_WORDS), "n": coined(rng), "o": str(rng.randrange(2, 900)),
    }  # fmt: skip
    return re.sub(r"\{([rRtwno])\}", lambda match: slots[match.group(1)], line)


def _roman(number: int) -> str:
    figures = ((50, "l"), (40, "xl"), (10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i"))
    out = "c" * (number // 100)
    number %= 100
    for size, letter in ((90, "xc"), *figures):
        while number >= size:
            out, number = out + letter, number - size
    return out
