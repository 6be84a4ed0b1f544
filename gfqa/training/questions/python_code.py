"""Facts of a Python file, read from its syntax tree."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator

from gfqa.training.questions.facts import FileFacts, comment_words, sentence_of
from gfqa.training.questions.sentences import purpose

_Function = ast.FunctionDef | ast.AsyncFunctionDef


class _Source:
    """Verbatim pieces of the file by node (columns of the tree are UTF-8 bytes)."""

    def __init__(self, text: str) -> None:
        self.lines = [line.encode() for line in text.splitlines(keepends=True)]

    def segment(self, node: ast.expr | ast.stmt | None) -> str | None:
        """The text of a node standing on one line, else None."""
        if node is None or node.lineno != node.end_lineno:
            return None
        return self.lines[node.lineno - 1][node.col_offset : node.end_col_offset].decode()

    def line(self, number: int) -> str:
        return self.lines[number - 1].decode().strip()


def python_facts(path: str, text: str) -> FileFacts:
    """All facts of one file; none if it does not parse."""
    file = FileFacts(path, text)
    # Form feeds and lone carriage returns end lines for splitlines but not for the parser.
    if any(mark in text for mark in "\f\v\x1c\x1d\x1e\x85\u2028\u2029") or "\r" in text.replace("\r\n", ""):
        return file
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return file
    source = _Source(text)
    _module(file, source, tree)
    for node in tree.body:
        if isinstance(node, _Function):
            _function(file, source, node, None)
        elif isinstance(node, ast.ClassDef):
            _class(file, source, node)
    _options(file, source, tree)
    return file


def _module(file: FileFacts, source: _Source, tree: ast.Module) -> None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            _constant(file, source, node.targets[0].id, node.value)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            _constant(file, source, node.target.id, node.value)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                file.add("imported_by", {"m": alias.name}, file.path, node.lineno)
        elif isinstance(node, ast.ImportFrom) and node.module:
            file.add("imported_by", {"m": "." * node.level + node.module}, file.path, node.lineno)
            line = source.segment(node)
            if line and " import " in line and "(" not in line:
                names = line.split(" import ", 1)[1]
                file.add("imports_from", {"m": "." * node.level + node.module}, names, node.lineno)


def _constant(file: FileFacts, source: _Source, name: str, value: ast.expr) -> None:
    if name.startswith("__"):
        return
    text = source.segment(value)
    if text and len(text) <= 100:
        file.add("constant", {"name": name}, text, value.lineno)
        if said := comment_words(source.line(value.lineno - 1) if value.lineno > 1 else "", "#"):
            file.add("comment_value", {"d": said}, text, value.lineno)
    if name.isupper():
        file.add("where", {"name": name, "what": "constant"}, file.path, value.lineno)
    if isinstance(value, ast.Dict):
        for key, item in zip(value.keys, value.values):
            if isinstance(key, ast.Constant) and isinstance(key.value, str) and (found := source.segment(item)):
                file.add("config", _dict_names(name, key.value), found, item.lineno)


def _dict_names(name: str, key: str) -> list[dict[str, str]]:
    return [{"key": f'{name}["{key}"]'}, {"key": f"{key} in {name}"}]


def _class(file: FileFacts, source: _Source, node: ast.ClassDef) -> None:
    c, what = node.name, "class"
    file.add("where", {"name": c, "what": what}, file.path, node.lineno)
    file.add("definition", {"name": c, "what": what}, source.line(node.lineno), node.lineno)
    if node.bases:
        bases = [source.segment(base) for base in node.bases]
        if all(bases) and node.bases[0].lineno == node.bases[-1].lineno:
            first, last = node.bases[0], node.bases[-1]
            row = source.lines[first.lineno - 1]
            file.add("base_class", {"c": c}, row[first.col_offset : last.end_col_offset].decode(), first.lineno)
    _documentation(file, node, [{"f": c}], c, what)
    _decorators(file, source, node, [{"f": c}])
    for item in node.body:
        if isinstance(item, _Function):
            _function(file, source, item, c)
            if not item.name.startswith("__"):
                file.add("method_of", {"name": item.name}, c, item.lineno)
        elif isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            slots = {"name": item.target.id, "c": c}
            file.add("field_type", slots, source.segment(item.annotation), item.lineno)
            if item.value:
                file.add("attribute", slots, source.segment(item.value), item.value.lineno)
        elif isinstance(item, ast.Assign) and len(item.targets) == 1:
            target = item.targets[0]
            if isinstance(target, ast.Name) and not target.id.startswith("__"):
                file.add("attribute", {"name": target.id, "c": c}, source.segment(item.value), item.value.lineno)


def _names(node: _Function, owner: str | None, call: bool = True) -> list[str]:
    """Ways to name a function: bare, with its class; dunders only with their class."""
    end = "()" if call else ""
    if owner is None:
        return [node.name, node.name + end] if call else [node.name]
    if node.name == "__init__":
        return [f"{owner}.__init__", f"the constructor of {owner}", f"{owner}{end}"]
    qualified = [f"{owner}.{node.name}", f"{node.name} in {owner}", f"{owner}.{node.name}{end}"]
    return qualified if node.name.startswith("__") else [node.name, f"{node.name}{end}", *qualified]


def _function(file: FileFacts, source: _Source, node: _Function, owner: str | None) -> None:
    names = _names(node, owner)
    subjects = [{"f": name} for name in names]
    what = "function" if owner is None else "method"
    if owner is None:
        file.add("where", [{"name": name, "what": what} for name in names], file.path, node.lineno)
    file.add("definition", [{"name": name, "what": what} for name in names], source.line(node.lineno), node.lineno)
    _signature(file, source, node, subjects)
    _documentation(file, node, subjects, node.name, what)
    _decorators(file, source, node, subjects)
    _body(file, source, node, subjects)


def _signature(file: FileFacts, source: _Source, node: _Function, subjects: list[dict[str, str]]) -> None:
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    pairs = list(zip(positional[len(positional) - len(arguments.defaults) :], arguments.defaults))
    pairs += [(arg, default) for arg, default in zip(arguments.kwonlyargs, arguments.kw_defaults) if default]
    for arg, default in pairs:
        slots = [{**subject, "p": arg.arg} for subject in subjects]
        file.add("param_default", slots, source.segment(default), default.lineno)
    everything = [*positional, *arguments.kwonlyargs]
    for arg in everything:
        if arg.annotation:
            slots = [{**subject, "p": arg.arg} for subject in subjects]
            file.add("param_type", slots, source.segment(arg.annotation), arg.annotation.lineno)
    row = source.line(node.lineno)
    if row.endswith(":") and "(" in row and everything:
        inside = row[row.index("(") + 1 : row.rindex(")")] if ")" in row else ""
        if node.returns and (returns := source.segment(node.returns)) and "->" in row:
            inside = row[row.index("(") + 1 : row.rindex(")", 0, row.rindex("->"))]
            file.add("return_type", subjects, returns, node.lineno)
        if inside not in ("", "self", "cls"):
            file.add("params", subjects, inside, node.lineno)
    elif node.returns:
        file.add("return_type", subjects, source.segment(node.returns), node.returns.lineno)


def _documentation(
    file: FileFacts, node: _Function | ast.ClassDef, subjects: list[dict[str, str]], name: str, what: str
) -> None:
    sentence = sentence_of(ast.get_docstring(node))
    if sentence:
        file.add("docstring", subjects, sentence, node.body[0].lineno)
        file.add("doc_to_name", {"d": sentence.rstrip("."), "what": what}, name, node.lineno)
        if said := purpose(sentence):
            file.add("purpose", {**said, "what": what}, name, node.lineno)
            file.add("purpose_where", said, file.path, node.lineno)


def _decorators(
    file: FileFacts, source: _Source, node: _Function | ast.ClassDef, subjects: list[dict[str, str]]
) -> None:
    text = source.segment(node.decorator_list[0]) if len(node.decorator_list) == 1 else None
    if text not in ("property", "staticmethod", "classmethod"):
        file.add("decorator", subjects, text, node.decorator_list[0].lineno if text else 0)


def _own_nodes(node: _Function) -> Iterator[ast.AST]:
    """The nodes of a function's body without those of functions and classes inside it."""
    queue: list[ast.AST] = list(node.body)
    while queue:
        item = queue.pop()
        yield item
        if not isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            queue.extend(ast.iter_child_nodes(item))


