"""The base station: plan, talk and fine-tune with NumPy and ONNX Runtime alone."""
