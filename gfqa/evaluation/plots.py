"""Figures of the evaluation as PNG; needs matplotlib (the extra `eval`)."""

from __future__ import annotations

from pathlib import Path


def heat_map(cells: dict[str, float], title: str, path: Path) -> None:
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
    axes.set_title(title)
    for row, values in enumerate(grid):
        for column, value in enumerate(values):
            shade = "black" if value > 60 else "white"
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", color=shade)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
