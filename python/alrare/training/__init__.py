"""From labels to the weights of an ensemble."""
