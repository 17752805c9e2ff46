"""Command lines made from dataclasses: a field is a flag, and its docstring the help."""

import argparse
import inspect
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import MISSING, fields
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from gpt2.command import DEBUG

Settings = TypeVar("Settings")


def add_debug_flag(parser: argparse.ArgumentParser) -> None:
    """--debug, the same for every program."""
    parser.add_argument(
        "--debug", action="store_true", help=f"show the traceback of what fails (or {DEBUG}=1)"
    )


def add_settings(parser: argparse.ArgumentParser, kind: type, *, place: str = "") -> None:
    """A flag for each field of a dataclass; its docstring's Args are the help, its defaults theirs.

    Args:
        kind: its Literals are choices; a field without a default must be given.
        place: the field that is given by its place, without a flag.
    """
    told, types = _args_of(kind), get_type_hints(kind)
    for field in fields(kind):
        options: dict[str, Any] = {"help": told.get(field.name, "")}
        hint = types[field.name]
        if get_origin(hint) is Literal:
            options["choices"] = get_args(hint)
        elif hint is bool:
            options["action"] = "store_true"
        elif get_origin(hint) is tuple:
            options |= {"nargs": "+", "type": get_args(hint)[0]}
        else:
            options["type"] = next(t for t in (get_args(hint) or (hint,)) if t is not NoneType)
        if options.get("type") is str:
            options["metavar"] = field.name.upper()
        if field.default is MISSING:
            options["required"] = True
        else:
            options["default"] = field.default
            if field.default is not False and field.default not in (None, ""):
                options["help"] += f" ({field.default})"
        options["help"] = options["help"].replace("%", "%%")
        if field.name == place:
            options.pop("required", None)
            parser.add_argument(field.name, **options)
        else:
            parser.add_argument("--" + field.name.replace("_", "-"), **options)


def parser_for(description: str, *kinds: type, prog: str | None = None) -> argparse.ArgumentParser:
    """The command line of a program: the flags of some dataclasses, and --debug."""
    made = argparse.ArgumentParser(prog=prog, description=description)
    for kind in kinds:
        add_settings(made, kind)
    add_debug_flag(made)
    return made


def settings_of(kind: type[Settings], args: argparse.Namespace) -> Settings:
    """The dataclass that add_settings's flags make."""
    given = {field.name: getattr(args, field.name) for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in given.items()})


def _args_of(kind: type) -> dict[str, str]:
    """What the docstrings of a class and its bases say of each argument, in one line each."""
    found: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        found |= told_of(inspect.cleandoc(one.__doc__ or ""))
    return found


def told_of(docstring: str) -> dict[str, str]:
    """What a docstring says of each argument, in one line each."""
    text = docstring.partition("Args:\n")[2].partition("\n\n")[0]
    told = re.findall(r"^    (\w[\w, ]*): (.*(?:\n     .*)*)", text, flags=re.M)
    lines = ((name, " ".join(said.split()).removesuffix(".")) for name, said in told)
    return {name.strip(): said for names, said in lines for name in names.split(",")}


def typed(program: str, argv: Sequence[str] | None) -> str:
    """The command line as it goes into a record: without the directories of its paths."""
    words = sys.argv[1:] if argv is None else argv
    return " ".join([program, *map(os.path.basename, words)])
