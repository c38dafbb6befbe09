"""How long others' planners take for a plan: their loops, with networks of their size."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from networld_export.bench.peers import ACTION, STATE, Transformer, UNet, Value, perceptron

STEPS = 20
"""Denoising steps of all of them."""

Plan = Callable[[], Tensor]


def diffusion_veteran() -> Plan:
    """Return its planner: 50 plans of 4 states are denoised, a critic takes the best one."""
    candidates, horizon = 50, 4
    network, critic = Transformer(256, 2), Transformer(256, 2)
    inverse = perceptron(2 * STATE, 256, 256, 256, ACTION)

    def plan() -> Tensor:
        states = _denoised(network, torch.randn(candidates, horizon, STATE))
        values = critic(states, torch.zeros(candidates)).mean(dim=(1, 2))
        best = states[values.argmax()]
        action: Tensor = inverse(torch.cat([best[0], best[1]]))
        return action

    return _ready(plan, network, critic, inverse)


def decision_diffuser() -> Plan:
    """Return its planner: one plan of 32 states, with and without its condition in every step."""
    horizon = 32
    network = Transformer(320, 2)
    inverse = perceptron(2 * STATE, 256, 256, ACTION)

    def guided(plan: Tensor, time: Tensor) -> Tensor:
        both = network(plan.repeat(2, 1, 1), time.repeat(2))
        mixed: Tensor = both[1:] + 1.2 * (both[:1] - both[1:])
        return mixed

    def plan() -> Tensor:
        states = _denoised(guided, torch.randn(1, horizon, STATE))[0]
        action: Tensor = inverse(torch.cat([states[0], states[1]]))
        return action

    return _ready(plan, network, inverse)


def diffuser() -> Plan:
    """Return its planner: 64 plans of 32 states and actions, moved along a value's gradient in every step."""
    candidates, horizon = 64, 32
    network, value = UNet(), Value()

    def guided(plan: Tensor, time: Tensor) -> Tensor:
        with torch.enable_grad():
            asked = plan.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(value(asked, time).sum(), asked)
        moved: Tensor = network(plan, time) + 0.1 * gradient
        return moved

    def plan() -> Tensor:
        plans = _denoised(guided, torch.randn(candidates, horizon, STATE + ACTION))
        best = value(plans, torch.zeros(candidates)).argmax()
        return plans[best, 0, STATE:]

    return _ready(plan, network, value)


def mppi() -> Plan:
    """Return TD-MPC2's planner with its model of a million parameters: 6 rounds of 512 plans of 3 actions."""
    rounds, plans, kept, horizon, latent, width = 6, 512, 64, 3, 128, 384
    dynamics = perceptron(latent + ACTION, width, width, latent)
    reward = perceptron(latent + ACTION, width, width, 101)
    value = perceptron(latent + ACTION, width, width, 101)
    policy = perceptron(latent, width, width, 2 * ACTION)
    bins = torch.linspace(-10, 10, 101)

    def worth(state: Tensor, actions: Tensor) -> Tensor:
        total = torch.zeros(plans)
        for step in range(horizon):
            given = torch.cat([state, actions[:, step]], dim=-1)
            total = total + torch.softmax(reward(given), dim=-1) @ bins
            state = dynamics(given)
        last = torch.tanh(policy(state)[:, :ACTION])
        ahead: Tensor = torch.softmax(value(torch.cat([state, last], dim=-1)), dim=-1) @ bins
        return total + ahead

    def plan() -> Tensor:
        state = torch.zeros(plans, latent)
        mean, spread = torch.zeros(horizon, ACTION), torch.full((horizon, ACTION), 2.0)
        for _ in range(rounds):
            drawn = mean + spread * torch.randn(plans, horizon, ACTION)
            actions = drawn.clamp(-1, 1)
            values = worth(state, actions)
            best = values.topk(kept)
            weight = torch.softmax(0.5 * best.values, dim=0)[:, None, None]
            elite = actions[best.indices]
            mean = (weight * elite).sum(dim=0)
            spread = (weight * (elite - mean).square()).sum(dim=0).sqrt().clamp(0.05, 2.0)
        return mean[0]

    return _ready(plan, dynamics, reward, value, policy)


OTHERS: dict[str, Callable[[], Plan]] = {
    "Diffusion Veteran's shape": diffusion_veteran,
    "Decision Diffuser's shape": decision_diffuser,
    "Diffuser's shape": diffuser,
    "TD-MPC2's shape, 1 M parameters": mppi,
}


def _denoised(denoise: Callable[[Tensor, Tensor], Tensor], plan: Tensor) -> Tensor:
    """Denoise plans by DDIM; the first state is given."""
    known = torch.zeros_like(plan[:, 0])
    for step in range(STEPS, 0, -1):
        time = torch.full((len(plan),), step / STEPS)
        signal, following = 1 - step / (STEPS + 1), 1 - (step - 1) / (STEPS + 1)
        clean = denoise(plan, time)
        noise = (plan - signal**0.5 * clean) / (1 - signal) ** 0.5
        plan = following**0.5 * clean + (1 - following) ** 0.5 * noise
        plan = torch.cat([known[:, None], plan[:, 1:]], dim=1)
    return plan


def _ready(plan: Plan, *networks: torch.nn.Module) -> Plan:
    """Return a planner that takes no gradients but those that it asks for."""
    for network in networks:
        network.eval().requires_grad_(False)

    def ready() -> Tensor:
        with torch.no_grad():
            return plan()

    return ready
