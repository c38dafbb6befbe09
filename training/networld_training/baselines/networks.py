"""Networks that several baselines share."""

from __future__ import annotations

from torch import Tensor, nn


class Perceptron(nn.Module):
    """A multi-layer perceptron.

    Args:
        inputs: Size of the input.
        hidden: Sizes of the hidden layers.
        outputs: Size of the output.
    """

    def __init__(self, inputs: int, hidden: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in zip((inputs, *hidden), hidden, strict=False):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear((inputs, *hidden)[-1], outputs))

    def forward(self, values: Tensor) -> Tensor:
        """Return outputs `[..., outputs]` of inputs `[..., inputs]`."""
        result: Tensor = self.layers(values)
        return result
