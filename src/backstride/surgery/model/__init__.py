"""A model as plain data.

Its graph, the cells that each layer sees, what flows from node to node, its heads.
"""
