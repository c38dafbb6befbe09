"""The base station: act, talk and adapt with NumPy and ONNX Runtime alone."""
