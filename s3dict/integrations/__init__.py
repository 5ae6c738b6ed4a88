"""Adapters that make a Dict the backend of a framework's cache, store or memory.

Each module imports its framework, which its users have installed; nothing else does. See the guide's page on
integrations.
"""
