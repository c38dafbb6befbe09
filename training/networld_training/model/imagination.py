"""What the policy's decisions would be worth to all cells together, asked of the credit model.

All cells decide at once by the same policy. Ranking an action by what it was worth while the others did
what the log shows does not lead there: everybody answers the same situation, and the answers overshoot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from networld_runtime.contract import Action, ActionBins, Choice
from networld_training.model.components import split_components
from networld_training.model.credit import CreditModel, Situation
from networld_training.model.holding import Held
from networld_training.tasks.learning import SERVE

FORBIDDEN = -1e9
OUT_OF_TURN = 1.0
"""What an order out of turn, or to rest at the wrong depth, costs in typical credits: more than it gains."""
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

    def to(self, device: str) -> Imagined:
        """Return it on a device."""
        held = None if self.held is None else self.held.to(device)
        return Imagined(self.credit.to(device), held, self.actions)

    def credits(self, given: Situation, action: Tensor) -> Tensor:
        """Return the expected credits `[B, K]` of coded actions `[B, K, A]`."""
        if self.held is not None:
            first = self.actions[0].size
            given, order = self.held.judged(given, action[..., :first])
            action = torch.cat([order, action[..., first:]], dim=-1)
        return self.credit.expected(given, action)

    def total(self, given: Situation, action: Tensor) -> Tensor:
        """Return the expected credits of coded actions `[B, K, A]`, summed over the cells `[B]`."""
        return given.total(self.credits(given, action))

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
    imagined: Imagined,
    given: Situation,
    logits: Tensor,
    temperature: float,
    uniform: Tensor,
    asked: Tensor | None = None,
) -> Tensor:
    """Return how far the policy is from what all cells would gain most by; differentiable in `logits`.

    Numbers, like powers, follow the gradient of the credit. The action's first component may be a choice,
    or a number that can be off. The logits of its alternatives are to be what each of them loses on average
    against the best one, over minus the temperature, while the other cells draw theirs. Other than the
    gradient of the expected loss, this one does not vanish where the policy is sure. Where states last,
    cells whose turn it is not learn to go on.

    Args:
        imagined: What is asked.
        given: The situation of `B` networks.
        logits: The policy's logits `[B, K, A]`, masked.
        temperature: What a choice loses, in typical credits, that is e times less likely than the best.
        uniform: Numbers between 0 and 1 that draw the choices `[B, K, A]`.
        asked: The cells whose alternatives are weighed, one-hot `[B, m, K]`; None weighs those of all. Most
            of the work is there; drawn evenly, some of the cells lead where all do.
    """
    held, actions = imagined.held, imagined.actions
    coded = _decided(logits, actions, uniform)
    turn = torch.ones_like(logits[..., 0])
    if held is not None:
        turn, kept = held.turn(given.observation), held.kept(given.observation)
        coded[0] = torch.where(turn[..., None] > 0, coded[0], kept)
    loss = torch.zeros_like(turn)
    if any(isinstance(action, ActionBins) for action in actions):
        worth = imagined.credits(given, torch.cat(coded, dim=-1)) / imagined.credit.scale
        loss = loss - logits.shape[1] * worth
    begun = split_components(logits, actions)[0]
    if held is not None:
        likelihood = (kept * torch.log_softmax(begun, dim=-1)).sum(dim=-1)
        loss = loss - (1 - turn) * likelihood
    choice = _alternatives(begun, actions[0])
    if choice is None:
        return given.mean(loss)
    first, alternatives = choice
    allowed = first > FORBIDDEN / 2
    with torch.no_grad():
        regret = _regret(imagined, given, coded, alternatives, allowed, asked)
    first, allowed, turn = (_of(asked, one) for one in (first, allowed.to(first), turn[..., None]))
    wrong = torch.where(allowed > 0, temperature * first + regret, 0.0)
    weighed = turn[..., 0] * wrong.square().sum(dim=-1)
    counted = given.weight
    if counted is not None:
        counted = _of(asked, counted[..., None])[..., 0]
    return given.mean(loss) + replace(given, weight=counted).mean(weighed)


def advantages(
    imagined: Imagined,
    given: Situation,
    logits: Tensor,
    action: Tensor,
    uniform: Tensor,
) -> Tensor:
    """Return how much better each cell's action is than the policy's, in typical credits `[B, K]`.

    All other cells act by the policy; credits of all cells count. Where states last, to begin or end serving
    out of turn costs `OUT_OF_TURN`.

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
            turn, kept = held.turn(given.observation), held.kept(given.observation)
            coded[0] = torch.where(turn[..., None] > 0, coded[0], kept)
            changes = (1 - turn) * (action[..., SERVE] != kept[..., SERVE])
        own = torch.eye(cells, device=action.device).repeat(networks, 1)[..., None]
        joint = torch.cat(coded, dim=-1)
        mixed = own * action.repeat_interleave(cells, 0) + (1 - own) * joint.repeat_interleave(
            cells, 0
        )
        worth = imagined.total(given.repeated(cells), mixed).view(networks, cells)
        gain = worth - imagined.total(given, joint)[:, None]
        return gain / imagined.credit.scale - OUT_OF_TURN * changes


