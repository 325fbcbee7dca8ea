"""Command-line parsers whose errors are one line."""

import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, get_args, get_origin

from docstring_parser import parse as parse_docstring
from jsonargparse import ArgumentParser

from emovc.common.errors import UserError
from emovc.common.files import same_file

LEAST = {"seed": 0, "num_workers": 0, "devices": 1}  # of parameters that many commands have
LONGEST = 300  # characters of a message; jsonargparse quotes every type of a union
OUTPUTS = {"out", "folder"}  # parameters that commands write to


def one_line(message: str) -> str:
    """The point of jsonargparse's message, which quotes whole subtrees over many lines.

    Args:
        message: What jsonargparse says.

    Returns:
        Key and problem, and where to look.
    """
    text = " ".join(message.split())
    key = ".".join(dict.fromkeys(re.findall(r'(?:Parser key|key) "([\w.]+)"', text)))
    inner = re.search(r"Errors: - (?!Expected)(.+?); correct it", text)  # of a nested parser
    if inner:
        return f"{key}.{inner[1]}; correct it, or see --help"
    for pattern in (
        r"Option '[^']+' is not accepted",
        r"Problem with given class_path '[^']+': [^-]+?(?= - |$)",
        r"Expected a <[^>]+>\. Got value: [^\s;]+",
        r"Expected a typing\.Literal\[[^\]]+\]\. Got value: \S+",
        r"Unable to load config [^-]+?(?= - |$)",
    ):
        found = re.search(pattern, text)
        if found:
            reason = found[0].strip().replace("Expected a typing.Literal", "Expected one of ")
            return f"{key or 'arguments'}: {reason}; correct it, or see --help"
    given = re.search(r"Given value: (\S+)$", text)
    if given:
        return f"{key or 'arguments'}: {given[1]} is none of its options; see --help"
    text = re.sub(r" Given value type:.*", "", text)
    text = f"{text}; see --help" if "required" in text else text
    if len(text) <= LONGEST:
        return text
    value = re.search(r"Got value: (\S{1,60})|Given value: (\S{1,60})", text)
    if key and value:
        return f"{key}: {value[1] or value[2]} is of none of the types it takes; see --help"
    return f"{text[: LONGEST - 40]}... ; correct it, or see --help"


def reason_of(message: str) -> str | None:
    """What a constructor said, out of jsonargparse's account of all types it tried.

    Args:
        message: Text of its ValueError.

    Returns:
        The first error that isn't of a type; nothing if there is none.
    """
    lines = re.findall(r"^\s+- (.+)", message, re.MULTILINE)
    reasons = [one for one in lines if not one.startswith(("Does not validate", "Expected a"))]
    return reasons[0] if reasons else None


class OneLineErrors(ArgumentParser):
    """A parser that raises what is wrong instead of printing its usage and exiting."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise the message, without the lines jsonargparse breaks it into."""
        if isinstance(ex, UserError):
            raise ex
        raise UserError(one_line(message)) from None


def run_function(
    function: Callable[..., None],
    args: list[str],
    command: str,
    many: str | None = None,
    out: bool = False,
) -> None:
    """Run a typed function from the command line.

    Parameters without a default are positional, the others options; ``--config FILE`` reads both.
    Lists take one or more words, and may be given several times.

    Args:
        function: What to run; its signature and docstring make the help.
        args: Words of the command line.
        command: Name shown in the help.
        many: Positional parameter that takes one or more words.
        out: Write the parameter ``out`` as ``-o``.

    Raises:
        UserError: The words don't fit.
    """
    described = parse_docstring(function.__doc__ or "")
    about = {p.arg_name: p.description for p in described.params}
    parameters = inspect.signature(function).parameters
    lists = {name: _item_type(p.annotation) for name, p in parameters.items()}
    apart: set[str | int] = {name for name, item in lists.items() if item}
    apart |= {"out"} if out else set()
    parser = OneLineErrors(
        prog=f"emovc {command}", description=described.short_description, allow_abbrev=False
    )
    parser.add_argument("--config", action="config", help="YAML file with these arguments.")
    parser.add_function_arguments(function, as_positional=True, skip=apart)
    for name, item in lists.items():
        if item and name == many:
            parser.add_argument(name, nargs="+", type=item, help=about[name])
        elif item:
            needed = parameters[name].default is inspect.Parameter.empty
            parser.add_argument(
                f"--{name}",
                action="extend",
                nargs="+",
                type=item,
                required=needed,
                help=about[name],
            )
    if out:
        kind = parameters["out"].annotation
        parser.add_argument("-o", "--out", type=kind, required=True, help=about["out"])
    built = parser.instantiate(parser.parse_args(args))
    require_counts({name: built[name] for name in parameters})
    require_outputs_apart({name: built[name] for name in parameters})
    if isinstance(device := built.get("device"), str):
        require_device(device)
    function(**{name: built[name] for name in parameters})


def require_counts(arguments: Mapping[str, Any]) -> None:
    """Refuse numbers that no command can take.

    Args:
        arguments: Arguments of a command by name.

    Raises:
        UserError: A seed or a number of processes is below 0, or one of devices below 1.
    """
    for name, least in LEAST.items():
        value = arguments.get(name)
        if isinstance(value, int) and value < least:
            raise UserError(f"--{name} {value}: give {least} or more")


def require_outputs_apart(arguments: Mapping[str, Any]) -> None:
    """Refuse to write where a command reads.

    Args:
        arguments: Arguments of a command by name; ``out`` and ``folder`` are written to, other
            paths are read.

    Raises:
        UserError: A path to write is one of those to read.
    """
    given = {
        name: [v for v in (value if isinstance(value, list) else [value]) if isinstance(v, Path)]
        for name, value in arguments.items()
    }
    for output in OUTPUTS & given.keys():
        for name, paths in given.items():
            if name not in OUTPUTS and any(
                same_file(path, to) for path in paths for to in given[output]
            ):
                raise UserError(
                    f"{output} {given[output][0]}: is what {name} reads and would be overwritten;"
                    " give another"
                )


def require_device(name: str) -> None:
    """Refuse a device that PyTorch doesn't know or that isn't here.

    Args:
        name: What ``--device`` is given.

    Raises:
        UserError: It can't be computed on.
    """
    if name == "cpu":
        return
    import torch

    try:
        torch.zeros(1, device=torch.device(name)).cpu()
    except (RuntimeError, AssertionError, NotImplementedError):
        raise UserError(
            f"device {name}: PyTorch can't compute on it here; give cpu, or cuda on a GPU"
        ) from None


def _item_type(annotation: Any) -> type | None:
    """``X`` of ``list[X]`` or ``list[X] | None``, else nothing."""
    for option in (annotation, *get_args(annotation)):
        if get_origin(option) is list:
            return get_args(option)[0]
    return None
