"""CPython's tests of mappings over Dict.as_mapping()."""

import unittest
import uuid

from test import mapping_tests

from s3dict import Dict


class TestDictMapping(mapping_tests.TestHashMappingProtocol):
    def _empty_mapping(self):
        return Dict.from_name(f"m{uuid.uuid4().hex}", create_if_missing=True).as_mapping()

    def _full_mapping(self, data):
        mapping = self._empty_mapping()
        mapping.update(data)
        return mapping

    type2test = property(lambda self: lambda other=(), **pairs: self._full_mapping(dict(other, **pairs)))


if __name__ == "__main__":
    unittest.main()
