"""From a checkpoint to the bundle of ONNX graphs that a base station runs."""
