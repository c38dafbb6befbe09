"""What the policy's decisions would be worth to all cells together, asked of the credit model.

All cells decide at once by the same policy. Ranking an action by what it was worth while the others did
what the log shows does not lead there: everybody answers the same situation, and the answers overshoot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call

from networld_runtime.contract import Action, ActionBins, Choice
from networld_training.model.components import split_components
from networld_training.model.credit import CreditModel, Situation
from networld_training.model.holding import Held

FORBIDDEN = -1e9
OUT_OF_TURN = 1.0
"""What an order out of turn costs, in typical credits: more than it could gain on average."""
LARGEST_REGRET = 12.0
"""What a choice can lose at most against the best one, in typical credits: bounds a gradient step."""


@dataclass(frozen=True)
class Imagined:
    """What the policy's decisions are judged by.

    Attributes:
        credit: The credit model; gets no gradient here.
        held: States that last; None if every slot stands for itself.
        actions: Components of an action.
    """

    credit: CreditModel
    held: Held | None
    actions: Sequence[Action]

    def total(self, given: Situation, action: Tensor) -> Tensor:
        """Return the mean credit of a slot, summed over the cells `[B]`, of coded actions `[B, K, A]`."""
        if self.held is None:
            return given.total(self.credit.expected(given, action))
        first = self.actions[0].size
        order = self.held.effective(self.held.state(given.observation), action[..., :first])
        action = torch.cat([order, action[..., first:]], dim=-1)
        now = self.credit.expected(given, action)
        later = self.credit.expected(self.held.after(given, order), action)
        return given.total(now + self.held.weight * later) / (1 + self.held.weight)

    def worth(self, given: Situation, logits: Tensor) -> Tensor:
        """Return what acting by masked logits `[B, K, A]` is worth, as `total`, in typical credits `[B]`.

        Every cell takes its likeliest choices, as a base station does.
        """
        alike = torch.full_like(logits, 0.5)
        action = torch.cat(_decided(logits, self.actions, alike), dim=-1)
        return self.total(given, action) / self.credit.scale


def masked_logits(logits: Tensor, mask: Tensor) -> Tensor:
    """Return logits that give entries with mask 0 no chance."""
    return torch.where(mask > 0, logits, FORBIDDEN)


def imagined_loss(
    imagined: Imagined, given: Situation, logits: Tensor, temperature: float, uniform: Tensor
) -> Tensor:
    """Return how far the policy is from what all cells would gain most by; differentiable in `logits`.

    A task with a choice is judged by that choice, its action's first component: the logits are to be what
    each choice loses on average against the best one, over minus the temperature, while the other cells
    draw theirs. Other than that of the expected loss, this gradient does not vanish where the policy is
    sure. A task of numbers alone follows the gradient of the credit. Where states last, cells whose turn it
    is not learn to hold theirs.

    Args:
        imagined: What is asked.
        given: The situation of `B` networks.
        logits: The policy's logits `[B, K, A]`, masked.
        temperature: What a choice loses, in typical credits, that is e times less likely than the best.
        uniform: Numbers between 0 and 1 that draw the choices `[B, K, A]`.
    """
    credit, held, actions = imagined.credit, imagined.held, imagined.actions
    coded = _decided(logits, actions, uniform)
    if not isinstance(actions[0], Choice):
        frozen = {name: value.detach() for name, value in credit.state_dict().items()}
        worth = functional_call(credit, frozen, (given, torch.cat(coded, dim=-1)))
        cells = logits.shape[1]
        return -cells * given.mean(torch.softmax(worth, dim=-1) @ credit.values) / credit.scale
    first = split_components(logits, actions)[0]
    allowed = first > FORBIDDEN / 2
    turn = torch.ones_like(first[..., 0])
    with torch.no_grad():
        if held is not None:
            state, turn = held.state(given.observation), held.turn(given.observation)
            coded[0] = torch.where(turn[..., None] > 0, coded[0], state)
        regret = _regret(imagined, given, coded, allowed)
    wrong = torch.where(allowed, temperature * first + regret, 0.0)
    loss = turn * wrong.square().sum(dim=-1)
    if held is not None:
        loss = loss - (1 - turn) * (state * torch.log_softmax(first, dim=-1)).sum(dim=-1)
    return given.mean(loss)


def advantages(
    imagined: Imagined,
    given: Situation,
    logits: Tensor,
    action: Tensor,
    uniform: Tensor,
) -> Tensor:
    """Return how much better each cell's action is than the policy's, in typical credits `[B, K]`.

    All other cells act by the policy; credits of all cells count. Where states last, a change out of turn
    costs `OUT_OF_TURN`.

    Args:
        imagined: What is asked.
        given: The situation of `B` networks.
        logits: The policy's logits `[B, K, A]`, masked.
        action: Coded actions `[B, K, A]`.
        uniform: Numbers between 0 and 1 that draw the policy's choices `[B, K, A]`.
    """
    networks, cells, _ = action.shape
    held = imagined.held
    with torch.no_grad():
        coded = _decided(logits, imagined.actions, uniform)
        changes = torch.zeros_like(action[..., 0])
        if held is not None:
            state, turn = held.state(given.observation), held.turn(given.observation)
            coded[0] = torch.where(turn[..., None] > 0, coded[0], state)
            order = held.effective(state, action[..., : state.shape[-1]])
            changes = (1 - turn) * (1 - (order * state).sum(dim=-1))
        own = torch.eye(cells, device=action.device).repeat(networks, 1)[..., None]
        joint = torch.cat(coded, dim=-1)
        mixed = own * action.repeat_interleave(cells, 0) + (1 - own) * joint.repeat_interleave(
            cells, 0
        )
        worth = imagined.total(given.repeated(cells), mixed).view(networks, cells)
        gain = worth - imagined.total(given, joint)[:, None]
        return gain / imagined.credit.scale - OUT_OF_TURN * changes


def _regret(
    imagined: Imagined, given: Situation, coded: Sequence[Tensor], allowed: Tensor
) -> Tensor:
    """Return what each choice of each cell loses against its best allowed one `[B, K, choices]`.

    What the other cells do is as in `coded`; credits of all cells count.
    """
    networks, cells, choices = coded[0].shape
    alternatives = cells * choices
    own = torch.eye(cells, device=allowed.device)[:, None, :, None]
    alternative = torch.eye(choices, device=allowed.device)[:, None]
    joint = torch.where(own > 0, alternative, coded[0][:, None, None])
    order = joint.flatten(0, 2)
    rest = [part.repeat_interleave(alternatives, dim=0) for part in coded[1:]]
    worth = imagined.total(given.repeated(alternatives), torch.cat([order, *rest], dim=-1))
    worth = worth.view(networks, cells, choices) / imagined.credit.scale
    best = torch.where(allowed, worth, -torch.inf).amax(dim=-1, keepdim=True)
    return (best - worth).clamp(0.0, LARGEST_REGRET)


def _decided(logits: Tensor, actions: Sequence[Action], uniform: Tensor) -> list[Tensor]:
    """Return coded actions of the policy, component by component; numbers pass a gradient."""
    parts = zip(
        split_components(logits, actions), split_components(uniform, actions), actions, strict=True
    )
    return [
        _drawn(part, drawn) if isinstance(action, Choice) else _decoded(part, action)
        for part, drawn, action in parts
    ]


def _drawn(logits: Tensor, uniform: Tensor) -> Tensor:
    """Draw one-hot choices from logits `[B, K, choices]` (Gumbel 1954: the largest of disturbed logits)."""
    smallest = torch.finfo(uniform.dtype).tiny
    disturbed = logits.detach() - torch.log(-torch.log(uniform.clamp(min=smallest)))
    choices = torch.arange(logits.shape[-1], device=logits.device)
    return (disturbed.argmax(dim=-1, keepdim=True) == choices).to(logits)


def _decoded(logits: Tensor, bins: ActionBins) -> Tensor:
    """Return the two-hot code of the value that a cell would act on, as `two_hot.decode_bins` has it.

    The value passes its gradient through its two bins; "off" is decided sharply, with the gradient of
    its probability.
    """
    ordered = torch.softmax(logits if bins.off is None else logits[..., 1:], dim=-1)
    even = torch.arange(bins.count, device=logits.device)
    place = (ordered * even).sum(dim=-1, keepdim=True)
    coded = torch.clamp(1 - (place - even).abs(), min=0)
    if bins.off is None:
        return coded
    off = torch.softmax(logits, dim=-1)[..., :1]
    sharp = (off >= 0.5).to(off)
    off = sharp + off - off.detach()
    return torch.cat([off, (1 - off) * coded], dim=-1)
