"""Prompt files and folders (YAML, JSONL, CSV) in, a Suite with its digest out; what is wrong is said by line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import get_args

from tempzero.errors import SuiteError
from tempzero.suites.declarations import generate_jsonl
from tempzero.suites.entry_parsing import iterate_entries, parse_prompts
from tempzero.suites.freezing import SuiteLock, read_suite_lock, refuse_changed_suites, renew_lock, write_suite_lock
from tempzero.suites.lint import WrittenPrompt, find_changing_answers, find_duplicates, find_near_duplicates
from tempzero.suites.prompt_digests import digest_prompts
from tempzero.suites.prompt_files import Place, SuiteProblem, find_prompt_files
from tempzero.types.asked import Prompt, Suite, SuiteName

__all__ = ["SUITE_NAMES", "digest_prompts", "freeze_suites", "generate_jsonl", "lint_prompts", "load_suite"]

SUITE_NAMES: tuple[SuiteName, ...] = get_args(SuiteName)
_LOCAL: tuple[SuiteName, ...] = ("quick", "standard", "deep")
_CHAINS: tuple[tuple[SuiteName, ...], ...] = (_LOCAL, ("hosted-quick", "hosted"), ("marathon",), ("conversations",))
"""From small to large: in each of these a suite is part of the next."""
_SUITE_FOLDERS: Mapping[SuiteName, str] = {
    "hosted-quick": "hosted",
    "hosted": "hosted",
    "marathon": "marathon",
    "conversations": "conversations",
}
"""Where a folder keeps the prompts of a suite apart, so that nobody else has to read them."""
_ALIKE: Mapping[SuiteName, SuiteName] = {
    "hosted-quick": "quick",
    "hosted": "standard",
    "marathon": "deep",
    "conversations": "deep",
}
"""What is asked of prompts that belong to no such suite, e.g. of somebody's own beside the shipped ones."""


def load_suite(where: Path | Sequence[Path], name: SuiteName = "deep") -> Suite:
    """The prompts that a suite asks, of files and of all prompt files under folders, by name and then in order.

    Of a folder that keeps them apart (`hosted/`, `marathon/`), those of its subfolder. The suite has its name and
    version where every prompt that is asked comes from one folder. Raises SuiteError with one
    line for each problem: file, line, path, what, and what would be right; and where a folder was frozen
    (`suites.lock`) and the suite that is asked is no longer what it was.
    """
    paths = [where] if isinstance(where, Path) else list(where)
    read = _read_prompts([_find_suite_folder(path, name) for path in paths])
    meant = {path: _find_meant_suite(name, own) for path, own in read.items()}
    kept = {path: _select_suite_prompts(meant[path], [one.prompt for one in own]) for path, own in read.items()}
    locks = {path: read_suite_lock(path) for path in read}
    for path, lock in locks.items():
        if lock is not None:
            now = _build_lock([one.prompt for one in read[path]], lock)
            refuse_changed_suites(path, lock, now, meant[path], {prompt.id for prompt in kept[path]})
    asked = [prompt for own in kept.values() for prompt in own]
    if not asked:
        raise SuiteError(f"no prompt belongs to the suite {name}; say `suite: {name}` with those that do, or ask deep")
    whole = _only_folder(kept)
    lock = locks[whole] if whole is not None else None
    ids = {prompt.id for prompt in asked}
    silent = [path for path, own in kept.items() if not own]
    return Suite(
        prompts=tuple(asked),
        digest=digest_prompts(asked),
        name=meant[whole] if whole is not None else None,
        version=_find_version(lock, meant[whole]) if whole is not None else None,
        remarks=(
            *(_nothing_asked(path, len(read[path]), name) for path in silent),
            *find_changing_answers([one for own in read.values() for one in own if one.prompt.id in ids]),
        ),
    )


def _find_suite_folder(path: Path, name: SuiteName) -> Path:
    inside = path / _SUITE_FOLDERS.get(name, "")
    return inside if inside.is_dir() else path


def _find_meant_suite(name: SuiteName, written: Sequence[WrittenPrompt]) -> SuiteName:
    """The suite itself, or where nothing here belongs to one of its kind, the one that asks as much."""
    return name if any(one.prompt.suite in _find_chain(name) for one in written) else _ALIKE.get(name, name)


def _find_chain(name: SuiteName) -> tuple[SuiteName, ...]:
    return next(chain for chain in _CHAINS if name in chain)


def _find_version(lock: SuiteLock | None, name: SuiteName) -> int | None:
    frozen = lock.suites.get(name) if lock else None
    return frozen.version if frozen else None


