"""Photographs with their masks: read, checked, split, changed at random and fed."""
