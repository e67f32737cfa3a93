"""Road segmentation: photographs in, a road map of every pixel, trained, measured and drawn. Names load when they are used."""
