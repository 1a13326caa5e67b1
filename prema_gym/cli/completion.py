"""``prema-gym completion``: scripts that complete commands, options, and names of policies, networks and presets.

The scripts hold all words, so that pressing the tab key starts no Python. Print them again after an upgrade.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from prema_gym.cli.commands import COMMANDS, parser_of
from prema_gym.cli.parser import PROG
from prema_gym.errors import PremaError
from prema_gym.exits import Parser, guarded

DESCRIPTION = """\
Print a script that makes the tab key complete commands, options, and names of policies, networks and presets."""

EPILOG = f"""\
examples:
  mkdir -p ~/.local/share/bash-completion/completions
  {PROG} completion bash > ~/.local/share/bash-completion/completions/{PROG}
  {PROG} completion zsh > ~/.zfunc/_{PROG}       with fpath+=(~/.zfunc) before compinit in ~/.zshrc
  {PROG} completion fish > ~/.config/fish/completions/{PROG}.fish

In the present shell only: eval "$({PROG} completion bash)"."""

SHELLS = ("bash", "zsh", "fish")
GLOBAL_OPTIONS = ("--help", "--version", "--import")


class Option(NamedTuple):
    """An option of a command, or its positional argument (``flag`` is empty)."""

    flag: str
    values: tuple[str, ...]
    """Words that may follow; none where they are free."""
    takes_value: bool
    help: str


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(f"{PROG} completion", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("shell", choices=SHELLS, help="whose script")
    return parser


def known_values() -> dict[str, tuple[str, ...]]:
    """Return the names that may follow, by the option's destination."""
    from baselines.policies.registry import POLICIES
    from prema_gym.config import MECHANISMS, NPUConfig
    from prema_gym.config.scenarios import SCENARIOS
    from prema_gym.workloads.models import MODELS
    from prema_gym.workloads.seeding import SPLITS

    policies, models = tuple(POLICIES), tuple(MODELS)
    return {
        "policy": policies,
        "versus": policies,
        "policies": (*policies, "all"),
        "model": models,
        "models": models,
        "npu": tuple(NPUConfig.PRESETS),
        "mechanisms": tuple(MECHANISMS),
        "scenario": tuple(SCENARIOS),
        "split": tuple(SPLITS),
    }


def options_of(name: str, values: dict[str, tuple[str, ...]]) -> Iterator[Option]:
    """Yield the options of a command; only ``--help`` where its parser can't be had."""
    try:
        parser = parser_of(name)
    except PremaError:
        parser = None
    if parser is None:
        yield Option("--help", (), False, "print its options")
        return
    for action in (action for action in parser._actions if action.help != argparse.SUPPRESS):
        words = tuple(map(str, action.choices)) if action.choices else values.get(action.dest, ())
        flags = [flag for flag in action.option_strings if flag.startswith("--")]
        if flags or words:
            brief = (action.help or "").split(";")[0].split(" (default")[0]
            yield Option(flags[0] if flags else "", words, action.nargs != 0, brief)


def catalogue() -> dict[str, list[Option]]:
    """Return the options of every command."""
    values = known_values()
    return {name: list(options_of(name, values)) for name in COMMANDS}


def bash(commands: dict[str, list[Option]]) -> str:
    """Return the script of bash; zsh runs it too."""
    arms = "\n".join(_bash_arm(name, options) for name, options in commands.items())
    return _BASH.format(commands=" ".join(commands), options=" ".join(GLOBAL_OPTIONS), arms=arms)


def _bash_arm(name: str, options: list[Option]) -> str:
    """Return the case of one command: its flags, and what may follow the last of them."""
    flags = " ".join(option.flag for option in options if option.flag)
    first = " ".join(word for option in options if not option.flag for word in option.values)
    choices = [
        f'          {option.flag}) words="{" ".join(option.values)}" ;;' for option in options if option.flag and option.values
    ]
    free = [option.flag for option in options if option.flag and option.takes_value and not option.values]
    files = [f"          {'|'.join(free)}) files=1 ;;"] if free else []
    named = [f'          *) words="{first}" ;;'] if first else []
    head = [f'    {name}) flags="{flags}"', '        case "$option" in']
    return "\n".join([*head, *choices, *files, *named, "        esac ;;"])


_BASH = """\
# Completion of prema-gym for bash, printed by: prema-gym completion bash
_prema_gym() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" command="" option="" flags="" words="" files="" i=1
    COMPREPLY=()
    while [ "$i" -lt "$COMP_CWORD" ]; do
        case "${{COMP_WORDS[i]}}" in
            --import) i=$((i + 1)) ;;
            -*) ;;
            *) command="${{COMP_WORDS[i]}}"; break ;;
        esac
        i=$((i + 1))
    done
    if [ -z "$command" ]; then
        COMPREPLY=($(compgen -W "{commands} {options}" -- "$current"))
        return
    fi
    while [ "$i" -lt "$COMP_CWORD" ]; do
        case "${{COMP_WORDS[i]}}" in --*) option="${{COMP_WORDS[i]}}" ;; esac
        i=$((i + 1))
    done
    case "$command" in
{arms}
    esac
    case "$current" in -*) words="$flags"; files="" ;; esac
    if [ -n "$files" ]; then
        COMPREPLY=($(compgen -f -- "$current"))
    elif [ -n "$words" ]; then
        COMPREPLY=($(compgen -W "$words" -- "$current"))
    else
        COMPREPLY=($(compgen -W "$flags" -- "$current"))
    fi
}}
complete -o filenames -F _prema_gym prema-gym
"""


def zsh(commands: dict[str, list[Option]]) -> str:
    """Return the script of zsh: bash's, by zsh's own emulation of its completion."""
    begin = "#compdef prema-gym\nautoload -U +X bashcompinit && bashcompinit\n"
    return begin + bash(commands).replace("for bash, printed by: prema-gym completion bash", "for zsh")


def fish(commands: dict[str, list[Option]]) -> str:
    """Return the script of fish."""
    lines = ["# Completion of prema-gym for fish, printed by: prema-gym completion fish", f"complete -c {PROG} -f"]
    for name, options in commands.items():
        lines.append(f"complete -c {PROG} -n __fish_use_subcommand -a {name} -d {_quoted(COMMANDS[name].summary)}")
        for option in options:
            parts = [f"complete -c {PROG} -n '__fish_seen_subcommand_from {name}'"]
            parts += [f"-l {option.flag[2:]}", f"-d {_quoted(option.help)}"] if option.flag else []
            if option.values:
                parts.append(f"-{'x' if option.flag else 'f'} -a {_quoted(' '.join(option.values))}")
            elif option.takes_value:
                parts.append("-r")
            lines.append(" ".join(parts))
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("%%", "%") + "'"


_SCRIPTS = {"bash": bash, "zsh": zsh, "fish": fish}


def script(options: argparse.Namespace) -> None:
    """Print the script."""
    print(_SCRIPTS[options.shell](catalogue()), end="")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = build_parser().parse_args(arguments)
    return guarded(lambda: script(options))
