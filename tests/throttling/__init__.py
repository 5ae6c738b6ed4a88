"""Bulk operations against a store that limits the rate of requests."""
