"""Every S3 server that can be had, tried: what it honours, whether the library takes it, what the tests say there.

python -m tests.compatibility                        # what each server honours: some minutes
python -m tests.compatibility --full --write         # also the Dict suite, the races and the histories: an hour or two
python -m tests.compatibility --full --only ceph     # of one server
"""
