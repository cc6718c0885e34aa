"""Measures how fast mails of the SpamAssassin corpus are read, and tries broken ones.

--speed    mails read a second, and read and scored, beside bogofilter on the same files: medians of
           interleaved rounds on one core. Reads the network that `dvc repro` left in models/.
--fuzz N   reads N mutated mails and writes a verdict into each. Prints what fails with its seed,
           the slowest mail, the memory, and the lines of the reader that never ran.

How well mails are told apart, `python -m benchmarks.quality --source spamassassin` measures.
"""

import multiprocessing
import os
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from pipeline.core.cli import argument_parser, project_root, run_stage
from pipeline.core.files import read_json
from pipeline.sources import mail
from pipeline.sources.archives import open_folders
from pipeline.sources.fetch import DOWNLOADS_FOLDER, LOCK_FILE, pinned_download, read_pins
from pipeline.sources.kinds import parse_declaration
from tests.harness import line_trace
from tests.harness.mail_mutations import check_reading, check_verdict, mutated

EXAMPLE = "python -m benchmarks.mail --fuzz 5000"
SOURCE = "spamassassin"
MODELS = Path("models")
CHUNK = 500  # mutated mails of one process, after whose crash the next one goes on
TRACED = 10  # one mail of so many is read with a line trace, which is slow


@contextmanager
def corpus() -> Iterator[dict[str, list[Path]]]:
    """The files of the mails by label, unpacked as ingest unpacks them. Raises: PipelineError."""
    pin = read_pins(LOCK_FILE)[SOURCE]
    _, declared = parse_declaration(SOURCE, pin.declared, str(LOCK_FILE))
    download = pinned_download(pin, SOURCE, project_root() / DOWNLOADS_FOLDER)
    with open_folders(download, declared.members, f"{LOCK_FILE}: {SOURCE}") as folders:
        files: dict[str, list[Path]] = {"ham": [], "spam": []}
        for name, folder in folders.items():
            label = declared.read.label_by_folder[Path(name).name]
            files[label] += sorted(folder.iterdir())
        yield files


# ---- speed


def speed_calls(files: dict[str, list[Path]], folder: str) -> dict[str, Callable[[], object]]:
    """What is timed, by its name. Args: folder: an empty one, for bogofilter's words."""
    from pipeline.models import keras_files  # seconds, which --fuzz need not spend
    from pipeline.models.scoring import network_scorer

    paths = [path for group in files.values() for path in group]
    tokenizer = read_json(MODELS / "tokenizer.json")
    score = network_scorer(tokenizer, keras_files.load(MODELS / "model.keras"))

    def read() -> list[str]:
        return [mail.read_mail(path.read_bytes()).text for path in paths]

    calls: dict[str, Callable[[], object]] = {"read": read}
    score(read())  # compiles
    calls["read and scored"] = lambda: score(read())
    if not shutil.which("bogofilter"):
        print("bogofilter is left out: `apt-get install bogofilter` installs it")
        return calls

    def bogofilter(option: str, paths: Sequence[Path]) -> None:
        names = "".join(f"{path}\n" for path in paths)
        command = ["bogofilter", "--bogofilter-dir", folder, "-b", option]
        subprocess.run(command, input=names, text=True, stdout=subprocess.DEVNULL)

    bogofilter("-s", files["spam"])
    bogofilter("-n", files["ham"])
    calls["bogofilter"] = lambda: bogofilter("-T", paths)
    return calls


