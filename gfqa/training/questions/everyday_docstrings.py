"""What Python says of parameters and errors: the sections of a docstring, and the `if` around a raise."""

from __future__ import annotations

import ast
import re

from gfqa.training.questions.everyday_values import is_code_word
from gfqa.training.questions.everyday_words import words_of_name

Described = dict[str, str]

_SECTION = re.compile(r"\s*(Args|Arguments|Parameters|Params|Keyword Args|Attributes|Raises|Returns?|Yields?|Examples?|Notes?)"
                      r"(?::\s*$|\s*$)", re.IGNORECASE)  # fmt: skip
_GOOGLE = re.compile(r"(\s+)\*{0,2}`{0,2}([\w.]+)`{0,2}\s*(?:\([^)]*\))?\s*:\s*(.*)$")
_NUMPY = re.compile(r"(\s*)\*{0,2}([\w.]+)(?:, \w+)*(?:\s*:\s*[^:]*)?$")
_SPHINX = re.compile(
    r"\s*:(param|parameter|arg|keyword|raises?|raise|except|exception|ivar|var)\s+(?:[^:]*?\s)?\*{0,2}([\w.]+):\s*(.*)$"
)


def sections(documentation: str) -> tuple[Described, list[tuple[str, str, int]]]:
    """(parameter: description, [(exception, when, line of the docstring)]) of a docstring, in the three usual layouts."""
    parameters: Described = {}
    raised: list[tuple[str, str, int]] = []
    lines = documentation.split("\n")
    section, depth, numpy = "", -1, False
    for i, line in enumerate(lines):
        if head := _SECTION.match(line):
            underlined = i + 1 < len(lines) and re.match(r"\s*-{3,}\s*$", lines[i + 1])
            if line.rstrip().endswith(":") or underlined:
                section, depth = head[1].lower(), -1
                numpy = bool(underlined)
                continue
        field = _SPHINX.match(line)
        if field:
            name, said, wants_raise = field[2], field[3], "rai" in field[1] or "exc" in field[1]
        elif section.startswith(("arg", "param", "keyword", "attr", "raise")):
            found = (_NUMPY if numpy else _GOOGLE).match(line)
            indent = len(line) - len(line.lstrip())
            if not found or not line.strip() or (depth >= 0 and indent != depth):
                continue
            depth, name, said = indent, found[2], "" if numpy else found[3]
            wants_raise = section == "raises"
        else:
            continue
        own = len(line) - len(line.lstrip())
        rest = []
        for following in lines[i + 1 :]:
            if not following.strip() or len(following) - len(following.lstrip()) <= own:
                break
            rest.append(following.strip())
        said = re.sub(
            r"^(?:optional[:,.]? |\w+, optional[:,.]? )", "", " ".join([said, *rest]).strip(), flags=re.IGNORECASE
        )
        if wants_raise:
            raised.append((name, said, i))
        else:
            parameters.setdefault(name, said)
    return parameters, raised


def condition(test: ast.expr) -> str | None:
    """The `if` around an error as a clause: `if port is None` is "port isn't given"; None for most."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        inside = test.operand
        if isinstance(inside, ast.Call) and ast.unparse(inside.func) == "isinstance" and len(inside.args) == 2:
            name, kind = _said(inside.args[0]), ast.unparse(inside.args[1])
            return f"{name} isn't a {words_of_name(kind)}" if name and re.fullmatch(r"[\w.]+", kind) else None
        name = _said(inside)
        state = name and re.search(r"^(?:is|has|can|should|use) |(?:ed|able|valid|ok)$", name)
        return f"there is no {name}" if name and not state else None
    if isinstance(test, ast.Compare) and len(test.ops) == 1:
        left, right = test.left, test.comparators[0]
        if isinstance(left, ast.Call) and ast.unparse(left.func) == "len" and left.args:
            name = _said(left.args[0])
            return f"the {name} is too long" if name and isinstance(test.ops[0], (ast.Gt, ast.GtE)) else None
        name = _said(left)
        number = ast.unparse(right) if isinstance(right, ast.Constant) and isinstance(right.value, int) else None
        if not name:
            return None
        if isinstance(test.ops[0], ast.Is) and ast.unparse(right) == "None":
            return f"the {name} isn't given"
        if number and number.isdigit() and isinstance(test.ops[0], (ast.Lt, ast.Gt)):
            words = "less" if isinstance(test.ops[0], ast.Lt) else "more"
            return (
                f"the {name} is negative"
                if (number, words) == ("0", "less")
                else f"the {name} is {words} than {number}"
            )
        others = _said(right)
        if others and isinstance(test.ops[0], (ast.In, ast.NotIn)):
            return f"the {name} is{'' if isinstance(test.ops[0], ast.In) else ' not'} in the {others}"
    elif (name := _said(test)) and re.search(r"(?:closed|frozen|ed)$", name) and len(name.split()) < 3:
        first, _, last = name.rpartition(" ")
        return f"the {first} is {last}" if first else f"it is {name}"
    return None


def _said(node: ast.expr) -> str | None:
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    words = words_of_name(name)
    plain = len(words) >= 4 and not name.startswith("__") and not any(map(is_code_word, words.lower().split()))
    return words if plain else None
