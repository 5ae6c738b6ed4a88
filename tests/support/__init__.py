"""Tools of the tests: servers with faults, a proxy that loses responses, a checker of histories."""