def measure_speed(rounds: int) -> str:
    """Markdown: medians of mails a second on one core."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with corpus() as files, tempfile.TemporaryDirectory() as folder:
        calls = speed_calls(files, folder)
        count = sum(map(len, files.values()))
        seconds: dict[str, list[float]] = {name: [] for name in calls}
        for _ in tqdm(range(rounds), "rounds", disable=None):
            for name, call in calls.items():
                start = time.perf_counter()
                call()
                seconds[name].append(time.perf_counter() - start)
    lines = [f"| {count:,} mails, one core | mails a second |", "|---|---|"]
    lines += [f"| {name} | {count / statistics.median(s):,.0f} |" for name, s in seconds.items()]
    return "\n".join(lines)


# ---- mutated mails


@dataclass
class FuzzReport:
    """What happened to some mutated mails."""

    failures: dict[int, str] = field(default_factory=dict)  # by seed
    slowest: tuple[float, int, int] = (0.0, 0, 0)  # processor seconds, seed, bytes
    memory: float = 0.0  # MB at the peak, beyond what the process began with
    lines: set[int] = field(default_factory=set)  # of the reader, that ran

    def add(self, other: "FuzzReport") -> None:
        """Adds the report on other mails."""
        self.failures |= other.failures
        self.slowest = max(self.slowest, other.slowest)
        self.memory = max(self.memory, other.memory)
        self.lines |= other.lines


def fuzz_chunk(mails: Sequence[bytes], seeds: range, current: Any, reports: Any) -> None:
    """Puts the report on the mails of the seeds. Args: current: the seed of the mail in work."""
    report = FuzzReport()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in seeds:
        current.value = seed
        raw = mutated(mails, seed)
        start = time.process_time()
        try:
            check_reading(raw)
            check_verdict(raw)
        except Exception as error:
            report.failures[seed] = repr(error)
        report.slowest = max(report.slowest, (time.process_time() - start, seed, len(raw)))
        if seed % TRACED == 0:
            report.lines |= line_trace.run_lines(mail, check_reading, raw)
    report.memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024
    reports.put(report)


def fuzz(mails: Sequence[bytes], seeds: range) -> FuzzReport:
    """The report on the mails of the seeds; a crash of the process is one of its failures."""
    context = multiprocessing.get_context("fork")
    total, first = FuzzReport(), seeds.start
    with tqdm(total=len(seeds), unit=" mails", disable=None) as bar:
        while first < seeds.stop:
            chunk = range(first, min(first + CHUNK, seeds.stop))
            current, reports = context.Value("q", first), context.SimpleQueue()
            child = context.Process(target=fuzz_chunk, args=(mails, chunk, current, reports))
            child.start()
            child.join()
            if child.exitcode == 0:
                total.add(reports.get())
                first = chunk.stop
            else:  # the mails before it are not tried again
                total.failures[current.value] = f"the process ended with {child.exitcode}"
                first = current.value + 1
            bar.update(first - chunk.start)
    return total


def fuzz_text(report: FuzzReport, count: int) -> str:
    """The report, as it is printed."""
    all_lines = line_trace.function_lines(mail)
    missed = sorted(all_lines - report.lines)
    seconds, seed, size = report.slowest
    share = 1 - len(missed) / len(all_lines)
    lines = [f"{count:,} mutated mails: {len(report.failures)} failures"]
    lines += [f"seed {seed}: {problem}" for seed, problem in sorted(report.failures.items())]
    lines.append(f"slowest: {seconds:.2f} processor seconds for {size:,} bytes, seed {seed}")
    lines.append(f"memory: {report.memory:.0f} MB more at the peak")
    return "\n".join([*lines, f"{share:.1%} of the reader's lines ran; not: {missed}"])


def main(argv: list[str] | None = None) -> None:
    parser = argument_parser(__doc__, EXAMPLE)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--speed", action="store_true", help="measure the speed")
    which.add_argument("--fuzz", type=int, metavar="N", help="try N mutated mails")
    parser.add_argument("--rounds", type=int, default=5, help="of --speed (default: 5)")
    parser.add_argument("--seed", type=int, default=0, help="of the first mail (default: 0)")
    options = parser.parse_args(argv)
    if options.speed:
        print(measure_speed(options.rounds))
        return
    with corpus() as files:
        mails = [path.read_bytes() for group in files.values() for path in group]
    seeds = range(options.seed, options.seed + options.fuzz)
    print(fuzz_text(fuzz(mails, seeds), options.fuzz))


if __name__ == "__main__":
    run_stage(main)
