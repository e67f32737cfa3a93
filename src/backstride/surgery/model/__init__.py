"""A model as plain data: its graph, the cells that each layer sees, what flows from node to node, its heads."""
