"""Training: the loop, what it leaves on disk, and each drive held out in turn."""
