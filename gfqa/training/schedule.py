"""What a phase does when: its learning rate, and the share of its steps that each kind of rows has."""

from __future__ import annotations

from gfqa.training.config import TrainConfig


def rate_factor(config: TrainConfig, step: int, progress: float) -> float:
    """Warm-up by steps, then constant, then linear to `final_factor` over the last `cooldown` of the phase."""
    falling = min(1.0, (1 - progress) / max(config.cooldown, 1e-9))
    factor = config.final_factor + (1 - config.final_factor) * max(falling, 0.0)
    return config.peak_factor * factor * min(1.0, (step + 1) / max(config.warmup_steps, 1))


def shares(config: TrainConfig, progress: float) -> dict[str, float]:
    """The share of steps on each kind of rows at this point of the phase, 0..1 each and 1 together."""

    def moved(start: float, end: float | None) -> float:
        return start if end is None else start + (end - start) * min(progress, 1.0)

    asked = {
        "language": moved(config.language_share, config.language_share_end) if config.language_rows else 0.0,
        "passages": moved(config.passage_share, config.passage_share_end) if config.passage_rows else 0.0,
    }
    rest = 1 - sum(asked.values())
    if config.question_rows:
        return {**asked, "questions": max(rest, 0.0)}
    # Without question rows the others share all.
    if config.language_rows:
        return {**asked, "language": 1 - asked["passages"], "questions": 0.0}
    return {"language": 0.0, "passages": 1.0, "questions": 0.0}