def _body(file: FileFacts, source: _Source, node: _Function, subjects: list[dict[str, str]]) -> None:
    nodes = list(_own_nodes(node))
    returned = [item for item in nodes if isinstance(item, ast.Return) and item.value]
    if len(returned) == 1 and (text := source.segment(returned[0].value)) and len(text) <= 100:
        file.add("returns", subjects, text, returned[0].lineno)
    calls = [item for item in nodes if isinstance(item, ast.Call)]
    called = {source.segment(item.func) for item in calls}
    if len(called) == 1 and (callee := called.pop()):
        file.add("calls", subjects, callee, calls[0].lineno)
    for call in calls:
        callee = source.segment(call.func)
        if callee and sum(source.segment(other.func) == callee for other in calls) == 1:
            for keyword in call.keywords:
                if keyword.arg and (text := source.segment(keyword.value)) and text != keyword.arg:
                    slots = [{**subject, "p": keyword.arg, "g": callee} for subject in subjects]
                    file.add("keyword", slots, text, keyword.value.lineno)
    assigned: dict[str, list[ast.expr]] = {}
    for item in nodes:
        if (
            isinstance(item, ast.Assign)
            and len(item.targets) == 1
            and isinstance(item.targets[0], (ast.Name, ast.Attribute))
        ):
            name = source.segment(item.targets[0])
            if name:
                assigned.setdefault(name, []).append(item.value)
    for name, values in assigned.items():
        text = source.segment(values[0])
        if len(values) == 1 and text and len(text) <= 100 and text != name.rpartition(".")[2]:
            file.add("local", [{**subject, "name": name} for subject in subjects], text, values[0].lineno)
    _raises(file, source, node, [item for item in nodes if isinstance(item, ast.Raise)], subjects)


