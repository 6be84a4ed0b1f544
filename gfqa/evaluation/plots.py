"""Figures of the evaluation as PNG; needs matplotlib (the extra `eval`)."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gfqa.errors import UsageError


def require() -> None:
    """UsageError where matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        raise UsageError("Figures need the package matplotlib.", hint="Install it with: pip install 'gfqa[eval]'")


def draw(figures: dict[str, Any], title: str, path: Path) -> None:
    """The figure of one result: a heat map of `cells`, a line of `curve`, else bars of the numbers at the top."""
    from matplotlib import pyplot

    if cells := figures.get("cells"):
        figure = _heat_map(cells)
    elif curve := figures.get("curve"):
        figure = _line(curve)
    else:
        figure = _bars(figures)
    figure.axes[0].set_title(title, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def _heat_map(cells: dict[str, float]) -> Any:
    """Recall in percent by length (columns) and depth (rows); `cells` maps "length@depth" to recall."""
    from matplotlib import pyplot

    lengths = sorted({int(cell.split("@")[0]) for cell in cells})
    depths = sorted({cell.split("@")[1] for cell in cells})
    grid = [[cells[f"{length}@{depth}"] for length in lengths] for depth in depths]
    figure, axes = pyplot.subplots(figsize=(1.2 + 0.9 * len(lengths), 3.2), layout="constrained")
    axes.imshow(grid, vmin=0, vmax=100, cmap="viridis", aspect="auto")
    axes.set_xticks(range(len(lengths)), [f"{length:,}" for length in lengths])
    axes.set_yticks(range(len(depths)), [f"{float(depth):.0%}" for depth in depths])
    axes.set_xlabel("tokens")
    axes.set_ylabel("depth")
    for row, values in enumerate(grid):
        for column, value in enumerate(values):
            shade = "black" if value > 60 else "white"
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", color=shade)
    return figure


def _line(curve: dict[str, float]) -> Any:
    """Loss in nats a token by tokens of context."""
    from matplotlib import pyplot

    lengths = sorted(map(int, curve))
    figure, axes = pyplot.subplots(figsize=(5, 3.2), layout="constrained")
    axes.plot(lengths, [curve[str(length)] for length in lengths], marker="o")
    axes.set_xscale("symlog", base=2, linthresh=512)
    axes.set_xticks(lengths, [f"{length:,}" for length in lengths], rotation=45)
    axes.set_xlabel("tokens of context")
    axes.set_ylabel("loss, nats a token")
    return figure


def _bars(figures: dict[str, Any]) -> Any:
    """Percentages and areas at the top, and in each group (lookup's repositories, the sizes of PDFs) side by side."""
    from matplotlib import pyplot

    rows = _numbers(figures)
    for name, value in figures.items():
        if isinstance(value, dict) and name not in ("by_kind", "answers"):
            rows += [(f"{name} {inner}", number) for inner, number in _numbers(value)]
    figure, axes = pyplot.subplots(figsize=(6, 0.6 + 0.24 * len(rows)), layout="constrained")
    axes.barh([name for name, _ in rows], [value for _, value in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("percent (areas under the curve times 100)")
    return figure


def _numbers(figures: dict[str, Any]) -> list[tuple[str, float]]:
    """(name, percent) of the figures that are percentages; those of 0..1 (auroc, scores) times 100."""
    of_one = ("auroc", "score_", "best_threshold")
    return [
        (name, 100 * value if name.startswith(of_one) else value)
        for name, value in figures.items()
        if isinstance(value, float)
    ]
