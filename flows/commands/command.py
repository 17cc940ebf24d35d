"""The class of each command."""

from typing import Any

from typer.core import TyperCommand, TyperOption
from typing_extensions import override

STAGES = "{stages}"  # stands for the names of all stages in the help of an option


class Command(TyperCommand):
    """A command whose help names the stages. They are imported only for the help, because this takes a while."""

    @override
    def format_help(self, ctx: Any, formatter: Any) -> None:
        for option in self.params:
            if isinstance(option, TyperOption) and option.help and STAGES in option.help:
                from clipes.tasks.stages.registry import run_names

                option.help = option.help.replace(STAGES, ", ".join(run_names()))
        super().format_help(ctx, formatter)
