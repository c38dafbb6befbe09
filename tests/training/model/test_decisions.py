"""What a policy's logits decide: values on bins that pass a gradient, choices that a mask allows."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from networld_runtime.contract import ActionBins, Choice
from networld_runtime.two_hot import decode_bins, encode_bins
from networld_training.model.imagination import (
    _alternatives,
    _decoded,
    _drawn,
    masked_logits,
)

POWER = ActionBins("power_db", -20.0, 0.0, 5, off=-30.0)
OFFSET = ActionBins("offset_db", -6.0, 6.0, 13)
BRANCH = Choice("branch", ("a", "b", "c"))
HALF = torch.full((1,), 0.5)


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
        assert _decoded(logit, bins, HALF).numpy() == pytest.approx(expected, abs=1e-3)


def test_extreme_logits_still_mean_a_value_and_have_a_gradient() -> None:
    for sure in range(POWER.size):
        logits = torch.zeros(POWER.size)
        logits[sure] = 500.0
        logits.requires_grad_()
        coded = _decoded(logits, POWER, HALF)
        assert coded.argmax() == sure
        coded = _decoded(logits, POWER, torch.zeros(1))  # never off
        (coded * torch.arange(float(POWER.size))).sum().backward()  # type: ignore[no-untyped-call]
        assert logits.grad is not None
        assert torch.isfinite(logits.grad).all()


def test_a_number_passes_a_gradient_and_off_none() -> None:
    logits = torch.tensor([3.0, 0.3, -0.2, 0.9, 0.1, -0.4], requires_grad=True)
    coded = _decoded(logits, POWER, torch.zeros(1))
    place = coded[1:] @ torch.arange(5.0)
    (to_place,) = torch.autograd.grad(place, logits)
    assert to_place[0] == 0
    assert to_place[5] > 0 > to_place[1]
    off = _decoded(logits, POWER, HALF)
    assert off.tolist() == [1, 0, 0, 0, 0, 0]
    assert not off.sum().isnan()


def test_off_is_drawn_as_often_as_it_is_likely() -> None:
    logits = torch.log(torch.tensor([0.3, 0.1, 0.2, 0.1, 0.2, 0.1])).repeat(20_000, 1)
    coded = _decoded(logits, POWER, torch.rand(logits.shape, generator=draws()))
    assert coded[:, 0].mean().item() == pytest.approx(0.3, abs=0.02)
    sent = coded[coded[:, 0] == 0]
    assert torch.allclose(sent, sent[0].expand_as(sent))
    assert sent[0].sum().item() == pytest.approx(1)


def test_alternatives_are_choices_or_a_number_and_none() -> None:
    logits = torch.tensor([[[0.5, 0.3, -0.2, 0.9, 0.1, -0.4]]])
    asked = _alternatives(logits, POWER)
    assert asked is not None
    first, codes = asked
    assert first[0, 0].tolist() == pytest.approx([0.5, logits[0, 0, 1:].exp().sum().log().item()])
    assert codes[0, 0, 0].tolist() == [1, 0, 0, 0, 0, 0]
    assert torch.equal(codes[0, 0, 1], _decoded(logits[0, 0], POWER, torch.zeros(1)))
    asked = _alternatives(logits[..., :3], BRANCH)
    assert asked is not None
    assert torch.equal(asked[0], logits[..., :3])
    assert torch.equal(asked[1][0, 0], torch.eye(3))
    assert _alternatives(torch.zeros(1, 1, 13), OFFSET) is None


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
