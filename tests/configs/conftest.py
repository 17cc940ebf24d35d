"""Fixtures of all tests in this folder."""

from support.threads import single_thread  # noqa: F401 - a fixture used by all tests
