"""The rules of the house (the design, §4) that no other tool holds.

Each rule is a function from source code to a list of complaints. It is tried on small snippets that break it,
then held over ``src/``. Which floor may import which is held by import-linter (pyproject.toml).

The list of public names is written anew, after a change that is meant, by::

    python tests/test_house.py > tests/public_names.txt
"""

from __future__ import annotations

import ast
import importlib
import inspect
import io
import json
import os
import re
import runpy
import subprocess
import sys
import time
import tokenize
import tomllib
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import NoReturn
from unittest.mock import MagicMock

import anyio.to_thread
import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "bacalhau_sdk"
PUBLIC_NAMES = ROOT / "tests" / "public_names.txt"
REGENERATE = "python tests/test_house.py > tests/public_names.txt"

FILE_LIMIT = 400
FUNCTION_LIMIT = 60
ROOT_NAMES_LIMIT = 30
ABSTRACT_VERBS_LIMIT = 5
ADAPTER_FLOORS = ("clocks", "executors", "storage", "stores", "transports")
PURE_FLOORS = ("content", "errors", "model", "scheduling", "wire")
# The public face; `blocking` is still to come.
PUBLIC_MODULES = (
    "bacalhau_sdk",
    "bacalhau_sdk.abc",
    "bacalhau_sdk.errors",
    "bacalhau_sdk.testing",
    "bacalhau_sdk.blocking",
    "bacalhau_sdk.testing.checks",
    "bacalhau_sdk.wire",
)
FORBIDDEN_NAMES = {"base", "common", "helpers", "manager", "utils"}
POSIX_ONLY = {
    "crypt",
    "curses",
    "fcntl",
    "grp",
    "nis",
    "ossaudiodev",
    "posix",
    "pty",
    "pwd",
    "readline",
    "resource",
    "spwd",
    "syslog",
    "termios",
    "tty",
}
IMPORTED_WHEN_USED = {"docker", "multiformats", "rich", "ruamel", "trio", "wasmtime"}

Function = ast.FunctionDef | ast.AsyncFunctionDef
LAYOUT = {
    tokenize.COMMENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
    tokenize.INDENT,
    tokenize.NEWLINE,
    tokenize.NL,
}


def modules() -> list[Path]:
    """Return every module of the library."""
    return sorted(PACKAGE.rglob("*.py"))


def complaints(rule: Callable[[str], list[str]]) -> str:
    """Return what a rule has to say about ``src/``, one complaint a line."""
    return "\n".join(
        f"{path.relative_to(ROOT)}: {complaint}"
        for path in modules()
        for complaint in rule(path.read_text(encoding="utf-8"))
    )


# ---- Lines of code ----


def docstring(node: ast.AST) -> ast.Expr | None:
    """Return the statement that is the docstring of a module, class or function, if there is one."""
    match node:
        case (
            ast.Module(body=[ast.Expr(value=ast.Constant(value=str())) as first, *_])
            | ast.ClassDef(body=[ast.Expr(value=ast.Constant(value=str())) as first, *_])
            | ast.FunctionDef(body=[ast.Expr(value=ast.Constant(value=str())) as first, *_])
            | ast.AsyncFunctionDef(body=[ast.Expr(value=ast.Constant(value=str())) as first, *_])
        ):
            return first
    return None


def docstring_lines(tree: ast.Module) -> set[int]:
    """Return the lines that docstrings stand on."""
    found = [first for node in ast.walk(tree) if (first := docstring(node))]
    return {line for first in found for line in range(first.lineno, (first.end_lineno or 0) + 1)}


def signature_lines(tree: ast.Module) -> set[int]:
    """Return the lines of every function from its ``def`` to the last one before its body.

    Decorators are before the ``def`` and no part of the signature. A body on the line of the ``def`` counts.
    """
    lines: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, Function):
            first = node.body[0]
            decorators: list[ast.expr] = getattr(first, "decorator_list", [])
            lines.update(range(node.lineno, min([first.lineno, *(each.lineno for each in decorators)])))
    return lines


def code_lines(source: str) -> set[int]:
    """Return the lines that have code: no blanks, comments, docstrings and signatures of functions."""
    tree = ast.parse(source)
    occupied = {
        line
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in LAYOUT
        for line in range(token.start[0], token.end[0] + 1)
    }
    blank = {number for number, line in enumerate(source.splitlines(), 1) if not line.strip()}
    return occupied - blank - docstring_lines(tree) - signature_lines(tree)


