"""`gfqa eval`: run named measures of a model, one JSON-able result each, and a figure of each with --plots."""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gfqa.errors import UsageError
from gfqa.evaluation import handwritten, lookup, loss, needle, pdfs, plots, squad, unanswerable
from gfqa.evaluation.answerer import AskAnswerer, BatchAnswerer
from gfqa.evaluation.options import TITLES, parse, parser
from gfqa.reader import open_model

Result = dict[str, Any]
Measure = Callable[[AskAnswerer, argparse.Namespace], dict[str, Any]]

MEASURES: dict[str, Measure] = {
    "squad": lambda a, o: squad.paragraphs(a, o.limit),
    "squad-one-cache": lambda a, o: squad.one_cache(a, o.limit),
    "squad-bm25": lambda a, o: squad.bm25_hits(o.limit),
    "squad2": lambda a, o: unanswerable.adversarial(a, o.limit),
    "absent": lambda a, o: unanswerable.absent_article(a, o.limit, o.articles),
    "unanswerable": lambda a, o: unanswerable.missing_document(a, o.limit),
    "lookup": lambda a, o: _each_repository(
        o, lambda repo, size: lookup.look_up(a, repo, size, o.limit or 400, _others(o, repo))
    ),
    "lookup-wording": lambda a, o: _each_repository(
        o, lambda repo, size: lookup.look_up(a, repo, size, o.limit or 400, _others(o, repo), "apart")
    ),
    "handwritten": lambda a, o: _each_repository(
        o, lambda repo, size: handwritten.handwritten(a, repo, size, o.limit, _others(o, repo))
    ),
    "needle": lambda a, o: needle.needles(a, o.lengths, o.trials, depths=o.depths),
    "needle-many": lambda a, o: needle.needles(a, o.lengths, o.trials, many=True, depths=o.depths),
    "needle-wording": lambda a, o: needle.needles(a, o.lengths, o.trials, new_wording=True, depths=o.depths),
    "pairs": lambda a, o: needle.pairs(a, tuple(o.lengths)),
    "pdf": lambda a, o: pdfs.pdfs(a, o.pages, o.limit or 40),
    "loss": lambda a, o: loss.by_context(a.reader, o.lengths, o.limit or 8, o.repo),
}


def _each_repository(options: argparse.Namespace, make: Callable[[Path, int], dict[str, Any]]) -> dict[str, Any]:
    if not options.repo:
        raise UsageError("This measure needs a repository.", hint="--repo FOLDER")
    return {f"{repo.name}@{tokens}": make(repo, tokens) for repo in options.repo for tokens in options.tokens}


def _others(options: argparse.Namespace, repo: Path) -> list[Path]:
    """The haystack without the repository that is asked about."""
    return [root for root in options.haystack if root.resolve() != repo.resolve()]


def measure(
    names: Sequence[str], model: str | Path | None = None, device: str = "auto", **options: Any
) -> list[Result]:
    """Run measures by name; each result is a JSON-able dict: measure, figures, seconds, model, device, command.

    Options are the long flags of the command, underscored. Raises UsageError for an unknown name.
    """
    flags = [str(word) for name, value in options.items() for word in _flag(name, value)]
    given = ["--model", str(model)] if model is not None else []
    return run(parse([*names, *given, "--device", device, *flags]))


def _flag(name: str, value: Any) -> list[Any]:
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return [flag] if value else []
    return [flag, *value] if isinstance(value, list | tuple) else [flag, value]


def run(options: argparse.Namespace, show: Callable[[Result], None] = lambda result: None) -> list[Result]:
    """What was asked for on the command line (`options.parse`): measure, `show` each result as it is done, draw the figures."""
    if options.plots is not None:
        plots.require()
    reader = open_model(options.model, options.device)
    answerer = (
        BatchAnswerer(reader, batch=options.batch)
        if options.batch > 0
        else AskAnswerer(reader, reread=not options.no_reread)
    )
    flags = {name: value for name, value in vars(options).items() if value not in (None, []) and name != "measures"}
    results = []
    for name in options.measures:
        make = MEASURES[name]
        began = time.monotonic()
        figures = _some(make(answerer, options), None if name == "handwritten" and not options.show else options.show)
        result: Result = {
            "schema": 1,
            "measure": name,
            "title": TITLES[name],
            "figures": figures,
            "seconds": round(time.monotonic() - began, 2),
            "model": reader.name,
            "model_identity": reader.identity.model,
            "device": reader.device,
            "options": {name: _plain(value) for name, value in flags.items()},
        }
        result["command"] = " ".join(["gfqa", "eval", name, *_command(flags)])
        results.append(result)
        show(result)
        if options.plots is not None:
            plots.draw(result["figures"], result["title"], options.plots / f"{result['measure']}.png")
    return results


def _some(figures: dict[str, Any], count: int | None) -> dict[str, Any]:
    """The figures with only `count` of the answers, drawn at random, in their order; None: all."""
    kept = {}
    for name, value in figures.items():
        if name == "answers" and count is not None:
            chosen = set(random.Random(2).sample(sorted(value), min(count, len(value))))
            value = {question: told for question, told in value.items() if question in chosen}
        elif isinstance(value, dict):
            value = _some(value, count)
        if value != {}:
            kept[name] = value
    return kept


def _plain(value: Any) -> Any:
    """An option's value as JSON holds it."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _command(flags: dict[str, Any]) -> list[str]:
    defaults = vars(parser().parse_args(["any"]))
    return [str(word) for name, value in flags.items() if value != defaults.get(name) for word in _flag(name, value)]
