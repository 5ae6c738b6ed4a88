"""How fast s3dict is beside others: ``python -m tests.benchmarks`` measures it, and writes a table, JSON and plots.

- ``rows``: what is measured, and what must be reached. ``growth``: the same against n and size, for the plots.
- ``peers/``: one file a way of keeping a dict in a bucket, ours among them. To add one, add a file.
- ``workers``, ``environments``: each peer in a process, and where its pins need it in an environment, of its own.
- ``stub``, ``servers``: an S3 server that costs next to nothing, so that the client is what is measured; SeaweedFS.
- ``report``, ``plots``: what came out.
"""
