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
from gfqa.reader import open_model

Result = dict[str, Any]
Measure = Callable[[AskAnswerer, argparse.Namespace], dict[str, Any]]

MEASURES: dict[str, tuple[str, Measure]] = {
    "squad": ("E1: SQuAD 1.1 dev, the paragraph alone", lambda a, o: squad.paragraphs(a, o.limit)),
    "squad-one-cache": ("E2: SQuAD 1.1 dev, all articles in one cache", lambda a, o: squad.one_cache(a, o.limit)),
    "squad-bm25": ("E2's baseline: BM25 over the same paragraphs (extra eval)", lambda a, o: squad.bm25_hits(o.limit)),
    "squad2": (
        "E3a: SQuAD 2.0 dev, questions written to look answerable",
        lambda a, o: unanswerable.adversarial(a, o.limit),
    ),
    "absent": (
        "E3b: score of questions whose article is not in the cache",
        lambda a, o: unanswerable.absent_article(a, o.limit, o.articles),
    ),
    "unanswerable": (
        "E3b, harder: the paragraph is missing, others of its article are there",
        lambda a, o: unanswerable.missing_document(a, o.limit),
    ),
    "lookup": (
        "E4a: look-up in unseen code (--repo)",
        lambda a, o: _each_repository(
            o, lambda repo, size: lookup.look_up(a, repo, size, o.limit or 400, _others(o, repo))
        ),
    ),
    "lookup-wording": (
        "E4a in words written without sight of training's (--repo)",
        lambda a, o: _each_repository(
            o, lambda repo, size: lookup.look_up(a, repo, size, o.limit or 400, _others(o, repo), "apart")
        ),
    ),
    "handwritten": (
        "E4b: questions written by hand about unseen code (--repo)",
        lambda a, o: _each_repository(
            o, lambda repo, size: handwritten.handwritten(a, repo, size, o.limit, _others(o, repo))
        ),
    ),
    "needle": (
        "E5: one needle in one long document",
        lambda a, o: needle.needles(a, o.lengths, o.trials, depths=o.depths),
    ),
    "needle-many": (
        "E5: one needle among many documents",
        lambda a, o: needle.needles(a, o.lengths, o.trials, many=True, depths=o.depths),
    ),
    "needle-wording": (
        "E5: one needle in one long document, worded as no training example is",
        lambda a, o: needle.needles(a, o.lengths, o.trials, new_wording=True, depths=o.depths),
    ),
    "pairs": ("E5: key-value lists", lambda a, o: needle.pairs(a, tuple(o.lengths))),
    "pdf": ("E6: PDFs made for the purpose", lambda a, o: pdfs.pdfs(a, o.pages, o.limit or 40)),
    "loss": (
        "E7: loss on held-out text by tokens of context",
        lambda a, o: loss.by_context(a.reader, o.lengths, o.limit or 8, o.repo),
    ),
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
    return _run(_parser().parse_args([*names, *given, "--device", device, *flags]))


def _flag(name: str, value: Any) -> list[Any]:
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return [flag] if value else []
    return [flag, *value] if isinstance(value, list | tuple) else [flag, value]


def run(arguments: Sequence[str], show: Callable[[Result], None] = lambda result: None) -> list[Result]:
    """The command: parse, measure, `show` each result as it is done, draw the figures asked for."""
    options = _parser().parse_args(list(arguments))

    def done(result: Result) -> None:
        show(result)
        if options.plots is not None:
            plots.draw(result["figures"], result["title"], options.plots / f"{result['measure']}.png")

    return _run(options, done)


def _parser() -> argparse.ArgumentParser:
    lines = [f"  {name:16} {title}" for name, (title, _) in MEASURES.items()]
    parser = argparse.ArgumentParser(
        prog="gfqa eval",
        description=__doc__,
        epilog="measures:\n" + "\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("measures", nargs="+", metavar="MEASURE")
    parser.add_argument("--model", help="a model folder or name; default: the shipped reader")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--limit", type=int, help="at most this many questions, drawn with a fixed seed")
    parser.add_argument("--batch", type=int, default=0, help="decode so many questions together; 0: through `gfqa ask`")
    parser.add_argument(
        "--no-reread", action="store_true", help="do not read the best passages again with the question"
    )
    parser.add_argument("--repo", type=Path, nargs="*", default=[], help="repositories for lookup, handwritten, loss")
    parser.add_argument(
        "--haystack", type=Path, nargs="*", default=[], help="other repositories that fill the cache up to --tokens"
    )
    parser.add_argument(
        "--tokens",
        type=int,
        nargs="+",
        default=[20_000],
        help="sizes of the cache for lookup and handwritten, in tokens",
    )
    parser.add_argument(
        "--lengths", type=int, nargs="+", default=[4_096, 16_384], help="lengths for needle, pairs and loss, in tokens"
    )
    parser.add_argument("--pages", type=int, nargs="+", default=[10, 40], help="sizes of the PDFs for pdf, in pages")
    parser.add_argument("--trials", type=int, default=4, help="needles at each length and depth")
    parser.add_argument(
        "--depths", type=_depth, nargs="+", default=[*needle.DEPTHS], help="where needles lie in the text, 0 to 1"
    )
    parser.add_argument("--articles", type=int, help="so many articles in the cache of absent; default: half of the 48")
    parser.add_argument("--show", type=int, default=0, help="so many questions at random, with what was said to them")
    parser.add_argument("--plots", type=Path, help="folder for PNG figures (needs matplotlib)")
    return parser


def _depth(text: str) -> float:
    depth = float(text)
    if not 0 <= depth <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return depth


def _run(options: argparse.Namespace, on_result: Callable[[Result], None] = lambda result: None) -> list[Result]:
    for name in options.measures:
        if name not in MEASURES:
            raise UsageError(f"There is no measure {name!r}.", hint=f"Measures: {', '.join(MEASURES)}.")
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
        title, make = MEASURES[name]
        began = time.monotonic()
        figures = _some(make(answerer, options), None if name == "handwritten" and not options.show else options.show)
        result: Result = {
            "schema": 1,
            "measure": name,
            "title": title,
            "figures": figures,
            "seconds": round(time.monotonic() - began, 2),
            "model": reader.name,
            "model_identity": reader.identity.model,
            "device": reader.device,
            "options": {name: _plain(value) for name, value in flags.items()},
        }
        result["command"] = " ".join(["gfqa", "eval", name, *_command(flags)])
        results.append(result)
        on_result(result)
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
    defaults = vars(_parser().parse_args(["any"]))
    return [str(word) for name, value in flags.items() if value != defaults.get(name) for word in _flag(name, value)]
