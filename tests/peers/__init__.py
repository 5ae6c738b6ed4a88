"""The own tests of the frameworks that s3dict.integrations adapts, run over s3dict.

`python -m tests.peers` takes each framework's tests from its wheel, or from the source distribution that pip downloads
into a temporary folder; nothing of them is stored here. What runs in a suite's folder is in `suites`.
"""
