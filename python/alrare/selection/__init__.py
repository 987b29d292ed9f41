"""Which configurations deserve a label."""
