"""Ways to run a task: the batched rollout and the PettingZoo environment."""
