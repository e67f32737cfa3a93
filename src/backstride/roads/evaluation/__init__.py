"""How well a network finds the road: measures, curves and pictures."""
