"""Instruments of the tests: servers that misbehave, a proxy that loses answers, a checker of histories."""
