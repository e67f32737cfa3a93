"""The way from coarse scores up to the image, as data: taps, steps, features, first kernels, what a pixel sees."""
