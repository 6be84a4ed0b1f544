"""Make a model folder from training weights: int8 matrices, the configuration, the tokenizer.

`python -m gfqa.training.release --weights DIR -c reader.json --tokenizer FILE --out DIR` prints the bytes of each file.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from gfqa.model.checkpoint import build, save_model
from gfqa.model.config import ModelConfig
from gfqa.training.weights import load_weights

MOST_BYTES = 32_000_000
"""What a shipped reader may weigh in all."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("-c", "--config", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    config = ModelConfig.from_dict(json.loads(arguments.config.read_text())["model"])
    model = build(config, load_weights(arguments.weights))
    save_model(model, arguments.out, quantise=True)
    target = arguments.out / config.tokenizer
    if target.resolve() != arguments.tokenizer.resolve():
        shutil.copyfile(arguments.tokenizer, target)
    sizes = {path.name: path.stat().st_size for path in sorted(arguments.out.iterdir()) if path.is_file()}
    total = sum(sizes.values())
    print(json.dumps({**sizes, "total": total}))
    if total > MOST_BYTES:
        raise SystemExit(f"{total} bytes are more than the {MOST_BYTES} a shipped reader may have")


if __name__ == "__main__":
    main()