def too_large(source: str) -> list[str]:
    """A file has at most 400 lines of code, a function, with those inside it, at most 60."""
    lines = code_lines(source)
    found = [f"{len(lines)} lines of code, more than {FILE_LIMIT}"] if len(lines) > FILE_LIMIT else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, Function):
            size = len(lines & set(range(node.lineno, (node.end_lineno or 0) + 1)))
            if size > FUNCTION_LIMIT:
                found.append(
                    f"line {node.lineno}: {node.name} has {size} lines of code, more than {FUNCTION_LIMIT}"
                )
    return found


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param("", set[int](), id="empty"),
        pytest.param("x = 1\n\n# comment\ny = 2  # comment\n", {1, 4}, id="blanks and comments"),
        pytest.param('"""Module.\n\nMore.\n"""\n\nx = 1\n', {6}, id="docstring of a module"),
        pytest.param('class A:\n    """One."""\n\n    x: int\n', {1, 4}, id="docstring of a class"),
        pytest.param(
            'def f():\n    """One.\n\n    Two.\n    """\n', set[int](), id="nothing but a docstring"
        ),
        pytest.param('def f():\n    """One."""\n    ...\n', {3}, id="docstring of a function"),
        pytest.param('x = """one\n\nthree\n"""\n', {1, 3, 4}, id="a string that is no docstring"),
        pytest.param('x = f"""one\n{1}\n\nfour"""\n', {1, 2, 4}, id="an f-string"),
        pytest.param('f()\n"""Not a docstring."""\n', {1, 2}, id="a string that is a statement"),
        pytest.param(
            "x = [\n    1,  # one\n    # two\n\n    3,\n]\n", {1, 2, 5, 6}, id="an expression over lines"
        ),
        pytest.param("x = 1 + \\\n    2\n", {1, 2}, id="a continued line"),
        pytest.param("def f(\n    a: int,\n    b: int,\n) -> int:\n    return a\n", {5}, id="signature"),
        pytest.param(
            "async def f(\n    a,\n):\n    # why\n    return a\n", {5}, id="signature, then a comment"
        ),
        pytest.param("def f(): return 1\n", {1}, id="body on the line of the def"),
        pytest.param("def f(\n    a,\n): return 1\n", {3}, id="body on the last line of the signature"),
        pytest.param(
            "@cache\n@other(\n    1,\n)\ndef f():\n    return 1\n", {1, 2, 3, 4, 6}, id="decorators"
        ),
        pytest.param(
            "def f():\n    @cache\n    def g():\n        return 1\n", {2, 4}, id="decorator first in a body"
        ),
        pytest.param(
            "class A(\n    B,\n):\n    def f(self):\n        pass\n", {1, 2, 3, 5}, id="the head of a class"
        ),
        pytest.param("if a:\n    pass\nelse:\n    pass\n", {1, 2, 3, 4}, id="branches"),
    ],
)
def test_code_lines_counts_code(source: str, expected: set[int]) -> None:
    assert code_lines(source) == expected


def test_a_function_or_file_that_is_too_large_is_named() -> None:
    body = "    x = 1\n"
    large = f'def f(\n    a,\n):\n    """One."""\n{body * 30}\n    # why\n    def g():\n{"    " + body * 30}'
    assert too_large(large) == []
    assert too_large(large + body) == ["line 1: f has 61 lines of code, more than 60"]
    assert too_large("x = 1\n" * 400) == []
    assert too_large("x = 1\n" * 401) == ["401 lines of code, more than 400"]


def test_files_and_functions_are_small() -> None:
    assert not complaints(too_large)


# ---- Docstrings ----


def definitions(
    node: ast.Module | ast.ClassDef, prefix: str = ""
) -> Iterator[tuple[str, ast.ClassDef | Function]]:
    """Return the classes, functions and methods of a module, also under an ``if`` or ``try``."""
    pending: list[ast.AST] = list(node.body)
    while pending:
        child = pending.pop(0)
        if isinstance(child, ast.ClassDef):
            yield prefix + child.name, child
            yield from definitions(child, f"{prefix}{child.name}.")
        elif isinstance(child, Function):
            yield prefix + child.name, child
        else:
            pending[:0] = ast.iter_child_nodes(child)


def is_public(name: str) -> bool:
    """Return whether no part of a dotted name begins with an underscore."""
    return not any(part.startswith("_") for part in name.split("."))


def decorator_names(node: ast.ClassDef | Function) -> set[str]:
    """Return the last parts of the names of the decorators: ``setter`` of ``@x.setter``."""
    names = (each.func if isinstance(each, ast.Call) else each for each in node.decorator_list)
    return {ast.unparse(name).rpartition(".")[2] for name in names}


