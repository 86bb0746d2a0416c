"""A YAML file in, its value and the line of everything in it out; what is not plain data is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tempzero.config.problems import FilePath, format_path
from tempzero.errors import TempzeroError

_MOST_NODES = 5_000_000


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML in which dates stay text and a key given twice is an error, not a silent winner."""


_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_yaml(path: Path, error: type[TempzeroError]) -> tuple[Any, dict[FilePath, int]]:
    """A YAML file's value, and the line (from 1) of each path in it. Raises `error`."""
    try:
        loader = _StrictLoader(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise error(f"{path}: no such file; `tempzero init` writes a first one") from None
    except (OSError, UnicodeDecodeError) as problem:
        raise error(f"{path}: cannot be read: {problem}") from None
    except yaml.YAMLError as problem:
        raise error(f"{path}: not YAML: {_describe_yaml_problem(problem)}") from None
    try:
        node = loader.get_single_node()
        lines: dict[FilePath, int] = {}
        if node is None:
            return None, lines
        if _count_nodes(node) > _MOST_NODES:
            raise error(
                f"{path}: its aliases (*name) unfold to more than {_MOST_NODES} values; write out what is meant"
            )
        _record_lines(node, (), lines, path, error)
        return loader.construct_document(node), lines
    except yaml.YAMLError as problem:
        raise error(f"{path}: not YAML: {_describe_yaml_problem(problem)}") from None
    except RecursionError:
        raise error(f"{path}: nested too deep, or an alias (*name) that holds itself") from None
    finally:
        loader.dispose()


def _count_nodes(node: yaml.Node) -> int:
    """How many values there are once every alias is written out; each node is looked at once."""
    counts: dict[int, int] = {}

    def count(one: yaml.Node) -> int:
        if id(one) not in counts:
            inner = one.value if isinstance(one, yaml.SequenceNode) else ()
            if isinstance(one, yaml.MappingNode):
                inner = [part for pair in one.value for part in pair]
            counts[id(one)] = 1 + sum(count(part) for part in inner)
        return counts[id(one)]

    return count(node)


def _record_lines(
    node: yaml.Node, at: FilePath, lines: dict[FilePath, int], path: Path, error: type[TempzeroError]
) -> None:
    lines[at] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(getattr(key, "value", key))
            if name in seen and name != "<<":
                raise error(
                    f'{path}:{key.start_mark.line + 1}: {format_path((*at, name))}: key "{name}" is given twice'
                )
            seen.add(name)
            _record_lines(value, (*at, name), lines, path, error)
            lines[(*at, name)] = key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _record_lines(value, (*at, index), lines, path, error)


def _describe_yaml_problem(problem: yaml.YAMLError) -> str:
    mark = getattr(problem, "problem_mark", None)
    where = f"line {mark.line + 1}: " if mark else ""
    return where + str(getattr(problem, "problem", None) or problem).replace("\n", " ")
