"""What each layer of a classifier becomes in a fully convolutional network: rules on the graph, framework-free."""