def _raises(
    file: FileFacts, source: _Source, node: _Function, raised: list[ast.Raise], subjects: list[dict[str, str]]
) -> None:
    errors = [item.exc for item in raised if isinstance(item.exc, ast.Call)]
    kinds = {source.segment(error.func) for error in errors}
    if len(kinds) == 1 and (kind := kinds.pop()):
        file.add("raises", subjects, kind, errors[0].lineno)
    for error in errors:
        for argument in error.args:
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str) and " " in argument.value:
                if len(errors) == 1:
                    file.add("message", subjects, argument.value, argument.lineno)
                if 15 <= len(argument.value) <= 120 and "\n" not in argument.value:
                    file.add("raised_by", {"d": argument.value}, node.name, node.lineno)


def _options(file: FileFacts, source: _Source, tree: ast.Module) -> None:
    """Command-line options of argparse, click and their kin: first string that starts with dashes, default=, help=."""
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        flags = [arg.value for arg in call.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        flag = next((flag for flag in flags if flag.startswith("--") and " " not in flag), None)
        if not flag:
            continue
        for keyword in call.keywords:
            if keyword.arg == "default":
                file.add("option_default", {"name": flag}, source.segment(keyword.value), keyword.value.lineno)
            elif (
                keyword.arg == "help"
                and isinstance(keyword.value, ast.Constant)
                and isinstance(keyword.value.value, str)
            ):
                file.add("option_help", {"name": flag}, keyword.value.value, keyword.value.lineno)
