"""``healthseg completion``: commands, options, tools and their parameters by Tab, in bash, zsh and fish.

The shell's function calls ``healthseg completion words``, which prints what may come next, one a line.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence

from healthseg.cli.options import OK, Commands, add_command

SCRIPTS = {
    "bash": """_healthseg() {
    COMPREPLY=()
    local line
    while IFS= read -r line; do COMPREPLY+=("$line"); done \\
        < <(healthseg completion words "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace
}
complete -o default -F _healthseg healthseg""",
    "zsh": """#compdef healthseg
_healthseg() {
    local -a candidates
    candidates=("${(@f)$(healthseg completion words "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n ${candidates[1]} ]]; then compadd -- $candidates; else _files; fi
}
compdef _healthseg healthseg""",
    "fish": """function __healthseg_complete
    set -l words (commandline -opc) (commandline -ct)
    healthseg completion words $words[2..-1] 2>/dev/null
end
complete -c healthseg -a "(__healthseg_complete)\"""",
}
NOTES = """in ~/.bashrc:                      eval "$(healthseg completion bash)"
in ~/.zshrc, after compinit:       eval "$(healthseg completion zsh)"
in fish:                           healthseg completion fish > ~/.config/fish/completions/healthseg.fish"""


def add(commands: Commands) -> None:
    parser = add_command(
        commands,
        "completion",
        "completion of commands by Tab, for your shell",
        run,
        examples=("completion bash", "completion zsh", "completion fish"),
        notes=NOTES,
    )
    parser.add_argument(
        "shell", metavar="SHELL", choices=(*SCRIPTS, "words"), help="bash, zsh or fish"
    )
    parser.add_argument("words", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    from healthseg.cli.main import command_parser

    if arguments.shell == "words":
        print("\n".join(candidates(command_parser(), arguments.words or [""])))
    else:
        print(SCRIPTS[arguments.shell])
    return OK


def candidates(parser: argparse.ArgumentParser, words: Sequence[str]) -> list[str]:
    """What may stand in the place of the last word; empty where files are expected."""
    *before, last = words
    tool = ""
    previous: argparse.Action | None = None
    for word in before:
        options = {name: action for action in parser._actions for name in action.option_strings}
        commands = _subcommands(parser)
        if previous is not None:
            previous = None
        elif word in options:
            previous = options[word] if options[word].nargs != 0 else None
        elif commands is not None and word in commands.choices:
            parser = commands.choices[word]
        elif not word.startswith("-"):
            tool = word
    return [word for word in _next(parser, previous, tool, last) if word.startswith(last)]


def _subcommands(parser: argparse.ArgumentParser) -> argparse._SubParsersAction | None:
    actions = (
        action for action in parser._actions if isinstance(action, argparse._SubParsersAction)
    )
    return next(actions, None)


def _next(
    parser: argparse.ArgumentParser, previous: argparse.Action | None, tool: str, last: str
) -> Iterable[str]:
    if previous is not None:
        if "-p" in previous.option_strings:
            return _parameters(tool)
        return map(str, previous.choices or ())
    if last.startswith("-"):
        return sorted(name for action in parser._actions for name in action.option_strings)
    return _positionals(parser)


def _positionals(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        if action.option_strings:
            continue
        if action.metavar == "TOOL":
            from healthseg.reports import registry

            yield from registry.names()
        elif action.choices is not None:
            yield from (str(choice) for choice in action.choices if choice != "words")


def _parameters(tool: str) -> list[str]:
    from healthseg.reports import registry

    if tool not in registry.names():
        return []
    return [f"{name}=" for name in registry.tool(tool).parameters.model_fields]
