"""Driving a system towards its rare event, by a model or by the labeller."""
