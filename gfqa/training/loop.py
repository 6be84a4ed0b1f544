"""The training command: `gfqa train run -c FILE … [key=value …]`, or on several GPUs of one host

    torchrun --nproc-per-node N -m gfqa.training.loop -c FILE … [key=value …]

FILE is JSON, YAML or the name of a preset; later ones win. SIGTERM and SIGINT end the phase after the step under way: its
weights are written as they are, and its state, from which `--resume` goes on exactly where it was.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import torch.distributed as dist

from gfqa.errors import GfqaError
from gfqa.training.config import TrainConfig, load_config
from gfqa.training.trainer import Emit, Trainer, state_folder
from gfqa.training.weights import is_state


def loop_parser(prog: str = "gfqa.training.loop") -> argparse.ArgumentParser:
    """The flags of a phase."""
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-c", "--config", action="append", default=[], metavar="FILE", help="JSON, YAML or a preset")
    parser.add_argument("--minutes", type=float, help="the budget of the phase, compilation included")
    parser.add_argument("--out", help="folder for the weights")
    parser.add_argument("--shard-size", type=float, metavar="MB", help="largest weight file, in megabytes")
    parser.add_argument("--resume", type=Path, metavar="FOLDER", help="go on from a state written by this phase")
    parser.add_argument(
        "--restart",
        action="store_true",
        help="go on from OUT-state if it is there, within the same minutes: for a command that is tried again",
    )
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="settings, dotted inside groups")
    return parser


def config_of(options: argparse.Namespace) -> TrainConfig:
    """The configuration that the flags ask for; flags win over files and overrides."""
    config = load_config(options.config, options.overrides)
    for name in ("minutes", "out", "shard_size"):
        if getattr(options, name) is not None:
            setattr(config, name, getattr(options, name))
    return config


def train(config: TrainConfig, emit: Emit, resume: Path | None = None, restart: bool = False) -> bool:
    """Run a phase and write its weights, and its state too where it was told to stop; True where it came to its end.

    restart: from OUT-state, which a phase with `checkpoint_minutes` leaves when a process of it dies; the time lost counts.
    """
    state = state_folder(config)
    if restart and is_state(state):
        resume = state
    trainer = Trainer(config, emit, resume, restarted=restart)

    def stop(number: int, frame: FrameType | None) -> None:
        trainer.stop_asked = True

    before = [(number, signal.signal(number, stop)) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        done = trainer.run()
        trainer.save_weights()
        if not done:
            trainer.save_state(state)
    finally:
        for number, handler in before:
            signal.signal(number, handler)
        if dist.is_initialized():
            dist.destroy_process_group()
    return done


def main(arguments: Sequence[str] | None = None) -> int:
    """The module's command line; progress lines are JSON."""
    options = loop_parser().parse_intermixed_args(arguments)

    def emit(line: dict[str, Any]) -> None:
        print(json.dumps(line), flush=True)

    try:
        return 0 if train(config_of(options), emit, options.resume, options.restart) else 1
    except GfqaError as error:
        print(error.message, error.hint or "", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
