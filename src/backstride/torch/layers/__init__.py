"""PyTorch's functions and modules over the operator, each layer's choice measured."""
