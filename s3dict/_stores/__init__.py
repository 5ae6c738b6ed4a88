"""Requests to the bucket: the protocols of a store (`base`), and a module or package for each driver."""
