"""The commands of this project; ``nox -l`` lists them.

Everything is installed by pip, into environments under ``.nox/``; nothing is fetched from anywhere else.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2026.10"
nox.options.default_venv_backend = "virtualenv"
nox.options.download_python = "never"
# As for every other component: where all are required, a version of Python that is missing is an error.
nox.options.error_on_missing_interpreters = os.environ.get("BACALHAU_TEST_REQUIRE") == "all"
nox.options.sessions = ["lint", "types", "tests"]

PYPROJECT = nox.project.load_toml("pyproject.toml")
SIMULATE = ("python", "-m", "bacalhau_sdk.testing.simulate")
ON_TWO_CORES = ("--processes", "2")
# Tests measure no time, so that they may run beside one another; `-- -n 0` has one process.
ON_ALL_CORES = ("--numprocesses", "auto")
# The versions that are supported, and the one that runs nox, so that there is always one that is found.
PYTHONS = list(dict.fromkeys([*nox.project.python_versions(PYPROJECT), "{}.{}".format(*sys.version_info)]))


def install(session: nox.Session, *groups: str, project: bool = True, extra: str = "") -> None:
    """Install dependency groups, and the project as a user gets it, with an extra."""
    requirements = nox.project.dependency_groups(PYPROJECT, *groups)
    session.install(*requirements, *([f".[{extra}]" if extra else "."] if project else []))


def how_to_suite(session: nox.Session) -> Path:
    """Make a suite, as a test author has one, of the how-to about pytest and of decorated tests, and return its folder."""
    suite = Path(session.create_tmp()) / "suite"
    shutil.rmtree(suite, ignore_errors=True)
    suite.mkdir()
    # Without one of its own the suite would have the project's configuration, which is above it.
    (suite / "pytest.ini").write_text("[pytest]\n")
    session.run("python", "tests/integrations/how_to.py", str(suite / "test_how_to.py"))
    shutil.copy("tests/integrations/decorated.py", suite / "test_decorated.py")
    return suite


@nox.session
def quickstart(session: nox.Session) -> None:
    """Run the first example with nothing but the project installed."""
    install(session)
    session.run("python", "examples/quickstart.py", *session.posargs)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests, in as many processes as there are cores; ``-- ARGS`` go to pytest."""
    install(session, "test")
    session.run("pytest", *ON_ALL_CORES, *session.posargs)


@nox.session(python=PYTHONS[0])
def lowest(session: nox.Session) -> None:
    """Run the tests with the lowest versions that pyproject.toml allows; ``-- ARGS`` go to pytest."""
    session.install("uv")
    install_lowest = ("uv", "pip", "install", "--quiet", "--resolution", "lowest-direct")
    project = ".[progress,pytest,trio,yaml]"
    # First what users may have: the tests of the project need a later pytest than its plugin does.
    session.run(*install_lowest, project)
    with session.chdir(how_to_suite(session)):
        session.run("pytest", "-W", "error")
    session.run(*install_lowest, project, *nox.project.dependency_groups(PYPROJECT, "test"))
    # Not in nox's folder of temporary files, where the suites that tests write would have the project's configuration.
    session.run("pytest", *ON_ALL_CORES, *session.posargs, env={"TMPDIR": None})


