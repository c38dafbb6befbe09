"""The diffusion world model: networks, losses, training."""
