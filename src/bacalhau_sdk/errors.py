"""Every error of the library, in one tree.

::

    BacalhauError
    ├── InvalidSpecError                a value or spec breaks a rule; lists every problem with the path of its field
    ├── UnsupportedSpecError            a valid spec asks for what this version does not do yet; names the field
    ├── JobConflictError                a job of that id exists with another spec
    ├── JobNotFoundError                no job has that id or prefix
    ├── AmbiguousJobIdError             several jobs share that prefix
    ├── NodeNotFoundError               no node of the cluster has that name
    ├── JobError                        a job ended without the results that were asked for
    │   ├── JobFailedError
    │   │   └── NoMatchingNodeError     no known node could ever run it
    │   ├── JobCancelledError
    │   └── JobTimeoutError             (also a TimeoutError)
    ├── MultipleResultsError            one result was asked of a job that has several partitions
    ├── NonZeroExitError                the workload ran and said that it failed
    ├── ExecutionError                  the cause of a failed execution: permanent, never retried
    │   ├── InputError                  an input cannot be staged
    │   │   ├── InputNotFoundError
    │   │   ├── InputChangedError
    │   │   └── UnsafePathError         a link that leads out, a device, a FIFO, a socket
    │   ├── InvalidModuleError          not a WASM module that can be compiled here
    │   ├── EntryPointError             the entry point is missing or has parameters
    │   ├── ModuleLinkError             an import that nothing satisfies
    │   └── OutputError                 an output cannot be collected
    ├── TransientError                  the cause of a failed execution: infrastructure, may be retried
    ├── EngineError                     an engine of a node cannot be used
    │   └── VulnerableRuntimeError      the runtime is older than its known sandbox escapes
    ├── ClusterClosedError              the cluster is not open
    ├── ClusterFailedError              a fault of the library's own machinery; ``__cause__`` has it
    ├── ResultsGoneError                the results went with the cluster's private directory
    ├── DestinationError                a file cannot be written where it was asked for
    ├── MissingExtraError               what was asked for needs a package that is not installed; names the extra
    ├── StoreError                      the job store did not do what was asked
    ├── TransportError                  a party or stream cannot be reached
    ├── VirtualTimeError                the virtual time of a test is missing, stands still for ever, or has run out
    └── IllegalTransitionError          a lifecycle move that the tables forbid; nothing was changed
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple, Protocol

__all__ = [
    "AmbiguousJobIdError",
    "BacalhauError",
    "ClusterClosedError",
    "ClusterFailedError",
    "DestinationError",
    "EngineError",
    "EntryPointError",
    "ExecutionError",
    "ExecutionReport",
    "IllegalTransitionError",
    "InputChangedError",
    "InputError",
    "InputNotFoundError",
    "InvalidModuleError",
    "InvalidSpecError",
    "JobCancelledError",
    "JobConflictError",
    "JobError",
    "JobFailedError",
    "JobNotFoundError",
    "JobTimeoutError",
    "MissingExtraError",
    "ModuleLinkError",
    "MultipleResultsError",
    "NoMatchingNodeError",
    "NodeNotFoundError",
    "NonZeroExitError",
    "OutputError",
    "PartitionResult",
    "Problem",
    "ResultsGoneError",
    "StoreError",
    "TransientError",
    "TransportError",
    "UnsafePathError",
    "UnsupportedSpecError",
    "VirtualTimeError",
    "VulnerableRuntimeError",
]


class Problem(NamedTuple):
    """One thing that is wrong with a value: where, and what.

    Attributes:
        path: The path of the field, such as ``env.PATH X`` or ``resources.memory``.
        message: What is wrong and what would be right.
    """

    path: str
    message: str

    def __str__(self) -> str:
        """Return the problem as one line."""
        return f"{self.path}: {self.message}" if self.path else self.message


class PartitionResult(Protocol):
    """What a `JobError` shows of a partition that did finish; a `bacalhau_sdk.Result` is one."""

    @property
    def partition_index(self) -> int:
        """The index of the partition, from 0."""
        ...

    @property
    def exit_code(self) -> int:
        """The exit code of the workload."""
        ...

    @property
    def stdout(self) -> str:
        """The standard output, capped."""
        ...

    @property
    def stderr(self) -> str:
        """The standard error, capped."""
        ...


class ExecutionReport(Protocol):
    """What a `JobError` shows of an execution; a `bacalhau_sdk.model.execution.Execution` is one."""

    @property
    def id(self) -> str:
        """The id of the execution."""
        ...

    @property
    def node(self) -> str:
        """The name of the node it was offered to."""
        ...

    @property
    def partition_index(self) -> int:
        """The index of its partition, from 0."""
        ...

    @property
    def attempt(self) -> int:
        """The number of the try, from 1."""
        ...


class BacalhauError(Exception):
    """The root of every error that the library raises on purpose.

    Attributes:
        code: A stable identifier of the condition, such as ``job.failed``.
        message: What happened, in one sentence or a few lines.
        hint: What the user can do about it; empty where nothing sensible can be said.
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """Return the message, and the hint on a line of its own."""
        return f"{self.message}\nHint: {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by state, so that keyword-only fields survive."""
        return _restore, (type(self), self.args, self.__dict__)


def _restore(kind: type[BacalhauError], args: tuple[object, ...], state: dict[str, object]) -> BacalhauError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class InvalidSpecError(BacalhauError, ValueError):
    """A value or a spec breaks one or more rules; all of them are reported at once.

    Attributes:
        problems: Every problem, each with the path of its field.
    """

    code = "spec.invalid"

    def __init__(self, problems: Sequence[Problem], *, hint: str = "") -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("; ".join(map(str, self.problems)), hint=hint)