def undocumented(source: str) -> list[str]:
    """A module, and each of its classes, functions and methods whose name is public, has a docstring.

    An empty file needs none; overloads and the setters of properties are documented by their other half.
    """
    tree = ast.parse(source)
    found = [] if not source.strip() or ast.get_docstring(tree) else ["the module has no docstring"]
    for name, node in definitions(tree):
        elsewhere = decorator_names(node) & {"overload", "setter", "deleter"}
        if is_public(name) and not elsewhere and not ast.get_docstring(node):
            found.append(f"line {node.lineno}: {name} has no docstring")
    return found


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("", []),
        ("x = 1\n", ["the module has no docstring"]),
        ('"""  """\n', ["the module has no docstring"]),
        ('"""M."""\nclass A:\n    pass\n', ["line 2: A has no docstring"]),
        ('"""M."""\ndef f(): ...\n', ["line 2: f has no docstring"]),
        ('"""M."""\nasync def f(): ...\n', ["line 2: f has no docstring"]),
        ('"""M."""\nif a:\n    def f(): ...\n', ["line 3: f has no docstring"]),
        ('"""M."""\ntry:\n    pass\nexcept E:\n    def f(): ...\n', ["line 5: f has no docstring"]),
        ('"""M."""\nclass A:\n    """A."""\n    def f(self): ...\n', ["line 4: A.f has no docstring"]),
        ('"""M."""\nclass A:\n    """A."""\n    class B: ...\n', ["line 4: A.B has no docstring"]),
        ('"""M."""\nclass A:\n    """A."""\n    def _f(self): ...\n    def __eq__(self, other): ...\n', []),
        ('"""M."""\nclass _A:\n    def f(self): ...\n', []),
        ('"""M."""\ndef f():\n    """F."""\n    def g(): ...\n', []),
        ('"""M."""\n@typing.overload\ndef f(): ...\n', []),
        ('"""M."""\nclass A:\n    """A."""\n    @x.setter\n    def x(self, value): ...\n', []),
        (
            '"""M."""\nclass A:\n    """A."""\n    @property\n    def x(self): ...\n',
            ["line 5: A.x has no docstring"],
        ),
    ],
)
def test_what_has_no_docstring_is_named(source: str, expected: list[str]) -> None:
    assert undocumented(source) == expected


def test_everything_public_has_a_docstring() -> None:
    assert not complaints(undocumented)


@pytest.mark.parametrize("module", PUBLIC_MODULES)
def test_every_exported_class_and_function_has_a_docstring_of_its_own(module: str) -> None:
    exported = importlib.import_module(module)
    objects = {name: getattr(exported, name) for name in exported.__all__}
    without = [
        name
        for name, value in objects.items()
        if (inspect.isclass(value) or inspect.isroutine(value) or inspect.ismodule(value))
        and not (vars(value).get("__doc__") or "" if inspect.isclass(value) else value.__doc__ or "").strip()
    ]
    assert without == []


# ---- Dependencies ----


def imports_when_imported(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Return line and top-level name of each import that runs when the module is imported.

    Those inside functions do not run then, those under ``if TYPE_CHECKING`` never.
    """
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                pass
            case ast.If(
                test=ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING"), orelse=orelse
            ):
                yield from imports_when_imported(ast.Module(body=orelse, type_ignores=[]))
            case ast.Import(names=names):
                yield from ((child.lineno, alias.name.partition(".")[0]) for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield child.lineno, module.partition(".")[0]
            case _:
                yield from imports_when_imported(child)


def posix_only_imports(source: str) -> list[str]:
    """A module can be imported on Windows: what POSIX alone has is imported in the function that uses it."""
    return [
        f"line {line}: imports {name} at module level"
        for line, name in imports_when_imported(ast.parse(source))
        if name in POSIX_ONLY
    ]


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("import fcntl\n", [1]),
        ("import os, pwd as p\n", [1]),
        ("from resource import getrlimit\n", [1]),
        ("if sys.platform != 'win32':\n    import grp\n", [2]),
        ("try:\n    import termios\nexcept ImportError:\n    pass\n", [2]),
        ("class A:\n    import pty\n", [2]),
        ("if TYPE_CHECKING:\n    pass\nelse:\n    import pty\n", [4]),
        ("if TYPE_CHECKING:\n    import pty\n", []),
        ("if typing.TYPE_CHECKING:\n    import pty\n", []),
        ("def f():\n    import fcntl\n", []),
        ("from bacalhau_sdk.model import resource\n", []),
        ("from . import resource\n", []),
        ("import os\n", []),
    ],
)
def test_posix_only_imports_at_module_level_are_named(source: str, lines: list[int]) -> None:
    assert [int(complaint.split()[1].rstrip(":")) for complaint in posix_only_imports(source)] == lines


def test_nothing_posix_only_is_imported_at_module_level() -> None:
    assert not complaints(posix_only_imports)


def imported_on_windows(package: str, folder: Path) -> list[str]:
    """Return each module of a package in a folder; with the reason when it could not be imported on Windows."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.windows", package, *sorted(POSIX_ONLY)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(folder)},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return sorted(done.stdout.splitlines())


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import fcntl", "ModuleNotFoundError"),
        ("from posix import getpid", "ModuleNotFoundError"),
        ("import os\nFLAGS = os.O_RDONLY | os.O_NOFOLLOW", "AttributeError"),
        ("import signal\nSIGNALS = (signal.SIGTERM, signal.SIGKILL)", "AttributeError"),
        ("import sys\nif sys.platform == 'win32':\n    raise NotImplementedError", "NotImplementedError"),
        ("import os\nif os.name != 'nt':\n    import fcntl", ""),
        ("from pathlib import Path\nHERE = Path()", ""),
    ],
)
def test_what_windows_has_not_is_not_there(source: str, reason: str, tmp_path: Path) -> None:
    for name, text in {"__init__": "", "inner/__init__": "", "inner/deep": source}.items():
        path = tmp_path / "likewindows" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    *others, deep = imported_on_windows("likewindows", tmp_path)
    assert others == ["likewindows", "likewindows.inner"]
    assert deep.partition("(")[0] == "likewindows.inner.deep" + (f": {reason}" if reason else "")


