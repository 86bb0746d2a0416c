"""Synthetic run folders in, a table out: seconds and peak memory of `tempzero report` with 10^4 to 10^8 responses.

10 providers, up to 10,000 prompts, 10 repeats and more, texts of some 300 characters. Half of the providers are
deterministic, half diverge on a fifth of the prompts; two in five are another quantisation that parts from the others
somewhere in the text. A fifth of the prompts has an expected number. Each row is the command in a process of its own,
from its start to its exit, with the page, the summary and the tables written; the peak is that of all its processes
together, those that count parts of the records included, looked at ten times a second.

    python tests/benchmarks/analysis_scale.py [--responses 10000 100000 1000000] [--all-different]
        [--facts | --both] [--folder /tmp/scale] [--against OTHER/harness]

`--all-different` makes every response a text of its own: the worst case for everything done once per distinct text.
With `--facts` the folders hold facts in Parquet and no records, which would take 130 GB at 10^8.
With `--against` another, older checkout writes each folder and analyses it too; its rows come first and last.
Rows with the same digest have the same figures, findings and verdict to the last digit.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tempzero import records
from tempzero.config import DEFAULT_CONDITION, Config, parse_config
from tempzero.records.encoded_parts import encode_part
from tempzero.types.asked import ExtractorSpec, Message, Prompt, Suite, Trial
from tempzero.types.recorded import Attempt, Completion, Exchange, Manifest, Outcome, Times, WireRequest, WireResponse

if TYPE_CHECKING:  # an older checkout that is measured against has neither
    from tempzero.analysis.part_counts import CountingSetting, PartCounts

PROVIDERS, MOST_PROMPTS, LEAST_REPEATS = 10, 10_000, 10
# Repeats that may differ; those beyond say again what one of these said.
KINDS = 10
# Prompts that are asked in turn before the next ones are, and those of a part of facts.
PROMPTS_AT_ONCE, PROMPTS_OF_A_PART = 100, 100
CHARS_OF_A_TOKEN = 4
_NOW = "2026-01-01T00:00:00.000+00:00"
# What differs between two attempts with the same answer.
_TIMED = rb'(?<="repeat":)0|"first_byte_s":[^,]*,"end_s":[^,]*,'
_TIMES = b'%b%d%b"first_byte_s":%a,"end_s":%a,%b'
_WHO = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
_SENTENCE = (
    "the model gives an answer that depends on rounding so a small change of one logit may turn this word into "
    "another and what follows is then a different text with its own length style and result therefore we count"
)
_WORDS = _SENTENCE.split()


def suite(prompts: int) -> Suite:
    """One prompt in five asks for a number; five families."""
    return Suite(
        prompts=tuple(
            Prompt(
                id=f"p{j:05}",
                messages=(Message(role="user", content=f"Question {j}"),),
                family=f"family {j % 5}",
                extractor=ExtractorSpec(name="number") if j % 5 == 0 else None,
                expected=str(j) if j % 5 == 0 else None,
            )
            for j in range(prompts)
        ),
        digest="0" * 64,
    )


def settings(repeats: int) -> Config:
    """p0 is the reference."""
    names = [f"p{i}" for i in range(PROVIDERS)]
    entries = [{"name": n, "base_url": "http://127.0.0.1:9/v1", "model": "m", "repeats": repeats} for n in names]
    return parse_config({"version": 1, "providers": entries, "run": {"reference": "p0"}}, source="benchmark")


def text(provider: int, prompt: int, repeat: int, all_different: bool) -> str:
    """Providers share a beginning; where they part depends on their kind, and for some on the repeat."""
    rng = random.Random(prompt)
    words = rng.choices(_WORDS, k=55)
    if provider % 5 >= 3:
        at = rng.randrange(5, 50)
        words[at:] = random.Random(prompt * 7 + provider % 5).choices(_WORDS, k=55 - at)
    if provider % 2 and prompt % 5 == 1 and repeat % 3:
        at = rng.randrange(10, 55)
        words[at:] = random.Random(prompt * 31 + provider * 7 + repeat).choices(_WORDS, k=55 - at)
    if all_different:
        words[40] = f"w{provider}x{repeat}"
    return " ".join(words) + f". The answer is {prompt}."


def divide(responses: int) -> tuple[int, int]:
    """Prompts and repeats of a run of that size."""
    prompts = max(1, min(MOST_PROMPTS, responses // (PROVIDERS * LEAST_REPEATS)))
    return prompts, max(1, responses // (PROVIDERS * prompts))


def encoded_attempts(config: Config, prompts: Suite, repeats: int, all_different: bool) -> Iterator[tuple[bytes]]:
    """In the order of a run, of some prompts after the others: repeat by repeat, all providers of a prompt together.

    No two take the same time, as in life.
    """
    draw = random.Random(1).random
    for first in range(0, len(prompts.prompts), PROMPTS_AT_ONCE):
        known: dict[tuple[int, int, int], tuple[bytes, bytes, bytes]] = {}
        for repeat in range(repeats):
            for j, prompt in enumerate(prompts.prompts[first : first + PROMPTS_AT_ONCE], start=first):
                for i, provider in enumerate(config.providers):
                    kind = repeat if all_different else repeat % KINDS
                    if (i, j, kind) not in known:
                        trial = Trial(provider=provider.name, prompt=prompt.id, condition=DEFAULT_CONDITION, repeat=0)
                        encoded = encode_part(attempt(trial, j, text(i, j, kind, all_different)))
                        before, between, behind = re.split(_TIMED, encoded)
                        known[i, j, kind] = before, between, behind
                    before, between, behind = known[i, j, kind]
                    first_byte_s = 0.1 + draw()
                    yield (_TIMES % (before, repeat, between, first_byte_s, first_byte_s + 2 * draw(), behind),)
                    if all_different:
                        known.clear()


def request_body(prompt: str) -> str:
    """The same for all providers."""
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": prompt}], "temperature": 0})


def attempt(trial: Trial, block: int, answer: str) -> Attempt:
    """A line as long as a real one: the exact request and response beside the completion."""
    body = request_body(trial.prompt)
    reply = json.dumps({"id": "r", "choices": [{"message": {"content": answer}, "finish_reason": "stop"}]})
    return Attempt(
        trial=trial,
        number=1,
        block=block,
        exchange=Exchange(
            request=WireRequest(method="POST", url="http://x/v1", headers=(), body=body, sha256=_sha256(body)),
            response=WireResponse(
                status=200,
                headers=(("content-type", "application/json"),),
                body=reply,
                body_base64=None,
                sha256=_sha256(reply),
                size_bytes=len(reply),
                complete=True,
            ),
            times=Times(started_at=_NOW, first_byte_s=0.0, end_s=0.0, in_flight=1),
            outcome=Outcome(
                status="valid",
                kind="complete",
                completion=Completion(
                    text=answer,
                    finish_reason="stop",
                    served_model="m",
                    prompt_tokens=20,
                    completion_tokens=len(answer) // CHARS_OF_A_TOKEN,
                ),
            ),
        ),
    )


def make_manifest(responses: int) -> Manifest:
    """Of a run of that size."""
    prompts, repeats = divide(responses)
    return Manifest(
        format=records.RUN_FORMAT,
        run_id=f"scale-{responses}",
        created_at=_NOW,
        config=settings(repeats).model_dump(mode="json"),
        suite=suite(prompts),
        plan_digest="0" * 64,
        plan_seed=1,
        skipped=(),
        versions={},
        host={},
        engines={},
    )


def write(folder: Path, responses: int, all_different: bool) -> Path:
    """A finished run folder with that many responses."""
    manifest, repeats = make_manifest(responses), divide(responses)[1]
    path = records.create_run(folder, manifest)
    with records.open_run_writer(path, now=_NOW) as writer:
        writer.append_encoded(b"%b", encoded_attempts(settings(repeats), manifest.suite, repeats, all_different))
        records.finish_session(path, writer, now=_NOW)
    return path


def write_facts(folder: Path, responses: int) -> Path:
    """The same run as facts in Parquet, made without its records."""
    from tempzero.analysis.fact_files import write_part_facts
    from tempzero.analysis.run_facts import make_run_setting, name_part_of_facts, write_facts_index

    path = records.create_run(folder, make_manifest(responses))
    setting, listed = make_run_setting(records.open_run(path)), dict[str, str]()
    prompts, repeats = divide(responses)
    for number, first in enumerate(range(0, prompts, PROMPTS_OF_A_PART), start=1):
        counts = count_made_up_part(setting, range(first, min(prompts, first + PROMPTS_OF_A_PART)), repeats)
        write_part_facts(path, name_part_of_facts(number), counts, setting)
        listed[f"records/part-{number:05}.jsonl"] = _sha256(str(number))
    write_facts_index(path, setting, listed)
    (path / "run.sha256").write_text("".join(f"{digest}  {name}\n" for name, digest in listed.items()))
    return path


def count_made_up_part(setting: CountingSetting, prompts: range, repeats: int) -> PartCounts:
    """What `count_part` gives of a part with all answers to these prompts."""
    from tempzero.analysis.part_counts import INTEGER_COLUMNS, CountedText, PartCounts, narrow_numbers

    texts: dict[CountedText, int] = {}
    of_kind = np.empty((len(prompts), PROVIDERS, KINDS), dtype=np.int64)
    for at, prompt in enumerate(prompts):
        for provider in range(PROVIDERS):
            for kind in range(min(KINDS, repeats)):
                answer = CountedText(prompt, text(provider, prompt, kind, False), True, None)
                of_kind[at, provider, kind] = texts.setdefault(answer, len(texts))
    shape = (repeats, len(prompts), PROVIDERS)
    repeat, prompt, provider = (axis.ravel() for axis in np.indices(shape))
    columns = dict.fromkeys(INTEGER_COLUMNS, np.zeros(repeat.size, dtype=np.int64))
    for name in ("spelled", "bits", "reasoning_tokens"):
        columns[name] = columns["status"] - 1
    columns["provider"], columns["prompt"], columns["repeat"] = provider, prompt + prompts.start, repeat
    columns["number"] = columns["answered"] = columns["in_flight"] = columns["status"] + 1
    columns["text"] = of_kind[prompt, provider, repeat % KINDS]
    columns["request"] = prompt
    columns["prompt_tokens"] = columns["status"] + 20
    tokens = np.array([len(one.text) // CHARS_OF_A_TOKEN for one in texts])
    columns["completion_tokens"] = columns["output_tokens"] = tokens[columns["text"]]
    first_byte_s = 0.1 + np.random.default_rng(prompts.start).random(repeat.size)
    seconds = {"latency_s": first_byte_s * 2, "first_byte_s": first_byte_s}
    return PartCounts(
        columns={name: narrow_numbers(column) for name, column in columns.items()} | seconds,
        conditions=(DEFAULT_CONDITION,),
        texts=tuple(texts),
        spelled=(),
        finish_reasons=("stop",),
        identities=(("m", None, None),),
        requests=tuple(_sha256(request_body(setting.prompts[prompt].id)) for prompt in prompts),
        bits=(),
        parts={},
        limits={},
        failures={},
        flagged={},
        prompts=(),
    )


def conclude_and_digest(path: Path, by_facts: bool) -> None:
    """Run the command and print what it came to, as JSON: the child process of `measure`."""
    from tempzero import cli
    from tempzero.workflow import conclusion

    kept, conclude_run = list[conclusion.Conclusion](), conclusion.conclude_run

    def conclude_and_keep(*given: Any, **named: Any) -> conclusion.Conclusion:
        kept.append(conclude_run(*given, **named))
        return kept[-1]

    setattr(conclusion, conclude_run.__name__, conclude_and_keep)
    with contextlib.redirect_stdout(sys.stderr):
        code = cli.main(["report", str(path), *["--facts"] * by_facts])
    ended, own, helpers = time.monotonic(), *(resource.getrusage(who) for who in _WHO)
    analysis, verdict = kept[0].analysis, kept[0].verdict
    said = (analysis.figures, analysis.findings, analysis.prompt_rows, analysis.curves, verdict)
    row = {
        "ended": ended,
        "code": code,
        "cpu_s": own.ru_utime + own.ru_stime + helpers.ru_utime + helpers.ru_stime,
        "records": analysis.records,
        "prompts": analysis.prompts,
        "findings": len(analysis.findings),
        "digest": hashlib.sha256(repr(said).encode()).hexdigest()[:10],
    }
    print(json.dumps(row), flush=True)


def measure(path: Path, options: list[str], environ: Mapping[str, str]) -> None:
    """Report one folder by the command, and print its row."""
    command, most, begun = [sys.executable, __file__, "--measure", str(path), *options], 0, time.monotonic()
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        said = list[str]()
        reading = threading.Thread(target=lambda: said.extend(child.communicate()))
        reading.start()
        while reading.is_alive():
            most = max(most, sum(map(read_memory_kib, list_processes(child.pid))))
            reading.join(0.1)
    if child.returncode:
        raise SystemExit(said[1])
    row = json.loads(said[0])
    sizes = [(path / name).stat().st_size / 1e6 for name in ("report.html", "summary.json")]
    print(
        f"| {row['records']:,} | {row['prompts']:,} | {'facts' if options else 'records'} "
        f"| {row['ended'] - begun:.1f} | {row['cpu_s']:.1f} | {1e6 * row['cpu_s'] / row['records']:.1f} "
        f"| {most / 2**20:.2f} | {sizes[0]:.2f} | {sizes[1]:.2f} | {row['findings']} | {row['code']} "
        f"| {row['digest']} |",
        flush=True,
    )


def list_processes(process: int) -> Iterator[int]:
    """A process and all that it has begun."""
    yield process
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
            yield from list_processes(int(child))


def read_memory_kib(process: int) -> int:
    """What it holds that is no file's; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def main() -> None:
    """Write, then measure each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--responses", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--all-different", action="store_true")
    parser.add_argument("--facts", action="store_true", help="Parquet in place of records.")
    parser.add_argument("--both", action="store_true", help="Records, then facts that are made of them.")
    parser.add_argument("--folder", type=Path, help="Where run folders are written, and removed afterwards.")
    parser.add_argument("--against", type=Path, help="The harness folder of another checkout.")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write and arguments.facts:
        print(write_facts(arguments.write, arguments.responses[0]))
        return
    if arguments.write:
        print(write(arguments.write, arguments.responses[0], arguments.all_different))
        return
    if arguments.measure:
        conclude_and_digest(arguments.measure, arguments.facts)
        return
    print(
        "| responses | prompts | from | seconds | CPU seconds | CPU µs a response | peak GiB | page MB | summary MB "
        "| findings | exit code | digest |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|", flush=True)
    options = ["--facts"] * arguments.facts
    for responses in arguments.responses:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            other = [{"PYTHONPATH": str(arguments.against)}] if arguments.against else []
            command = [sys.executable, __file__, "--write", folder, "--responses", str(responses), *options]
            command += ["--all-different"] if arguments.all_different else []
            writer = {**os.environ, **(other[0] if other else {})}
            path = subprocess.run(command, env=writer, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
            for changed in (*other, {}, *other):
                measure(Path(path), options, {**os.environ, **changed})
            if arguments.both:
                begun = time.monotonic()
                subprocess.run([sys.executable, "-m", "tempzero", "facts", path], check=True, stdout=subprocess.DEVNULL)
                print(f"`tempzero facts`: {time.monotonic() - begun:.1f} s", flush=True)
                measure(Path(path), ["--facts"], os.environ)


def _sha256(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()


if __name__ == "__main__":
    main()
