"""`gfqa train`: make the data, train a phase, make a model folder.

gfqa train data corpus|tokenizer|questions|pack|open …
gfqa train run -c FILE … [key=value …]
gfqa train release --weights DIR -c FILE --tokenizer FILE --out DIR
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gfqa.errors import UsageError
from gfqa.training.leaks import Held, held_out
from gfqa.training.packs import TEXT_PACKS, UNIT_PACKS, open_text, open_units

Emit = Callable[[dict[str, Any]], None]


def run(arguments: list[str], emit: Emit = lambda line: None) -> int:
    """The command: parse, work, `emit` a JSON-able dict for every step; returns the exit code.

    Raises GfqaError for what cannot be used, SystemExit for help and for flags that do not parse.
    """
    if arguments[:1] == ["run"]:
        return _phase(arguments[1:], emit)
    options = _parser().parse_args(list(arguments))
    code: int = options.use(options, emit)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gfqa train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    data = commands.add_parser("data", help="text, tokenizer, question sets, packs").add_subparsers(
        required=True, metavar="STEP"
    )

    corpus = data.add_parser("corpus", help="bare repositories and published sets to text shards")
    corpus.add_argument("--mirror", type=Path, required=True, help="<owner>+<name>/repo bare git directories")
    corpus.add_argument("--ready", type=Path, required=True, help="published question sets (*.jsonl.xz)")
    corpus.add_argument("--workers", type=int, default=2)
    tokenizer = data.add_parser("tokenizer", help="a vocabulary from text shards")
    tokenizer.add_argument("--corpus", type=Path, required=True)
    tokenizer.add_argument("--kind", choices=("bpe", "unigram"), default="bpe")
    tokenizer.add_argument("--sample-mb", type=float, default=36.0)
    questions = data.add_parser("questions", help="question sets from published sets, repositories and shards")
    questions.add_argument("--code", type=Path, help="repositories, one folder each (owner__name)")
    questions.add_argument("--corpus", type=Path, help="text shards, for questions about documentation")
    questions.add_argument("--only", nargs="*", default=[], metavar="SET")
    pack = data.add_parser("pack", help="text shards and question sets to packs, tokenised")
    pack.add_argument("--corpus", type=Path, help="text shards")
    pack.add_argument("--questions", type=Path, help="question sets")
    pack.add_argument("--tokenizer", type=Path, required=True)
    for step in (questions, pack):
        step.add_argument("--ready", type=Path, required=True, help="published sets; those of the evaluation too")
        step.add_argument("--held-out", type=Path, required=True, help="repositories kept for the evaluation")
    opened = data.add_parser("open", help="packs to the folders that training maps into memory")
    opened.add_argument("--packs", type=Path, nargs="+", required=True)
    for step in (corpus, tokenizer, questions, pack, opened):
        step.add_argument("--out", type=Path, required=True)
    uses = {corpus: _corpus, tokenizer: _tokenizer, questions: _questions, pack: _pack, opened: _open}

    # Its flags are the loop's, whose module loads torch: the help of the other steps must not wait for that.
    commands.add_parser("run", help="train a phase (gfqa train run --help)")
    release = commands.add_parser("release", help="a model folder from the weights of a phase")
    release.add_argument("--weights", type=Path, required=True)
    release.add_argument("-c", "--config", action="append", default=[], metavar="FILE")
    release.add_argument("--tokenizer", type=Path, required=True)
    release.add_argument("--average", type=Path, metavar="DIR", help="write the mean of these weights and those")
    release.add_argument("--out", type=Path, required=True)
    for step, use in (uses | {release: _release}).items():
        step.set_defaults(use=use)
    return parser


def _held(options: argparse.Namespace) -> Held:
    held = held_out(options.ready, options.held_out)
    if not held.questions or not any("/" in name and ":" not in name for name in held.names):
        raise UsageError(
            f"{options.ready} and {options.held_out} do not hold the evaluation's sets and repositories.",
            hint="Without them nothing can be kept out of the training data.",
        )
    return held


def _corpus(options: argparse.Namespace, emit: Emit) -> int:
    from gfqa.training.corpus import build

    manifest = build(options.mirror, options.ready, options.out, options.workers)
    emit({key: value for key, value in manifest.items() if key != "sources"})
    return 0


def _tokenizer(options: argparse.Namespace, emit: Emit) -> int:
    from gfqa.training.tokenizer import measure, train

    train(options.corpus, options.out, options.kind, options.sample_mb)
    emit({"tokenizer": str(options.out), **measure(options.corpus, options.out)})
    return 0


def _questions(options: argparse.Namespace, emit: Emit) -> int:
    from gfqa.training.questions.sets import write_sets

    sources = {"ready": options.ready, "code": options.code, "corpus": options.corpus}
    write_sets(options.out, _held(options), **sources, only=options.only, show=emit)
    return 0


def _pack(options: argparse.Namespace, emit: Emit) -> int:
    from gfqa.training.text_packs import pack_texts
    from gfqa.training.unit_packs import pack_units

    if options.corpus is None and options.questions is None:
        raise UsageError("There is nothing to pack.", hint="--corpus FOLDER, --questions FOLDER or both.")
    held = _held(options)
    if options.corpus is not None:
        pack_texts(options.corpus, options.tokenizer, held, options.out, emit)
    if options.questions is not None:
        pack_units(options.questions, options.tokenizer, held, options.out, emit)
    return 0


def _open(options: argparse.Namespace, emit: Emit) -> int:
    texts = sorted(path for folder in options.packs for path in folder.glob(TEXT_PACKS))
    units = sorted(path for folder in options.packs for path in folder.glob(UNIT_PACKS))
    if not texts and not units:
        raise UsageError(f"{options.packs[0]} holds no {TEXT_PACKS} and no {UNIT_PACKS}.")
    if texts:
        emit({"tokens": open_text(texts, options.out / "tokens"), "packs": len(texts)})
    if units:
        emit({"units": open_units(units, options.out / "units"), "packs": len(units)})
    return 0


def _phase(arguments: Sequence[str], emit: Emit) -> int:
    from gfqa.training.loop import config_of, loop_parser, train

    options = loop_parser("gfqa train run").parse_intermixed_args(list(arguments))
    return 0 if train(config_of(options), emit, options.resume, options.restart) else 1


def _release(options: argparse.Namespace, emit: Emit) -> int:
    from gfqa.training.config import load_config
    from gfqa.training.release import release

    model = load_config(options.config).model
    emit(release(options.weights, model, options.tokenizer, options.out, options.average))
    return 0
