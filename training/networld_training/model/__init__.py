"""The diffusion world model: networks, losses, training and the planner in torch."""
