"""A whole model on the engine: layers found, replaced, measured, reported and given back."""
