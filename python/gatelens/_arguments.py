"""Python's arguments as the program's: nothing is known of its options here, so that it can refuse what it does not have."""

from __future__ import annotations

import numbers
import os
from collections.abc import Mapping


def flags(options: Mapping[str, object]) -> list[str]:
    """`text_tokens=5` is `--text-tokens=5`; True is the flag alone, None and False are nothing, and a list is the flag once for
    each of its values, which the program reads as it reads commas. `class_` is `--class`, which Python keeps for itself.
    """
    words: list[str] = []
    for name, value in options.items():
        flag = "--" + name.rstrip("_").replace("_", "-")
        if value is None or value is False:
            continue
        if value is True:
            words.append(flag)
        elif isinstance(value, (list, tuple)):
            if not value:
                raise ValueError(f"{name} is an empty list; leave it out, or name what it should hold")
            words += [f"{flag}={text(name, item)}" for item in value]
        else:
            words.append(f"{flag}={text(name, value)}")
    return words


def text(name: str, value: object) -> str:
    """A value as one word of the command line."""
    if isinstance(value, str):
        return value
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return str(value)
    raise TypeError(
        f"{name} is a {type(value).__name__}; it can be text, a number, a path, True, False, None, or a list of texts, numbers and paths"
    )
