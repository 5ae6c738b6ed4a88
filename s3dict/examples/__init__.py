"""Programs that show what a shared dict is good for, each run by ``python -m s3dict.examples.<name>``.

They use the bucket that the environment variables name, as ``s3dict dev`` prints them. Without ``S3DICT_BUCKET`` they
start a local S3 server (extra ``local``). README.md in this folder lists them.
"""

import sys
from importlib.util import find_spec

for _package in ("typer", "rich"):
    if find_spec(_package) is None:
        sys.exit(f"{_package} is not installed: pip install 's3-shared-dict[local]'")
