"""`eofuse completion`: a script by which a shell completes commands, options and their choices, and file names elsewhere."""

import argparse
from collections.abc import Iterator

from eofuse.cli.output import show

SHELLS = ("bash", "zsh")

SCRIPT = """\
_eofuse() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" words=""
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="{commands}"
    else
        case "${{COMP_WORDS[1]}} $before" in
{choices}
        esac
        if [ -z "$words" ]; then
            case "$word" in
                -*) case "${{COMP_WORDS[1]}}" in
{options}
                esac ;;
            esac
        fi
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _eofuse eofuse
"""

FOR_ZSH = "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n"


def run_completion(arguments: argparse.Namespace) -> None:
    """Does `eofuse completion`."""
    from eofuse.cli.parser import make_parser

    show(script(arguments.shell, make_parser()).rstrip("\n"))


def script(shell: str, parser: argparse.ArgumentParser) -> str:
    """The script of a shell, for a parser with commands."""
    commands = _commands(parser)
    choices, options = [], []
    for name, command in commands.items():
        options.append(f'                    {name}) words="{" ".join(_options(command))}" ;;')
        for action in command._actions:
            if action.option_strings and action.choices is not None:
                cases = "|".join(f'"{name} {option}"' for option in action.option_strings)
                choices.append(f'            {cases}) words="{" ".join(map(str, action.choices))}" ;;')
    text = SCRIPT.format(commands=" ".join(commands), choices="\n".join(choices), options="\n".join(options))
    return FOR_ZSH + text if shell == "zsh" else text


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    actions = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return {name: command for action in actions for name, command in action.choices.items()}


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        yield from (option for option in action.option_strings if option.startswith("--"))