def test_every_module_can_be_imported_on_windows() -> None:
    paths = (path.relative_to(PACKAGE.parent).with_suffix("") for path in modules())
    names = (".".join(path.parts).removesuffix(".__init__") for path in paths)
    imported = imported_on_windows("bacalhau_sdk", PACKAGE.parent)
    assert not [line for line in imported if ": " in line]
    assert imported == sorted(names)


def loaded_after(statement: str, names: Iterable[str]) -> set[str]:
    """Return which of some modules a fresh interpreter has loaded after a statement."""
    code = f"{statement}\nimport json, sys\nsys.stdout.write(json.dumps(list(sys.modules)))"
    location = Path(importlib.import_module("bacalhau_sdk").__path__[0]).parent
    path = os.pathsep.join(filter(None, [str(location), os.environ.get("PYTHONPATH")]))
    output = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path}, check=True, capture_output=True
    ).stdout
    return set(names) & set(json.loads(output))


def test_loaded_after_sees_what_is_imported() -> None:
    assert loaded_after("import trio", IMPORTED_WHEN_USED) == {"trio"}


def test_importing_the_package_imports_no_engine_and_no_trio() -> None:
    assert loaded_after("import bacalhau_sdk, bacalhau_sdk.wire", IMPORTED_WHEN_USED) == set()


def test_import_linter_knows_every_pure_floor() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (pure,) = (contract for contract in contracts if contract["id"] == "pure")
    there = {
        f"bacalhau_sdk.{name}"
        for name in PURE_FLOORS
        if (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").exists()
    }
    assert set(pure["source_modules"]) == there


# ---- Names and prints ----


def forbidden_name(path: Path) -> str | None:
    """Return the first part of a path that says nothing about what is in it."""
    return next((part for part in (*path.parts[:-1], path.stem) if part.strip("_") in FORBIDDEN_NAMES), None)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("utils.py", "utils"),
        ("model/_helpers.py", "_helpers"),
        ("common/job.py", "common"),
        ("cluster/manager.py", "manager"),
        ("abc/base.py", "base"),
        ("model/database.py", None),
        ("__init__.py", None),
    ],
)
def test_forbidden_module_names_are_found(path: str, expected: str | None) -> None:
    assert forbidden_name(Path(path)) == expected


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert [str(path) for path in modules() if forbidden_name(path.relative_to(PACKAGE))] == []


@pytest.mark.parametrize("floor", ADAPTER_FLOORS)
def test_the_init_of_an_adapter_floor_is_empty(floor: str) -> None:
    assert (PACKAGE / floor / "__init__.py").read_text(encoding="utf-8") == ""


def prints(source: str) -> list[str]:
    """Nothing is ever printed."""
    return [
        f"line {node.lineno}: prints"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"print", "builtins.print"}
    ]


def test_prints_are_found() -> None:
    assert prints("def f():\n    print(1)\n") == ["line 2: prints"]
    assert prints("builtins.print(1)\n") == ["line 1: prints"]
    assert prints("# print(1)\nx = 'print(1)'\nblueprint(1)\n") == []


