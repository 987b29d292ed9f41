"""From a configuration to a label that may be trusted."""
