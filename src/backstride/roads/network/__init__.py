"""The road network: encoders, what is built on them, and its files."""
