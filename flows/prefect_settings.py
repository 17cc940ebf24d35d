"""The settings of Prefect that clipes chooses. Prefect reads them from the environment when it is imported."""

from collections.abc import MutableMapping

DO_NOT_TRACK, ANALYTICS = "DO_NOT_TRACK", "PREFECT_SERVER_ANALYTICS_ENABLED"
NO = ("0", "false", "no", "off")
DEFAULTS = {
    DO_NOT_TRACK: "1",  # Prefect's client sends no usage data
    ANALYTICS: "false",  # neither does a server that clipes starts
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # the command itself reports failures
    "PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL",  # also failures of threads that send logs and events to the server
}


def choose_settings(environment: MutableMapping[str, str]) -> None:
    """Add the settings that the environment lacks; call this before Prefect is imported.

    If the user has set DO_NOT_TRACK, it also applies to the server, which does not read it, and any spelling of "yes"
    counts, of which Prefect's client knows only some.

    Args:
        environment: environment variables of this process; changed in place.
    """
    wish = environment.get(DO_NOT_TRACK, "").strip().lower()
    if not wish:
        environment.pop(DO_NOT_TRACK, None)
    elif wish not in NO:
        environment.update({DO_NOT_TRACK: "1", ANALYTICS: "false"})
    for name, value in DEFAULTS.items():
        environment.setdefault(name, value)
