"""`tf.contrib`."""

from backstride.tf1.contrib import layers

__all__ = ["layers"]
