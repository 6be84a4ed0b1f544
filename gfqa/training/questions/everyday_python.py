"""Descriptions in Python files: docstrings with their sections, comments, help texts, errors and their conditions."""

from __future__ import annotations

import ast
import re
import warnings

from gfqa.training.questions import everyday
from gfqa.training.questions.everyday_docstrings import Described, condition, sections
from gfqa.training.questions.everyday_values import PLAIN_VALUE, is_code_word
from gfqa.training.questions.everyday_words import Slots, action, clean, is_clause, words_of_name
from gfqa.training.questions.facts import FileFacts

_Function = ast.FunctionDef | ast.AsyncFunctionDef


class _Reader:
    def __init__(self, file: FileFacts) -> None:
        self.file, self.lines = file, file.text.split("\n")
        self._bytes = [line.encode() for line in self.lines]

    def segment(self, node: ast.expr | None) -> str | None:
        if node is None or node.lineno != node.end_lineno:
            return None
        return self._bytes[node.lineno - 1][node.col_offset : node.end_col_offset].decode()

    def above(self, line: int) -> str | None:
        """The comment block that ends right above a line."""
        found: list[str] = []
        if everyday.heads_a_group(self.lines, line - 1):
            return None
        for text in reversed(self.lines[max(0, line - 9) : line - 1]):
            if not text.lstrip().startswith("#"):
                break
            found.append(text.strip().lstrip("#:! "))
        return "\n".join(reversed(found)) or None

    def behind(self, node: ast.expr | ast.stmt) -> str | None:
        rest = self._bytes[(node.end_lineno or node.lineno) - 1][node.end_col_offset or 0 :].decode()
        match = re.match(r"[\s,)]*#:? ?(.+)$", rest)
        return match[1] if match else None

    def block(self, body: list[ast.stmt], owner: str | None) -> None:
        """Module or class: constants and attributes with their words, functions, classes."""
        for i, node in enumerate(body):
            if isinstance(node, _Function):
                self.function(node, owner)
            elif isinstance(node, ast.ClassDef):
                said = ast.get_docstring(node)
                fails = any(re.search(r"(?:Error|Exception|Warning)$", self.segment(base) or "") for base in node.bases)
                everyday.describe_code(
                    self.file, said, node.name, "exception" if fails else "class", node.lineno, back=True
                )
                if said:
                    self.attributes(node, sections(said)[0])
                self.block(node.body, node.name)
            elif isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                following = body[i + 1] if i + 1 < len(body) else None
                self.assigned(target, node.value, node, following, owner)
                if isinstance(node.value, (ast.Dict, ast.Call)):
                    self.entries(node.value)
            elif isinstance(node, (ast.If, ast.Try)):
                self.block(node.body, owner)

    def assigned(
        self, target: ast.expr, value: ast.expr, node: ast.stmt, following: ast.stmt | None, owner: str | None
    ) -> None:
        if not isinstance(target, ast.Name) or target.id.startswith("__"):
            return
        what = "setting" if owner else "constant" if target.id.isupper() else "variable"
        below = following.value if isinstance(following, ast.Expr) else None
        options = [(self.above(node.lineno), False), (self.behind(node), True)]
        if isinstance(below, ast.Constant) and isinstance(below.value, str):
            options.insert(0, (below.value, True))
        said, back = next(((said, back) for said, back in options if clean(said)), (None, False))
        where = words_of_name(owner) if owner else ""
        text = self.segment(value)
        if isinstance(value, ast.Call) and value.args and re.search(r"Field$|field$", self.segment(value.func) or ""):
            text = self.segment(value.args[0])
            said = next((k.value.value for k in value.keywords if k.arg == "description" and isinstance(k.value, ast.Constant)
                         and isinstance(k.value.value, str)), said)  # fmt: skip
        everyday.describe_value(self.file, said, text, value.lineno, back=back, default=False, scope=where)
        everyday.describe_setting(self.file, said, target.id, what, node.lineno, back=back, scope=where)
        everyday.describe_name(self.file, target.id, text, value.lineno, scope=where)

    def attributes(self, node: ast.ClassDef, described: Described) -> None:
        """Fields that the class docstring describes and whose values its body gives."""
        for item in node.body:
            if isinstance(item, (ast.Assign, ast.AnnAssign)) and item.value:
                target = item.targets[0] if isinstance(item, ast.Assign) else item.target
                if isinstance(target, ast.Name) and (said := described.get(target.id)):
                    everyday.describe_value(self.file, said, self.segment(item.value), item.value.lineno, back=False,
                                            default=True, scope=words_of_name(node.name))  # fmt: skip

    def entries(self, node: ast.Dict | ast.Call) -> None:
        """Entries of a dictionary with a comment above or behind."""
        pairs = (zip(node.keys, node.values) if isinstance(node, ast.Dict) else [])  # fmt: skip
        for key, value in pairs:
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                above, behind = self.above(key.lineno), self.behind(value)
                said, back = (above, False) if clean(above) else (behind, True)
                everyday.describe_value(self.file, said, self.segment(value), value.lineno, back=back, default=False)
                everyday.describe_setting(self.file, said, key.value, "setting", key.lineno, back=back)
                if key.value.isupper() or "default" in self.lines[node.lineno - 1].lower():
                    everyday.describe_name(self.file, key.value, self.segment(value), value.lineno, default=True)

    def function(self, node: _Function, owner: str | None) -> None:
        decorators = {self.segment(item) or "" for item in node.decorator_list}
        what = "function" if owner is None else "property" if "property" in decorators else "method"
        where = everyday.place(node.name, owner)
        documentation = ast.get_docstring(node, clean=False)
        if not any("overload" in name for name in decorators):
            scope = words_of_name(owner) if owner else ""
            everyday.describe_code(self.file, documentation, node.name, what, node.lineno, back=True, scope=scope)
        parameters, raised = sections(documentation) if documentation else ({}, [])
        self.defaults(node, parameters, documentation, where)
        first = node.body[0].lineno
        for error, said, line in raised:
            clause = clean(
                re.sub(r"^(?:raised )?(?:if|when(?:ever)?|in case|on) ", "", said.strip(), flags=re.IGNORECASE)
            )
            if clause and is_clause(clause) and re.match(r"[A-Z]", error.rpartition(".")[2]):
                everyday.add(self.file, "everyday_error", {"c": clause}, error, first + line, back=True, scope=where)
        self.raised(node.body, None, where)
        self.environment(node, action(clean(documentation) or "x"))
        for item in node.body:
            if isinstance(item, _Function):
                self.function(item, None)

    def defaults(self, node: _Function, parameters: Described, documentation: str | None, where: str) -> None:
        positional = [*node.args.posonlyargs, *node.args.args]
        pairs = list(zip(positional[len(positional) - len(node.args.defaults) :], node.args.defaults))
        pairs += [(arg, value) for arg, value in zip(node.args.kwonlyargs, node.args.kw_defaults) if value]
        does = action(clean(documentation) or "x")
        for arg, default in pairs:
            said, back = parameters.get(arg.arg), True
            if not said and arg.lineno > node.lineno:
                said = self.behind(default) or self.above(arg.lineno)
            if not said and isinstance(arg.annotation, ast.Subscript) and "Doc(" in ast.unparse(arg.annotation):
                docs = [item.args[0] for item in ast.walk(arg.annotation) if isinstance(item, ast.Call) and item.args
                        and self.segment(item.func) == "Doc"]  # fmt: skip
                said = (
                    docs[0].value
                    if docs and isinstance(docs[0], ast.Constant) and isinstance(docs[0].value, str)
                    else None
                )
                back = False
            text = self.segment(default)
            if isinstance(default, ast.Call):
                # typer.Option(5, help="...") and its kin.
                text = self.segment(default.args[0]) if default.args else None
                said = said or next((str(item.value.value) for item in default.keywords if item.arg in ("help", "description")
                                     and isinstance(item.value, ast.Constant)), None)  # fmt: skip
            everyday.describe_value(self.file, said, text, default.lineno, back=back, default=True, scope=where)
            everyday.describe_name(self.file, arg.arg, text, default.lineno, default=True, scope=where)
            if does and text and PLAIN_VALUE.match(text) and len(does["d"].split()) <= 8 and len(arg.arg) > 2:
                if any(map(is_code_word, words_of_name(arg.arg).split())):
                    continue
                asked = f"{words_of_name(arg.arg)} to {does['d']}"
                everyday.add(self.file, "everyday_default", {"n": asked}, text, default.lineno, back=True)

    def raised(self, body: list[ast.stmt], test: ast.expr | None, where: str) -> None:
        """Errors with a message, and what the `if` around them says."""
        for item in body:
            if isinstance(item, ast.Raise) and isinstance(item.exc, ast.Call):
                error = self.segment(item.exc.func)
                if not error or not re.match(r"[A-Z]", error.rpartition(".")[2]):
                    continue
                message = self.message(item.exc.args[0]) if item.exc.args else ""
                clause = condition(test) if test is not None else None
                everyday.describe_error(self.file, message, error, item.exc.lineno, scope=where, clause=clause)
            elif isinstance(item, ast.If):
                self.raised(item.body, item.test, where)
                self.raised(item.orelse, None, where)
            elif isinstance(item, (ast.For, ast.While, ast.With, ast.AsyncWith, ast.AsyncFor, ast.Try)):
                self.raised(item.body, None, where)
                for handler in item.handlers if isinstance(item, ast.Try) else ():
                    self.raised(handler.body, None, where)

    def message(self, node: ast.expr) -> str:
        """The text between the quotes of a message on one line."""
        text = self.segment(node)
        if not text or not isinstance(node, (ast.Constant, ast.JoinedStr)):
            return ""
        match = re.fullmatch(r"[fFrRbB]?(['\"])(?!\1)(.*)\1", text)
        return match[2] if match and "\\" not in match[2] else ""

    def environment(self, node: ast.AST, does: Slots | None) -> None:
        """Environment variables read here, by the comment beside them, the name they are kept in, or the function."""
        found = [item for item in ast.walk(node) if (name := self.variable(item)) and name]
        for item in found:
            name, line = self.variable(item), getattr(item, "lineno", 1)
            if not name or name in everyday.COMMON_VARIABLES:
                continue
            above = self.above(line)
            kept = re.match(
                r"\s*(?:self\.)?(\w+)\s*(?::[^=]+)?=\s*(?:\w+\()?(?:os\.)?(?:environ|getenv)", self.lines[line - 1]
            )
            if clean(above):
                everyday.describe_setting(self.file, above, name, "environment variable", line, back=False)
            said = words_of_name(kept[1]).lower().split() if kept else []
            if kept and len(said) >= 2 and not any(is_code_word(word) or len(word) < 3 for word in said):
                slots = {"n": words_of_name(kept[1]), "what": "environment variable"}
                everyday.add(self.file, "everyday_name", slots, name, line, back=False)
            if kept and isinstance(item, ast.Call) and len(item.args) == 2:
                scope = words_of_name(getattr(node, "name", ""))
                everyday.describe_name(self.file, kept[1], self.segment(item.args[1]), line, default=True, scope=scope)
            short = (getattr(node, "end_lineno", line) or line) - line < 6
            if (
                does
                and len(found) == 1
                and short
                and not re.match(r"(?:return|get|find|compute|create|build|make)\b", does["d"])
            ):
                everyday.add(
                    self.file, "everyday_sets", {**does, "what": "environment variable"}, name, line, back=False
                )

    def variable(self, node: ast.AST) -> str | None:
        """The name of the environment variable that a node reads."""
        if isinstance(node, ast.Call) and (self.segment(node.func) or "").endswith(("environ.get", "getenv")):
            argument = node.args[0] if node.args else None
        elif isinstance(node, ast.Subscript) and (self.segment(node.value) or "").endswith("environ"):
            argument = node.slice
        else:
            return None
        return argument.value if isinstance(argument, ast.Constant) and isinstance(argument.value, str) else None

    def options(self, tree: ast.AST) -> None:
        """Command-line options of argparse, click, typer: the help text tells what they do."""
        for call in ast.walk(tree):
            if not isinstance(call, ast.Call):
                continue
            said = next((item.value for item in call.keywords if item.arg == "help"), None)
            variable = next((item.value for item in call.keywords if item.arg == "envvar"), None)
            if (
                isinstance(said, ast.Constant)
                and isinstance(variable, ast.Constant)
                and isinstance(variable.value, str)
            ):
                everyday.describe_setting(self.file, str(said.value), variable.value, "environment variable",
                                          variable.lineno, back=variable.lineno <= said.lineno)  # fmt: skip
            flags = [arg for arg in call.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
            flag = next((arg for arg in flags if re.match(r"--?[a-z][\w-]+(?:/--[\w-]+)?$", str(arg.value))), None)
            if flag is None or not isinstance(said, ast.Constant) or not isinstance(said.value, str):
                continue
            name = str(flag.value).partition("/")[0]
            everyday.describe_setting(self.file, said.value, name, "option", flag.lineno, back=True)
            for item in call.keywords:
                if item.arg == "default":
                    everyday.describe_value(self.file, said.value, self.segment(item.value), item.value.lineno,
                                            back=item.value.lineno <= said.lineno, default=True)  # fmt: skip


def python_words(file: FileFacts) -> None:
    """Add the everyday facts of a Python file; nothing if it does not parse."""
    if any(mark in file.text for mark in "\f\v\x1c\x1d\x1e\x85\u2028\u2029\r"):
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            tree = ast.parse(file.text)
    except (SyntaxError, ValueError, RecursionError):
        return
    reader = _Reader(file)
    reader.block(tree.body, None)
    reader.options(tree)
    for node in tree.body:
        if not isinstance(node, (*_Function.__args__, ast.ClassDef)):
            reader.environment(node, None)