class UnsupportedSpecError(BacalhauError):
    """A valid spec asks for something that this version of the library does not do yet.

    Attributes:
        field: The field of the spec that asks for it.
    """

    code = "spec.unsupported"

    def __init__(self, message: str, *, field: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.field = field


class JobConflictError(BacalhauError):
    """A job of the given id exists already, with another spec."""

    code = "job.conflict"


class JobNotFoundError(BacalhauError, LookupError):
    """No job of the cluster has the given id, or an id that starts with it."""

    code = "job.not_found"


class NodeNotFoundError(BacalhauError, LookupError):
    """No node of the cluster's own has the given name."""

    code = "node.not_found"


class AmbiguousJobIdError(BacalhauError, LookupError):
    """The given prefix is shared by the ids of several jobs."""

    code = "job.ambiguous_id"


class JobError(BacalhauError):
    """A job ended without the results that were asked for.

    Attributes:
        job_id: The id of the job.
        executions: Its executions as last recorded, by partition and attempt.
        results: The results of the partitions that did finish.
    """

    code = "job.error"

    def __init__(
        self,
        message: str,
        *,
        job_id: str,
        executions: Sequence[ExecutionReport] = (),
        results: Sequence[PartitionResult] = (),
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.job_id = job_id
        self.executions: tuple[ExecutionReport, ...] = tuple(executions)
        self.results: tuple[PartitionResult, ...] = tuple(results)


class JobFailedError(JobError):
    """A partition of the job failed for good; the message begins with the root cause.

    Attributes:
        failure_code: The stable code of the root failure, such as ``wasm.invalid_module``.
    """

    code = "job.failed"

    def __init__(
        self,
        message: str,
        *,
        job_id: str,
        failure_code: str = "",
        executions: Sequence[ExecutionReport] = (),
        results: Sequence[PartitionResult] = (),
        hint: str = "",
    ) -> None:
        super().__init__(message, job_id=job_id, executions=executions, results=results, hint=hint)
        self.failure_code = failure_code


class NoMatchingNodeError(JobFailedError):
    """No known node could ever run the job; the message says, node by node, why."""

    code = "job.no_matching_node"


class JobCancelledError(JobError):
    """The job was cancelled; nothing of it runs any more."""

    code = "job.cancelled"


class JobTimeoutError(JobError, TimeoutError):
    """The job did not end within the time that its spec allows."""

    code = "job.timeout"


class MultipleResultsError(BacalhauError):
    """One result was asked of a job that has several partitions; ``results()`` has them all."""

    code = "job.multiple_results"


class NonZeroExitError(BacalhauError):
    """The workload ran to its end and its exit code says that it failed.

    Attributes:
        job_id: The id of the job.
        exit_code: The exit code, never 0.
        result: The whole result, outputs included.
    """

    code = "job.nonzero_exit"

    def __init__(self, message: str, *, job_id: str, exit_code: int, result: PartitionResult) -> None:
        super().__init__(message)
        self.job_id = job_id
        self.exit_code = exit_code
        self.result = result


class ExecutionError(BacalhauError):
    """The cause of a failed execution that no other node and no later try would mend."""

    code = "execution.failed"


class InputError(ExecutionError):
    """An input of the job cannot be staged."""

    code = "input.error"


class InputNotFoundError(InputError):
    """The path of an input does not exist."""

    code = "input.not_found"


class InputChangedError(InputError):
    """An input vanished or changed its type between submit and staging."""

    code = "input.changed"


class UnsafePathError(InputError):
    """A tree holds a link that leads out of it, a device, a FIFO or a socket."""

    code = "path.unsafe"


class InvalidModuleError(ExecutionError):
    """The bytes are not a WASM module that this runtime can compile and instantiate."""

    code = "wasm.invalid_module"


class EntryPointError(ExecutionError):
    """The module exports no function of the entry point's name, or one with parameters."""

    code = "wasm.entry_point"


class ModuleLinkError(ExecutionError):
    """The module imports something that nothing here provides."""

    code = "wasm.link"


class OutputError(ExecutionError):
    """An output of the job cannot be collected."""

    code = "output.error"


class TransientError(BacalhauError):
    """An infrastructure fault: the same work may succeed elsewhere or later.

    A `FunctionExecutor`'s function raises it to have its execution count as failed by the infrastructure.
    """

    code = "execution.transient"


class EngineError(BacalhauError):
    """An engine of a node cannot be used."""

    code = "engine.error"


class VulnerableRuntimeError(EngineError):
    """The installed runtime has a known sandbox escape; the message names the version that is needed."""

    code = "engine.vulnerable"


class ClusterClosedError(BacalhauError):
    """The cluster has not been entered, or has been closed."""

    code = "cluster.closed"


class ClusterFailedError(BacalhauError):
    """A fault of the library's own machinery ended the cluster; ``__cause__`` is the fault."""

    code = "cluster.failed"


class ResultsGoneError(BacalhauError):
    """The results lay in the cluster's private directory, which went when the cluster closed."""

    code = "results.gone"


class DestinationError(BacalhauError):
    """A file that was asked for cannot be written there; nothing was left behind."""

    code = "destination.error"


class MissingExtraError(BacalhauError, ImportError):
    """What was asked for needs a package that is not installed; the hint has the command that installs it."""

    code = "extra.missing"


class StoreError(BacalhauError):
    """The job store did not do what was asked; the change it was given is not to be relied on."""

    code = "store.error"


class TransportError(BacalhauError):
    """A party or one of its streams cannot be reached."""

    code = "transport.error"


class VirtualTimeError(BacalhauError):
    """The virtual time of a test is missing, stands still for ever because nothing is left to happen, or has run out."""

    code = "testing.virtual_time"


class IllegalTransitionError(BacalhauError):
    """A lifecycle move that the tables forbid; nothing was changed."""

    code = "lifecycle.illegal_transition"
