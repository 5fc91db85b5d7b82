"""Real servers for tests: on loopback, on free ports, in folders of their own, gone when the tests are over."""
