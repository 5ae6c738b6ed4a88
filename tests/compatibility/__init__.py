"""Every S3 server that can be had, tried: what it honours, whether the library takes it, what the tests say there.

python -m tests.matrix                        # what each server honours: some minutes
python -m tests.matrix --full --write         # also the Dict suite, the races and the histories: an hour or two
python -m tests.matrix --full --only ceph     # of one server
"""
