"""PyTorch modules: read into a graph, written from one, run."""
