"""What the policy's decisions would be worth to all cells together, asked of the credit model.

All cells decide at once by the same policy. Ranking an action by what it was worth while the others did
what the log shows does not lead there: everybody answers the same situation, and the answers overshoot.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.func import functional_call

from networld_runtime.contract import Action, ActionBins, Choice
from networld_training.model.components import split_components
from networld_training.model.credit import CreditModel, Situation

FORBIDDEN = -1e9
LARGEST_REGRET = 30.0
"""What a choice can lose at most against the best one, in typical credits: bounds a gradient step."""


def masked_logits(logits: Tensor, mask: Tensor) -> Tensor:
    """Return logits that give entries with mask 0 no chance."""
    return torch.where(mask > 0, logits, FORBIDDEN)


def imagined_loss(
    credit: CreditModel,
    given: Situation,
    logits: Tensor,
    actions: Sequence[Action],
    entropy_weight: float,
    generator: torch.Generator,
) -> Tensor:
    """Return minus the expected credit of all cells if all act by the policy; differentiable in `logits`.

    A task with a choice is judged by that choice: every cell's alternatives, the others' choices drawn. A
    task of numbers alone follows the gradient of the credit.

    Args:
        credit: The credit model; gets no gradient.
        given: The situation of `B` networks.
        logits: The policy's logits `[B, K, A]`, masked.
        actions: Components of an action.
        entropy_weight: Worth of a unit of entropy, in typical credits.
        generator: Draws the others' choices.
    """
    parts = split_components(logits, actions)
    choice = next((i for i, action in enumerate(actions) if isinstance(action, Choice)), None)
    coded = [
        _drawn(part, generator) if isinstance(action, Choice) else _decoded(part, action)
        for part, action in zip(parts, actions, strict=True)
    ]
    if choice is None:
        frozen = {name: value.detach() for name, value in credit.state_dict().items()}
        worth = functional_call(credit, frozen, (given, torch.cat(coded, dim=-1)))
        total = (torch.softmax(worth, dim=-1) @ credit.values).sum(dim=1)
        return -(total / credit.scale).mean()
    log_chance = torch.log_softmax(parts[choice], dim=-1)
    chance = log_chance.exp()
    with torch.no_grad():
        regret = _regret(credit, given, coded, choice)
    entropy = -(chance * log_chance.clamp(min=-30)).sum(dim=-1)
    return ((chance * regret).sum(dim=-1) - entropy_weight * entropy).mean()


def _regret(credit: CreditModel, given: Situation, coded: Sequence[Tensor], choice: int) -> Tensor:
    """Return what each choice of each cell loses against its best one `[B, K, choices]`.

    What the other cells do is as in `coded`; credits of all cells count.
    """
    drawn = coded[choice]
    networks, cells, choices = drawn.shape
    joint = drawn[:, None, None].repeat(1, cells, choices, 1, 1)
    every = torch.arange(cells)
    joint[:, every, :, every] = torch.eye(choices, device=drawn.device).expand(
        cells, networks, choices, choices
    )
    alternatives = cells * choices
    parts = [part.repeat_interleave(alternatives, dim=0) for part in coded]
    parts[choice] = joint.flatten(0, 2)
    worth = credit.expected(given.repeated(alternatives), torch.cat(parts, dim=-1)).sum(dim=1)
    worth = worth.view(networks, cells, choices) / credit.scale
    return (worth.amax(dim=-1, keepdim=True) - worth).clamp(max=LARGEST_REGRET)


def _drawn(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Draw one-hot choices from logits `[B, K, choices]`."""
    chance = torch.softmax(logits.detach(), dim=-1)
    drawn = torch.multinomial(chance.flatten(0, 1).cpu(), 1, generator=generator)
    hot = torch.nn.functional.one_hot(drawn[:, 0], logits.shape[-1]).to(logits)
    return hot.view_as(logits)


def _decoded(logits: Tensor, bins: ActionBins) -> Tensor:
    """Return the two-hot code of the value that a cell would act on, as `two_hot.decode_bins` has it.

    The value passes its gradient through its two bins; "off" is decided sharply, with the gradient of
    its probability.
    """
    chance = torch.softmax(logits, dim=-1)
    ordered = chance if bins.off is None else chance[..., 1:]
    even = torch.arange(bins.count, device=logits.device)
    place = (ordered * even).sum(dim=-1, keepdim=True) / ordered.sum(dim=-1, keepdim=True)
    coded = torch.clamp(1 - (place - even).abs(), min=0)
    if bins.off is None:
        return coded
    off = chance[..., :1]
    sharp = (off >= 0.5).to(off)
    off = sharp + off - off.detach()
    return torch.cat([off, (1 - off) * coded], dim=-1)
