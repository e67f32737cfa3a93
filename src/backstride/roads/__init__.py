"""Road segmentation: photographs in, the road of every pixel, trained, measured and drawn."""
