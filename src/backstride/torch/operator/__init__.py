"""The operator and its derivatives on PyTorch's tensors: who computes it, and how."""
