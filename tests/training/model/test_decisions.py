"""What a policy's logits decide: values on bins that pass a gradient, choices that a mask allows."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from networld_runtime.contract import ActionBins
from networld_runtime.two_hot import decode_bins, encode_bins
from networld_training.model.imagination import _decoded, _drawn, masked_logits

POWER = ActionBins("power_db", -20.0, 0.0, 5, off=-30.0)
OFFSET = ActionBins("offset_db", -6.0, 6.0, 13)


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


logit_lists = st.lists(st.floats(-12, 12, width=32), min_size=13, max_size=13)


@given(logits=logit_lists)
def test_value_on_bins_is_what_a_cell_would_act_on(logits: list[float]) -> None:
    for bins in (POWER, OFFSET):
        logit = torch.tensor(logits[: bins.size])
        chance = torch.softmax(logit, dim=-1)
        assume(bins.off is None or abs(chance[0].item() - 0.5) > 1e-4)
        expected = encode_bins(decode_bins(chance.numpy(), bins), bins)
        assert _decoded(logit, bins).numpy() == pytest.approx(expected, abs=1e-3)


def test_extreme_logits_still_mean_a_value_and_have_a_gradient() -> None:
    for sure in range(POWER.size):
        logits = torch.zeros(POWER.size)
        logits[sure] = 500.0
        logits.requires_grad_()
        coded = _decoded(logits, POWER)
        assert coded.argmax() == sure
        (coded * torch.arange(float(POWER.size))).sum().backward()  # type: ignore[no-untyped-call]
        assert logits.grad is not None
        assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("off_logit", [-3.0, 3.0])
def test_value_and_off_pass_a_gradient(off_logit: float) -> None:
    logits = torch.tensor([off_logit, 0.3, -0.2, 0.9, 0.1, -0.4], requires_grad=True)
    coded = _decoded(logits, POWER)
    (to_off,) = torch.autograd.grad(coded[0], logits, retain_graph=True)
    chance = torch.softmax(logits.detach(), dim=-1)
    assert to_off[0].item() == pytest.approx((chance[0] * (1 - chance[0])).item(), rel=1e-4)
    assert (to_off[1:] < 0).all()
    place = coded[1:] @ torch.arange(5.0)
    (to_place,) = torch.autograd.grad(place, logits)
    if off_logit < 0:
        assert (to_place[1:].diff() != 0).all()
        assert to_place[5] > 0 > to_place[1]
    else:
        assert place == 0
        assert to_place[0] < 0  # less off would be more power


@given(
    mask=st.lists(
        st.lists(st.booleans(), min_size=3, max_size=3).filter(any), min_size=2, max_size=2
    ),
    seed=st.integers(0, 2**31),
)
def test_masked_choices_are_never_drawn_and_have_no_chance(
    mask: list[list[bool]], seed: int
) -> None:
    valid = torch.tensor([mask]).float()
    logits = masked_logits(8 * torch.randn(1, 2, 3, generator=draws(seed)), valid)
    assert (torch.softmax(logits, dim=-1)[valid == 0] == 0).all()
    copies = logits.repeat(100, 1, 1)
    drawn = _drawn(copies, torch.rand(copies.shape, generator=draws(seed)))
    assert (drawn.sum(dim=-1) == 1).all()
    assert (drawn * (1 - valid) == 0).all()


def test_draws_are_as_likely_as_the_policy_says() -> None:
    logits = torch.log(torch.tensor([[[0.2, 0.5, 0.3]]])).repeat(20_000, 1, 1)
    share = _drawn(logits, torch.rand(logits.shape, generator=draws())).mean(dim=(0, 1))
    assert share.tolist() == pytest.approx([0.2, 0.5, 0.3], abs=0.02)
