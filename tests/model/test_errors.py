"""The tree of errors."""

from __future__ import annotations

import builtins
import copy
import pickle
import re
from types import SimpleNamespace
from typing import Any

import pytest

from bacalhau_sdk import errors
from bacalhau_sdk.errors import (
    BacalhauError,
    DocumentError,
    InexpressibleSpecError,
    InvalidSpecError,
    JobError,
    JobFailedError,
    MissingExtraError,
    NonZeroExitError,
    Problem,
    UnsupportedSpecError,
)

KINDS: list[type[BacalhauError]] = [
    value
    for name in errors.__all__
    if isinstance(value := getattr(errors, name), type) and issubclass(value, BacalhauError)
]
#: What programs compare with: an error may be renamed, its code may not.
CODES = {
    "AmbiguousJobIdError": "job.ambiguous_id",
    "BacalhauError": "error",
    "BlockingCallError": "cluster.blocking",
    "CheckFailedError": "testing.check_failed",
    "ClusterClosedError": "cluster.closed",
    "ClusterFailedError": "cluster.failed",
    "DestinationError": "destination.error",
    "DocumentError": "document.error",
    "DocumentSyntaxError": "document.syntax",
    "EngineError": "engine.error",
    "EntryPointError": "wasm.entry_point",
    "ExecutionError": "execution.failed",
    "IllegalTransitionError": "lifecycle.illegal_transition",
    "InexpressibleSpecError": "spec.inexpressible",
    "InputChangedError": "input.changed",
    "InputError": "input.error",
    "InputNotFoundError": "input.not_found",
    "InvalidDocumentError": "document.invalid",
    "InvalidModuleError": "wasm.invalid_module",
    "InvalidSpecError": "spec.invalid",
    "JobCancelledError": "job.cancelled",
    "JobConflictError": "job.conflict",
    "JobError": "job.error",
    "JobFailedError": "job.failed",
    "JobNotFoundError": "job.not_found",
    "JobTimeoutError": "job.timeout",
    "MissingExtraError": "extra.missing",
    "ModuleLinkError": "wasm.link",
    "MultipleResultsError": "job.multiple_results",
    "NoMatchingNodeError": "job.no_matching_node",
    "NodeNotFoundError": "node.not_found",
    "NonZeroExitError": "job.nonzero_exit",
    "OutputError": "output.error",
    "OutputNotFoundError": "output.not_found",
    "ResultsGoneError": "results.gone",
    "StoreError": "store.error",
    "TransientError": "execution.transient",
    "TransportError": "transport.error",
    "UnsafePathError": "path.unsafe",
    "UnsupportedDocumentError": "document.unsupported",
    "UnsupportedSpecError": "spec.unsupported",
    "VirtualTimeError": "testing.virtual_time",
    "VulnerableRuntimeError": "engine.vulnerable",
}
REPORT: Any = SimpleNamespace(id="e-1", node="n", partition_index=0, attempt=1)
RESULT: Any = SimpleNamespace(partition_index=0, exit_code=3, stdout="", stderr="oh")


def specimen(kind: Any) -> BacalhauError:
    """Make an error of a kind, with something in every field."""
    fields: dict[str, Any] = {"field": "count", "hint": "look"}
    if issubclass(kind, JobError):
        fields |= {"job_id": "j", "executions": [REPORT], "results": [RESULT]}
    if issubclass(kind, JobFailedError):
        fields["failure_code"] = "wasm.link"
    if issubclass(kind, InvalidSpecError | InexpressibleSpecError | DocumentError):
        invalid: BacalhauError = kind([Problem("env.A", "bad"), Problem("", "worse")], hint="look")
        return invalid
    if kind is NonZeroExitError:
        fields = {"job_id": "j", "exit_code": 3, "result": RESULT, "hint": "look"}
    if kind is UnsupportedSpecError:
        fields["field"] = "network"
    if kind is MissingExtraError:
        fields = {"extra": "yaml", "hint": "look"}
    if kind is errors.CheckFailedError:
        fields = {"check": "it works", "promise": "It works.", "seen": "it does not"}
    made: BacalhauError = kind("boom", **fields)
    return made


def parents(tree: str) -> dict[str, str | None]:
    """Return the name of each class in a drawn tree with that of its parent."""
    found: dict[str, str | None] = {}
    path: list[str] = []
    for line in tree.splitlines():
        if drawn := re.match(r"    ([│├└─ ]*)(\w+Error)\b", line):
            depth = len(drawn[1]) // 4
            del path[depth:]
            found[drawn[2]] = path[-1] if path else None
            path.append(drawn[2])
    return found


def test_the_drawn_tree_is_the_tree() -> None:
    actual = {
        kind.__name__: next(
            (base.__name__ for base in kind.__bases__ if issubclass(base, BacalhauError)), None
        )
        for kind in KINDS
    }
    assert parents(errors.__doc__ or "") == actual
    defined = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    assert defined == set(actual)


def test_every_name_and_code_is_one_of_a_kind() -> None:
    codes = [kind.code for kind in KINDS]
    assert len(codes) == len(set(codes))
    assert {kind.__name__: kind.code for kind in KINDS} == CODES
    assert all(re.fullmatch(r"[a-z_]+(\.[a-z_]+)?", code) for code in codes)
    assert all("code" in vars(kind) for kind in KINDS)
    assert set(errors.__all__).isdisjoint(dir(builtins))
    assert all(kind.__name__.endswith("Error") for kind in KINDS)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_has_a_docstring_and_keeps_its_fields(kind: type[BacalhauError]) -> None:
    assert (vars(kind).get("__doc__") or "").strip()
    error = specimen(kind)
    error.add_note("seen")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is kind
        assert vars(again) == vars(error)
        assert (again.args, str(again), again.code) == (error.args, str(error), kind.code)
    assert str(error) == f"{error.message}\nHint: look" if error.hint else error.message


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (InvalidSpecError, ValueError),
        (errors.DocumentSyntaxError, ValueError),
        (MissingExtraError, ImportError),
        (errors.JobNotFoundError, LookupError),
        (errors.AmbiguousJobIdError, LookupError),
        (errors.JobTimeoutError, TimeoutError),
        (errors.CheckFailedError, AssertionError),
    ],
)
def test_some_errors_are_builtin_ones_too(kind: type[BacalhauError], builtin: type[Exception]) -> None:
    assert issubclass(kind, builtin)
    with pytest.raises(builtin):
        raise specimen(kind)


def test_an_invalid_spec_shows_every_problem() -> None:
    error = specimen(InvalidSpecError)
    assert error.message == "env.A: bad; worse"
    assert isinstance(error, InvalidSpecError)
    assert error.problems == (("env.A", "bad"), ("", "worse"))
    assert error.field == "env.A"


@pytest.mark.parametrize("kind", [InvalidSpecError, errors.InvalidDocumentError, InexpressibleSpecError])
def test_an_error_that_has_many_problems_keeps_them_all_and_says_the_first_ten(kind: Any) -> None:
    error = kind([Problem(f"Tasks[{index}]", "bad") for index in range(12)])
    assert error.field == "Tasks[0]"
    assert len(error.problems) == 12
    assert error.message.endswith("; Tasks[9]: bad; and 2 more")
    assert kind([]).message == kind([]).field == ""
