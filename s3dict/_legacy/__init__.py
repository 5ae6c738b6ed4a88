"""What pickles of release 0.1 refer to: ``s3dict.dict``, ``s3dict.core.hydration`` and the like.

For stored data only. The package appends this folder to its ``__path__``, so that a pickle finds ``s3dict.dict`` in
``_legacy/dict.py``. No code imports these modules, and new pickles refer to `s3dict._pickle.restore` alone. The names
are those of 0.1, and its state is translated into that of today.
"""
