"""Ways to run a task: the batched rollout, and adapters to PettingZoo, TorchRL and BenchMARL."""
