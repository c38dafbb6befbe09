"""Few denoising steps: a small network that does in one or two what the guided denoiser does in many."""
