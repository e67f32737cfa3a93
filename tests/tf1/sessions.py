"""Sessions as the tests want them."""

from __future__ import annotations

import backstride.tf1 as tf


def initialized() -> tf.Session:
    """A session whose variables have their first values."""
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    return session
