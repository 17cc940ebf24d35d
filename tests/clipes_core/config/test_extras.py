import pytest

from clipes_core.config.extras import Extra
from clipes_core.errors import ConfigError


def test_an_installed_extra_is_accepted():
    Extra("arrays", module="numpy", requirements="nothing").check("a.b=c")


def test_a_use_without_an_alternative_only_names_the_command():
    with pytest.raises(ConfigError) as error:
        Extra("arrays", module="no_such_module", requirements="1 MB of disk space").check("Run.to_pandas", "")
    assert str(error.value) == (
        "Run.to_pandas: the package no_such_module is not installed; run pip install 'clipes[arrays]', which needs "
        "1 MB of disk space"
    )


def test_the_error_names_the_setting_and_the_command_that_installs_the_extra():
    with pytest.raises(ConfigError) as error:
        Extra("arrays", module="no_such_module", requirements="a C++ compiler").check("a.b=c")
    assert str(error.value) == (
        "a.b=c: the package no_such_module is not installed; choose another value, or run "
        "pip install 'clipes[arrays]', which needs a C++ compiler"
    )
