"""The loop: explore, select, label, train, and know when to stop."""
