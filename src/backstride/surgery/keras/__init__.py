"""Keras models: read into a graph, written from one, run."""
