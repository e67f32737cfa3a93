"""What each layer of a classifier becomes in a fully convolutional network.

Rules on the graph, framework-free.
"""
