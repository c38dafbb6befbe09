"""Training settings and their presets."""

from __future__ import annotations

from dataclasses import dataclass, field

from networld_runtime.errors import check_values
from networld_training.model.credit import CreditSize
from networld_training.model.world_model import ModelSize


@dataclass(frozen=True)
class TrainingSettings:
    """How a world model is trained.

    Attributes:
        steps: Optimiser steps of world model and policy.
        credit_steps: Optimiser steps of the credit models, before those.
        windows: Windows of a batch; each holds all cells of an episode.
        starts: Plans that start in a window, for each cell.
        plans: Plans of a batch that the denoiser learns from, drawn from all starts.
        learning_rate: Peak of a one-cycle schedule that ends near zero.
        weight_decay: AdamW's weight decay.
        gradient_norm: Largest gradient norm.
        average: Decay of the moving average of the weights, which is what gets exported.
        message_loss: Share of the cells that train under message loss.
        imagined: Alternatives of each cell that are asked for in a batch, in as many networks as they are
            enough for; a number has two, itself and none.
        ranked: Windows of a batch that the classifier learns from.
        temperature: What a choice loses, in typical credits, that the policy draws e times less often
            than the best one while it is trained.
        size: Widths of the networks.
        credit: Widths of the credit model.

    Raises:
        ConfigError: A value is out of range; lists all of them.
    """

    steps: int = 2_500
    credit_steps: int = 3_000
    windows: int = 16
    starts: int = 8
    plans: int = 256
    learning_rate: float = 6e-4
    weight_decay: float = 1e-4
    gradient_norm: float = 1.0
    average: float = 0.999
    message_loss: float = 0.25
    imagined: int = 256
    ranked: int = 4
    temperature: float = 0.1
    size: ModelSize = field(default_factory=ModelSize)
    credit: CreditSize = field(default_factory=CreditSize)

    def __post_init__(self) -> None:
        check_values(
            "training settings",
            self,
            (
                ("steps", self.steps >= 1, "at least 1"),
                ("credit_steps", self.credit_steps >= 1, "at least 1"),
                ("windows", self.windows >= 1, "at least 1"),
                ("starts", self.starts >= 1, "at least 1"),
                ("plans", self.plans >= 1, "at least 1"),
                ("learning_rate", 0 < self.learning_rate < 1, "between 0 and 1"),
                ("average", 0 <= self.average < 1, "0 up to, not including, 1"),
                ("message_loss", 0 <= self.message_loss <= 1, "0 to 1"),
                ("imagined", self.imagined >= 1, "at least 1"),
                ("ranked", 1 <= self.ranked <= self.windows, "1 to windows"),
                ("temperature", self.temperature > 0, "above 0"),
            ),
        )

    @property
    def all_steps(self) -> int:
        """Optimiser steps in all."""
        return self.credit_steps + self.steps


PRESETS = {
    "default": TrainingSettings(),
    "tiny": TrainingSettings(
        steps=150,
        credit_steps=50,
        windows=8,
        starts=2,
        plans=64,
        imagined=24,
        ranked=4,
        size=ModelSize(width=32, depth=1, heads=2, hidden=64, rank=2),
        credit=CreditSize(hidden=32, burden=16),
    ),
}
"""`tiny` runs the whole path in seconds; its model is not good for anything but that."""
