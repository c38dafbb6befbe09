"""Radio simulator, tasks, data sets, diffusion world model, evaluation and demo."""