@nox.session
def wheel(session: nox.Session) -> None:
    """Install the wheel beside pytest, as a test author does, and use the plugin with no configuration at all."""
    folder = Path(session.create_tmp())
    shutil.rmtree(folder)
    session.run("python", "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), ".")
    [built] = folder.glob("*.whl")
    session.install(f"{built}[pytest,trio]")
    with session.chdir(how_to_suite(session)):
        fixtures = str(session.run("pytest", "--fixtures", silent=True))
        for name in ("bacalhau_cluster", "bacalhau_run", "bacalhau_seed"):
            if f"\n{name} -- " not in fixtures:
                session.error(f"pytest --fixtures does not list {name}:\n{fixtures}")
        strict = ["pytest", "-W", "error"]
        session.run(*strict)
        # Beside other plugins, in any order, and in several processes.
        session.install("pytest-asyncio", "pytest-randomly", "pytest-xdist")
        strict += ["-o", "asyncio_default_fixture_loop_scope=function"]
        session.run(*strict, "-n", "2", "--bacalhau-seed=random")
        session.run(*strict, "-o", "asyncio_mode=auto")
        session.run(*strict, "-o", "anyio_mode=auto")


@nox.session
def simulation(session: nox.Session) -> None:
    """Run simulated worlds, and the real runner under the same faults; ``-- ARGS`` go to the simulator instead."""
    install(session, "test")
    if session.posargs:
        session.run(*SIMULATE, *session.posargs)
        return
    session.run(*SIMULATE, *ON_TWO_CORES, "--seeds", "1000")
    for runner in ("asyncio", "trio"):
        session.run(*SIMULATE, *ON_TWO_CORES, "--seeds", "20", "--runner", runner)


@nox.session
def mutants(session: nox.Session) -> None:
    """Look for every mutant from the first seed on, and write the tables anew; the tests see that all are found."""
    install(session, "test")
    tables = ("--record", "--markdown", "docs/explanation/mutants.md")
    session.run("python", "-m", "tests.simulation.mutants", *tables, *session.posargs)


@nox.session
def campaign(session: nox.Session) -> None:
    """Run 20,000 simulated worlds; takes about an hour on two cores."""
    install(session, "test")
    session.run(*SIMULATE, *ON_TWO_CORES, "--seeds", "20000", *session.posargs)


@nox.session
def notebook(session: nox.Session) -> None:
    """Execute the example notebook, and write its page into build/notebook/, with pictures where Chromium is found."""
    install(session, "notebook", extra="progress")
    session.run("python", "docs/render_notebook.py", "examples/notebook.ipynb", "build/notebook")
    session.run("python", "-m", "tests.blocking.kernel", "--interrupts", "20")


@nox.session
def interrupts(session: nox.Session) -> None:
    """Interrupt programs a thousand times once, a thousand times twice, and 200 with a loop of their own; takes 20 minutes."""
    install(session, "test")
    interrupt = ("python", "-m", "tests.blocking.interrupts")
    if session.posargs:
        session.run(*interrupt, *session.posargs)
        return
    session.run(*interrupt, "--runs", "1000")
    for kind in ("asyncio", "trio"):
        session.run(*interrupt, "--kind", kind, "--runs", "200", "--single")


@nox.session(python=False)
def dev(session: nox.Session) -> None:
    """Make .venv, with the project, editable, and what all checks need."""
    if not Path(".venv").exists():
        session.run(sys.executable, "-m", "venv", ".venv")
    python = ".venv/Scripts/python.exe" if sys.platform == "win32" else ".venv/bin/python"
    groups = nox.project.dependency_groups(PYPROJECT, "test", "notebook", "lint", "types", "docs")
    session.run(python, "-m", "pip", "install", "-q", "-e", ".[progress,trio,yaml]", *groups)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into build/docs/, without a warning, and see that the changelog can be made."""
    install(session, "docs")
    session.run("python", "-m", "sphinx", "-W", "--keep-going", "-E", "-q", "docs", "build/docs")
    session.run("towncrier", "build", "--draft", "--version", "next")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, format, and that imports go down only."""
    install(session, "lint", project=False)
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports", "--no-logo", env={"PYTHONPATH": "src"})


@nox.session
def types(session: nox.Session) -> None:
    """Check types with mypy and pyright, that the whole public face is typed, and the code of users against it."""
    install(session, "types")
    env = {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}  # it would ask another registry for a newer pyright
    # The scripts of docs/ need what only this environment has.
    tools = PYPROJECT["tool"]
    session.run("mypy", *(path for path in tools["mypy"]["files"] if Path(path).exists()), "docs")
    session.run("pyright", *tools["pyright"]["include"], "docs", env=env)
    session.run("pyright", "--verifytypes", "bacalhau_sdk", "--ignoreexternal", env=env)
    # Examples and pages as a user has them: beside the package that is installed, without a configuration of ours.
    folder = Path(session.create_tmp())
    shutil.rmtree(folder)
    session.run("python", "docs/extract_code.py", str(folder))
    shutil.copytree("examples", folder / "examples")
    (folder / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    with session.chdir(folder):
        session.run("mypy", "--strict", "--config-file=", "--explicit-package-bases", ".")
        session.run("pyright", env=env | {"PYTHONPATH": ""})


@nox.session
def bench(session: nox.Session) -> None:
    """Measure no-op jobs beside other libraries, and write the page of it; ``-- ARGS`` go to ``python -m benchmarks`` instead."""
    install(session, "bench", extra="trio")
    session.run("python", "-m", "benchmarks", *(session.posargs or ["peers"]))