def test_nothing_is_printed() -> None:
    assert not complaints(prints)


def wide_ports(source: str) -> list[str]:
    """A port has at most 5 abstract verbs."""
    return [
        f"line {node.lineno}: {name} has {len(verbs)} abstract verbs, more than {ABSTRACT_VERBS_LIMIT}"
        for name, node in definitions(ast.parse(source))
        if isinstance(node, ast.ClassDef)
        and len(verbs := {each for each, f in definitions(node) if "abstractmethod" in decorator_names(f)})
        > ABSTRACT_VERBS_LIMIT
    ]


def test_wide_ports_are_found() -> None:
    verbs = [f"    @abc.abstractmethod\n    def _f{number}(self): ...\n" for number in range(6)]
    assert wide_ports("class A:\n" + "".join(verbs[:5])) == []
    assert wide_ports("class A:\n" + "".join(verbs)) == ["line 1: A has 6 abstract verbs, more than 5"]


def test_ports_are_narrow() -> None:
    assert not complaints(wide_ports)


# ---- The public face ----


def public_names() -> list[str]:
    """Return every public name as ``module:name``, sorted."""
    return sorted(
        f"{module}:{name}" for module in PUBLIC_MODULES for name in importlib.import_module(module).__all__
    )


@pytest.mark.parametrize("module", PUBLIC_MODULES)
def test_every_name_of_all_exists_once(module: str) -> None:
    exported = importlib.import_module(module)
    assert [name for name in exported.__all__ if not hasattr(exported, name)] == []
    assert len(exported.__all__) == len(set(exported.__all__))


def test_the_root_has_few_names() -> None:
    assert len(importlib.import_module("bacalhau_sdk").__all__) <= ROOT_NAMES_LIMIT


def test_the_public_names_are_the_expected_ones() -> None:
    expected = PUBLIC_NAMES.read_text(encoding="utf-8").splitlines()
    assert public_names() == expected, f"if this change of the public face is meant: {REGENERATE}"


# ---- What conftest.py gives to tests ----


SWALLOWS = """
import time

def swallows():
    try:
        time.sleep(0.001)
    except Exception:
        pass
"""


async def test_the_library_cannot_block_the_loop_unseen(
    anyio_backend_name: str, blocking_calls: list[str]
) -> None:
    inside = Path(importlib.import_module("bacalhau_sdk").__path__[0]) / "swallows.py"
    library: dict[str, Callable[[], None]] = {}
    exec(compile(SWALLOWS, inside, "exec"), library)

    time.sleep(0.001)  # a test may block
    await anyio.to_thread.run_sync(library["swallows"])  # and so may a thread
    assert blocking_calls == []

    library["swallows"]()
    assert len(blocking_calls) == (1 if anyio_backend_name == "asyncio" else 0)
    assert all("Blocking call to time.sleep" in call and "swallows.py" in call for call in blocking_calls)
    blocking_calls.clear()


def test_a_missing_component_is_an_error_only_where_all_are_required(
    require: Callable[[str, str], NoReturn], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BACALHAU_TEST_REQUIRE", raising=False)
    with pytest.raises(pytest.skip.Exception, match="docker is missing: no daemon"):
        require("docker", "no daemon")
    monkeypatch.setenv("BACALHAU_TEST_REQUIRE", "all")
    with pytest.raises(pytest.fail.Exception, match="docker is missing: no daemon"):
        require("docker", "no daemon")


@pytest.mark.parametrize("required", ["", "all"])
def test_a_version_of_python_that_is_missing_is_an_error_where_nothing_is_skipped(
    required: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nox = MagicMock()
    monkeypatch.setitem(sys.modules, "nox", nox)
    monkeypatch.setenv("BACALHAU_TEST_REQUIRE", required)
    runpy.run_path(str(ROOT / "noxfile.py"))
    assert nox.options.error_on_missing_interpreters is (required == "all")


def test_ci_finds_every_version_of_python_that_is_supported() -> None:
    found = re.search(r"/versions/(\S+)/bin;", (ROOT / ".ci" / "run").read_text())
    assert found
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    versions = [
        text.rpartition(" ")[2] for text in project["classifiers"] if re.search(r"Python :: 3\.\d", text)
    ]
    assert len(versions) >= 3
    for version in versions:
        assert fnmatch(f"{version}.1", found[1]), version


if __name__ == "__main__":
    sys.path.insert(0, str(PACKAGE.parent))
    sys.stdout.write("".join(f"{name}\n" for name in public_names()))
