from clipes.tasks.ui.parameter_names import in_own_words, with_parameters


def test_options_become_the_parameters_of_the_flow():
    text = "Repair these photos and rerun with --retry-errors, or without --fresh. --fresh-air and x--until stay."
    assert with_parameters(text) == (
        "Repair these photos and rerun with the parameter retry_errors, or without the parameter fresh. "
        "--fresh-air and x--until stay."
    )


def test_the_words_of_the_command_line_stay_outside_a_deployment():
    assert in_own_words("rerun with --retry-errors") == "rerun with --retry-errors"
