"""Predict the road of pictures, folders and videos with a trained network."""