def _only_folder(kept: Mapping[Path, Sequence[Prompt]]) -> Path | None:
    """The folder that all prompts are from; what others add makes a suite of nobody's name."""
    asked = [path for path, own in kept.items() if own]
    return asked[0] if len(asked) == 1 and asked[0].is_dir() else None


def _nothing_asked(path: Path, prompts: int, name: SuiteName) -> str:
    many = f"none of its {prompts} prompts belongs" if prompts > 1 else "its prompt does not belong"
    return f"{path}: {many} to the suite {name}, so nothing of it is asked; say `suite: {name}` with those to be asked"


def lint_prompts(where: Path | Sequence[Path]) -> tuple[str, ...]:
    """What makes a right answer change, and what is asked nearly twice: one line each. Raises SuiteError."""
    return _collect_remarks([one for own in _read_prompts(where).values() for one in own])


def _collect_remarks(written: Sequence[WrittenPrompt]) -> tuple[str, ...]:
    return (*find_changing_answers(written), *find_near_duplicates(written))


def freeze_suites(folder: Path) -> SuiteLock:
    """Write down what the suites of a folder are: from now on `load` refuses to take anything else for them.

    A suite that has changed since it was frozen gets the next version. Raises SuiteError, also for what `lint` says.
    """
    if not folder.is_dir():
        raise SuiteError(f"{folder}: not a folder; a suite is frozen with all its files")
    written = _read_prompts(folder)[folder]
    said = _collect_remarks(written)
    if said:
        raise SuiteError("\n".join((*said, f"{folder}: not frozen; put right what is said above")))
    lock = _build_lock([one.prompt for one in written], read_suite_lock(folder))
    write_suite_lock(folder, lock)
    return lock


def _build_lock(prompts: Sequence[Prompt], old: SuiteLock | None) -> SuiteLock:
    own = [chain for chain in _CHAINS if any(prompt.suite in chain for prompt in prompts)]
    kept = {name: _select_suite_prompts(name, prompts) for chain in own for name in chain}
    return renew_lock(
        old,
        {name: (digest_prompts(own), len(own)) for name, own in kept.items() if own},
        {prompt.id: digest_prompts([prompt])[:16] for prompt in prompts},
    )


def _select_suite_prompts(name: SuiteName, prompts: Iterable[Prompt]) -> list[Prompt]:
    if name == _LOCAL[-1]:
        return list(prompts)
    chain = _find_chain(name)
    return [prompt for prompt in prompts if prompt.suite in chain[: chain.index(name) + 1]]


def _read_prompts(where: Path | Sequence[Path]) -> dict[Path, list[WrittenPrompt]]:
    """Every prompt under each path with its place. Raises SuiteError."""
    files = _files([where] if isinstance(where, Path) else where)
    problems: list[str] = []
    read: dict[Path, list[WrittenPrompt]] = {path: [] for path in files}
    places: dict[str, Place] = {}
    for path, own in files.items():
        for entry in iterate_entries(own, problems):
            try:
                prompts = parse_prompts(entry)
                for prompt in prompts:
                    _refuse_duplicate_id(prompt.id, entry.place, places)
            except SuiteProblem as problem:
                problems.append(str(problem))
            else:
                read[path] += [WrittenPrompt(prompt=prompt, entry=entry) for prompt in prompts]
    problems += find_duplicates([one for own in read.values() for one in own])
    problems = problems or [
        f"{path}: holds no prompt; write at least one, e.g. {{id: sum, family: maths, prompt: ...}}"
        for path, own in read.items()
        if not own
    ]
    if problems:
        raise SuiteError("\n".join(dict.fromkeys("\n".join(problems).splitlines())))
    return read


def _refuse_duplicate_id(name: str, place: Place, places: dict[str, Place]) -> None:
    first = places.setdefault(name, place)
    if first is not place:
        place.inside("id").refuse(
            f'"{name}" is taken by {first.inside("id").location()}; ids must differ over all files'
        )


def _files(paths: Iterable[Path]) -> dict[Path, list[Path]]:
    """The prompt files of each path. Raises SuiteError, also for a file that two paths name: which part is it of?"""
    files: dict[Path, list[Path]] = {}
    named_by: dict[Path, Path] = {}
    for path in paths:
        for file in find_prompt_files(path):
            first = named_by.setdefault(file.resolve(), path)
            if first is not path:
                raise SuiteError(f"{file}: is asked twice, through {first} and through {path}; name one of them")
            files.setdefault(path, []).append(file)
    return files
