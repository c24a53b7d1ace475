"""The front door's first half: options, checked before anything is made; then the environment.

Standard library only: ``run_all.sh`` starts this on a bare Python. The second
half, ``sslauth_utils.engine.run``, goes on inside the environment.
"""

import argparse
import itertools
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from sslauth_utils.base.checks import check_name
from sslauth_utils.base.errors import UserError
from sslauth_utils.base.notebooks import cell_source, read_notebook
from sslauth_utils.base.paths import CONFIG, NOTEBOOKS, RESULTS, ROOT
from sslauth_utils.engine import environment
from sslauth_utils.report.terminal import claims_table

DEFAULT_PROFILE = "demo"
USAGE_ERROR = 2  # exit code for options that make no sense


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}; ./{self.prog} --help shows the options.", file=sys.stderr)
        sys.exit(USAGE_ERROR)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of ``run_all.sh``, with ``snakemake`` holding what follows ``--``.

    Prints one sentence and exits with code 2 if they make no sense.
    """
    own, extra = list(arguments), []
    if "--" in own:
        cut = own.index("--")
        own, extra = own[:cut], own[cut + 1 :]
    parser = _Parser(
        prog="run_all.sh",
        allow_abbrev=False,
        description="Run the notebooks of a profile, only those that something changed for, "
        "and compare the paper's claims with this run.",
        epilog="Arguments after -- go to Snakemake as they are; docs/reproducing.md shows a cluster.",
    )
    parser.add_argument("--profile", default=DEFAULT_PROFILE, metavar="NAME",
                        help=f"size of the run: {', '.join(profiles())} (default: {DEFAULT_PROFILE})")  # fmt: skip
    parser.add_argument("--only", metavar="NAME[,NAME]", type=_notebooks_named,
                        help="these notebooks and what they need; 05 stands for 05_pruning")  # fmt: skip
    parser.add_argument("--jobs", metavar="N", type=_positive, help="notebooks at once (default: one a GPU, else two)")
    parser.add_argument("--figures-only", action="store_true", help="only redraw figures and report from existing rows")
    parser.add_argument("--dry-run", action="store_true", help="show what would run, and run nothing")
    parser.add_argument("--list", action="store_true", help="list notebooks and profiles")
    parser.add_argument("--claims", action="store_true", help="print every claim of the last run, and run nothing")
    parser.add_argument("--fresh", action="store_true", help="first remove the profile's results and figures")
    options = parser.parse_args(own)
    options.snakemake = extra
    if options.profile not in profiles():
        parser.error(f"there is no profile {options.profile!r}; choose one of {', '.join(profiles())}")
    try:
        check_name(f"the name of config/{options.profile}.yaml", options.profile)
    except UserError as error:
        parser.error(str(error).rstrip("."))
    if options.figures_only and (options.only or options.fresh or options.snakemake):
        parser.error("--figures-only redraws everything from what is there: --only, --fresh and -- do not go with it")
    if options.claims and set(own) - {"--claims", "--profile", options.profile, f"--profile={options.profile}"}:
        parser.error("--claims prints what is there: of the other options only --profile goes with it")
    return options


def profiles() -> list[str]:
    """Names of the profiles: the four of the suite by size, then any others."""
    known = ["smoke", "demo", "lite", "paper"]
    found = sorted(path.stem for path in CONFIG.glob("[!.]*.yaml"))  # hidden: an editor's lock or swap file
    return [name for name in known if name in found] + [name for name in found if name not in known]


def notebooks() -> list[str]:
    """Names of the notebooks that a run may hold, in order; the exercises' solutions are no experiment."""
    return sorted(path.stem for path in NOTEBOOKS.glob("[!.]*.ipynb") if path.stem != "solutions")


def _notebooks_named(text: str) -> list[str]:
    chosen = []
    for name in text.split(","):
        fitting = [notebook for notebook in notebooks() if name in (notebook, notebook.split("_")[0])]
        if not fitting:
            raise argparse.ArgumentTypeError(f"there is no notebook {name!r}; there are {', '.join(notebooks())}")
        if len(fitting) > 1:
            raise argparse.ArgumentTypeError(f"{name!r} may be {' or '.join(fitting)}; give the whole name")
        chosen += fitting
    return chosen


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, not {text!r}")
    return int(text)


def listing() -> str:
    """What ``--list`` shows."""
    lines = ["Notebooks:"]
    for name in notebooks():
        content = read_notebook(NOTEBOOKS / f"{name}.ipynb")
        needs = content.get("metadata", {}).get("sslauth", {}).get("needs", [])
        needed = "all others" if needs == ["*"] else ", ".join(needs)
        lines.append(f"  {name:<24} {_title(content)}")
        if needed:
            lines.append(f"  {'':<24} needs {needed}")
    lines.append("Profiles:")
    lines += [f"  {name:<24} {_purpose(CONFIG / f'{name}.yaml', name)}".rstrip() for name in profiles()]
    return "\n".join(lines)


def all_claims(profile: str) -> str:
    """What ``--claims`` shows: every claim of the profile's last run.

    Raises:
        UserError: it has not been run.
    """
    path = RESULTS / profile / "summary.csv"
    if not path.is_file():
        raise UserError(f"Profile {profile} has no table of claims yet; ./run_all.sh --profile {profile} makes it.")
    return claims_table(path, min(100, shutil.get_terminal_size((100, 24)).columns))


def _purpose(path: Path, name: str) -> str:
    """The first sentence of the comment that opens a profile's file, without the profile's name."""
    try:
        content = path.read_text(encoding="utf-8-sig", errors="replace")  # whatever an editor left at its beginning
    except OSError as error:
        return f"(cannot be read: {error.strerror})"
    lines = itertools.takewhile(lambda line: line.startswith("#"), content.splitlines())
    text = " ".join(line.lstrip("# ") for line in lines).removeprefix(f"{name}: ")
    return text.split(". ")[0].rstrip(".")


def _title(notebook: dict) -> str:
    for cell in notebook["cells"]:
        for line in cell_source(cell).splitlines():
            if cell.get("cell_type") == "markdown" and line.startswith("# "):
                return line[2:].strip()
    return "(no title)"


def go_on(python: Path, module: str, arguments: Sequence[str]) -> NoReturn:
    """Become `module` run by the environment's interpreter."""
    sys.stdout.flush()
    os.chdir(ROOT)
    os.execve(python, [str(python), "-m", module, *arguments], environment.clean_variables())


def reader_has_gone() -> int:
    """End quietly where a pipe was closed (``| head``); the exit code of a program that a closed pipe ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still to be flushed has a place
    return 128 + signal.SIGPIPE


def main(arguments: list[str]) -> None:
    """Check the options, see to the environment, and go on in ``sslauth_utils.engine.run``."""
    options = parse(arguments)
    try:
        if options.list:
            print(listing())
            return
        if options.claims:
            print(all_claims(options.profile))
            return
        python = environment.ensure()
    except UserError as error:
        sys.exit(str(error))
    go_on(python, "sslauth_utils.engine.run", arguments)


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="replace")  # a terminal that knows fewer signs still gets the list
    try:
        main(sys.argv[1:])
        sys.stdout.flush()
    except KeyboardInterrupt:
        sys.exit("Interrupted; run again to go on.")
    except BrokenPipeError:
        sys.exit(reader_has_gone())