def _alternatives(logits: Tensor, action: Action) -> tuple[Tensor, Tensor] | None:
    """Return logits `[B, K, n]` and codes `[B, K, n, a]` of what can be chosen; None for a mere number.

    A number that can be off leaves two: off, and the number.
    """
    if isinstance(action, Choice):
        codes = torch.eye(action.size, device=logits.device)
        return logits, codes.expand(*logits.shape, -1)
    if action.off is None:
        return None
    off = (torch.arange(action.size, device=logits.device) == 0).to(logits).expand_as(logits)
    sent = torch.logsumexp(logits[..., 1:], dim=-1)
    codes = torch.stack([off, _sent(logits, action).detach()], dim=-2)
    return torch.stack([logits[..., 0], sent], dim=-1), codes


def _regret(
    imagined: Imagined,
    given: Situation,
    coded: Sequence[Tensor],
    alternatives: Tensor,
    allowed: Tensor,
    asked: Tensor | None = None,
) -> Tensor:
    """Return what each alternative of each cell loses against its best allowed one `[B, m, n]`.

    What the other cells do is as in `coded`; credits of all cells count.

    Args:
        imagined: What is asked.
        given: The situation of `B` networks.
        coded: What all cells do, component by component.
        alternatives: Codes of each cell's alternatives in the first component `[B, K, n, a]`.
        allowed: Which of them are.
        asked: Those cells, one-hot `[B, m, K]`; None for all.
    """
    networks, cells, choices, size = alternatives.shape
    own = torch.eye(cells, device=allowed.device).expand(networks, -1, -1)
    own = own if asked is None else asked
    cells = own.shape[1]
    alternatives = _of(asked, alternatives.flatten(2)).reshape(networks, cells, choices, size)
    joint = torch.where(
        own[:, :, None, :, None] > 0, alternatives[:, :, :, None], coded[0][:, None, None]
    )
    order = joint.flatten(0, 2)
    rest = [part.repeat_interleave(cells * choices, dim=0) for part in coded[1:]]
    worth = imagined.total(given.repeated(cells * choices), torch.cat([order, *rest], dim=-1))
    worth = worth.view(networks, cells, choices) / imagined.credit.scale
    if imagined.held is not None:
        resting = 1 - torch.eye(choices, device=worth.device)[SERVE]
        wrong_depth = resting - imagined.held.rest(given.observation)
        worth = worth - OUT_OF_TURN * _of(asked, wrong_depth)
    if asked is not None:
        allowed = _of(asked, allowed.to(worth)) > 0
    best = torch.where(allowed, worth, -torch.inf).amax(dim=-1, keepdim=True)
    return (best - worth).clamp(0.0, LARGEST_REGRET)


def _of(asked: Tensor | None, values: Tensor) -> Tensor:
    """Return the values `[B, m, x]` of the cells asked, of those of all cells `[B, K, x]`."""
    return values if asked is None else asked @ values


def _decided(logits: Tensor, actions: Sequence[Action], uniform: Tensor) -> list[Tensor]:
    """Return coded actions of the policy, component by component; numbers pass a gradient."""
    parts = zip(
        split_components(logits, actions), split_components(uniform, actions), actions, strict=True
    )
    return [
        _drawn(part, drawn) if isinstance(action, Choice) else _decoded(part, action, drawn)
        for part, drawn, action in parts
    ]


def _drawn(logits: Tensor, uniform: Tensor) -> Tensor:
    """Draw one-hot choices from logits `[B, K, choices]` (Gumbel 1954: the largest of disturbed logits)."""
    smallest = torch.finfo(uniform.dtype).tiny
    disturbed = logits.detach() - torch.log(-torch.log(uniform.clamp(min=smallest)))
    choices = torch.arange(logits.shape[-1], device=logits.device)
    return (disturbed.argmax(dim=-1, keepdim=True) == choices).to(logits)


def _decoded(logits: Tensor, bins: ActionBins, uniform: Tensor) -> Tensor:
    """Return the two-hot code of a number, or of "off", which is drawn with its probability.

    Where all of `uniform` is a half, it is what a cell would act on, as `two_hot.decode_bins` has it.
    """
    if bins.off is None:
        return _sent(logits, bins)
    off = torch.softmax(logits, dim=-1)[..., :1] >= 1 - uniform[..., :1]
    code = (torch.arange(bins.size, device=logits.device) == 0).to(logits)
    return torch.where(off, code, _sent(logits, bins))


def _sent(logits: Tensor, bins: ActionBins) -> Tensor:
    """Return the two-hot code of the expected number; it passes a gradient through its two bins."""
    ordered = torch.softmax(logits if bins.off is None else logits[..., 1:], dim=-1)
    even = torch.arange(bins.count, device=logits.device)
    place = (ordered * even).sum(dim=-1, keepdim=True)
    coded = torch.clamp(1 - (place - even).abs(), min=0)
    if bins.off is None:
        return coded
    return torch.cat([torch.zeros_like(coded[..., :1]), coded], dim=-1)
