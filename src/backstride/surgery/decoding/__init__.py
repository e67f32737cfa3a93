"""The way from coarse scores up to the image, as data.

Taps, steps, features, first kernels, what a pixel sees.
"""
