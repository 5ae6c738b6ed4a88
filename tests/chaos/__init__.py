"""Fault injection: ``python -m tests.chaos`` runs each scenario in full; the tests contain a short form."""
