"""The command line of `gfqa eval`. Nothing here loads a model or torch: help, and errors in options, are there at once."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from gfqa.errors import UsageError

DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Where needles lie in a text, from its beginning to its end."""
TITLES = {
    "squad": "E1: SQuAD 1.1 dev, the paragraph alone",
    "squad-one-cache": "E2: SQuAD 1.1 dev, all articles in one cache",
    "squad-bm25": "E2's baseline: BM25 over the same paragraphs (extra eval)",
    "squad2": "E3a: SQuAD 2.0 dev, questions written to look answerable",
    "absent": "E3b: score of questions whose article is not in the cache",
    "unanswerable": "E3b, harder: the paragraph is missing, others of its article are there",
    "lookup": "E4a: look-up in unseen code (--repo)",
    "lookup-wording": "E4a in words written without sight of training's (--repo)",
    "handwritten": "E4b: questions written by hand about unseen code (--repo)",
    "needle": "E5: one needle in one long document",
    "needle-many": "E5: one needle among many documents",
    "needle-wording": "E5: one needle in one long document, worded as no training example is",
    "pairs": "E5: key-value lists",
    "pdf": "E6: PDFs made for the purpose",
    "loss": "E7: loss on held-out text by tokens of context",
}
"""Every measure (`measures.MEASURES`)."""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Options of the command; UsageError for a measure that there is not."""
    options = parser().parse_args(list(arguments))
    for name in options.measures:
        if name not in TITLES:
            raise UsageError(f"There is no measure {name!r}.", hint=f"Measures: {', '.join(TITLES)}.")
    return options


def parser() -> argparse.ArgumentParser:
    lines = [f"  {name:16} {title}" for name, title in TITLES.items()]
    made = argparse.ArgumentParser(
        prog="gfqa eval",
        description="Run named measures of a model, one result each, and a figure of each with --plots.",
        epilog="measures:\n" + "\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("measures", nargs="+", metavar="MEASURE")
    made.add_argument("--model", help="a model folder or name; default: the shipped reader")
    made.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    made.add_argument("--limit", type=int, help="at most this many questions, drawn with a fixed seed")
    made.add_argument("--batch", type=int, default=0, help="decode so many questions together; 0: through `gfqa ask`")
    made.add_argument("--no-reread", action="store_true", help="do not read the best passages again with the question")
    made.add_argument("--repo", type=Path, nargs="*", default=[], help="repositories for lookup, handwritten, loss")
    made.add_argument(
        "--haystack", type=Path, nargs="*", default=[], help="other repositories that fill the cache up to --tokens"
    )
    made.add_argument(
        "--tokens",
        type=int,
        nargs="+",
        default=[20_000],
        help="sizes of the cache for lookup and handwritten, in tokens",
    )
    made.add_argument(
        "--lengths", type=int, nargs="+", default=[4_096, 16_384], help="lengths for needle, pairs and loss, in tokens"
    )
    made.add_argument("--pages", type=int, nargs="+", default=[10, 40], help="sizes of the PDFs for pdf, in pages")
    made.add_argument("--trials", type=int, default=4, help="needles at each length and depth")
    made.add_argument(
        "--depths", type=_depth, nargs="+", default=[*DEPTHS], help="where needles lie in the text, 0 to 1"
    )
    made.add_argument("--articles", type=int, help="so many articles in the cache of absent; default: half of the 48")
    made.add_argument("--show", type=int, default=0, help="so many questions at random, with what was said to them")
    made.add_argument("--plots", type=Path, help="folder for PNG figures (needs matplotlib)")
    return made


def _depth(text: str) -> float:
    depth = float(text)
    if not 0 <= depth <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return depth
