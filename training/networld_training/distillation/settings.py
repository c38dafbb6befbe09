"""How a distilled denoiser is made."""

from __future__ import annotations

from dataclasses import dataclass

from networld_runtime.errors import check_values


@dataclass(frozen=True)
class DistillationSettings:
    """How a distilled denoiser is made.

    Attributes:
        hidden: Hidden width of the network.
        lessons: Plans of the full denoiser that it learns from, for each task.
        teacher_steps: Denoising steps of each of those plans.
        steps: Optimiser steps.
        batch: Plans of each task in a batch.
        learning_rate: Highest learning rate; it falls along a cosine.
        average: Decay of the averaged weights, which are what is kept.
        largest_scale: Guidance scales are drawn between 0 and this.
        without_guidance: Share of the plans with scale 0.
        from_noise: Share of a batch that starts where plans start; the others are on their way.
        coolest: Least temperature of the noise that a lesson starts from, as a share of the task's own.
        hottest: Greatest.

    Raises:
        ConfigError: A value is out of range; lists all of them.
    """

    hidden: int = 256
    lessons: int = 24_000
    teacher_steps: int = 10
    steps: int = 5_000
    batch: int = 512
    learning_rate: float = 1e-3
    average: float = 0.998
    largest_scale: float = 0.6
    without_guidance: float = 0.1
    from_noise: float = 0.5
    coolest: float = 0.75
    hottest: float = 1.25

    def __post_init__(self) -> None:
        check_values(
            "distillation settings",
            self,
            (
                ("hidden", self.hidden >= 1, "at least 1"),
                ("lessons", self.lessons >= 1, "at least 1"),
                ("teacher_steps", 1 <= self.teacher_steps <= 100, "1 to 100"),
                ("steps", self.steps >= 1, "at least 1"),
                ("batch", self.batch >= 1, "at least 1"),
                ("learning_rate", 0 < self.learning_rate < 1, "between 0 and 1"),
                ("average", 0 <= self.average < 1, "0 up to, not including, 1"),
                ("largest_scale", 0 < self.largest_scale <= 10, "above 0, at most 10"),
                ("without_guidance", 0 <= self.without_guidance <= 1, "0 to 1"),
                ("from_noise", 0 <= self.from_noise <= 1, "0 to 1"),
                ("coolest", 0 < self.coolest <= self.hottest, "above 0, at most hottest"),
                ("hottest", self.hottest <= 10, "at most 10"),
            ),
        )


PRESETS = {
    "default": DistillationSettings(),
    "tiny": DistillationSettings(hidden=32, lessons=256, teacher_steps=2, steps=60, batch=64),
}
"""`tiny` runs the whole path in seconds; what it makes is not good for anything but that."""
