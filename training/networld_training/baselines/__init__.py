"""Learned baselines: behaviour cloning, implicit Q-learning, a Decision Diffuser, and online MARL."""
