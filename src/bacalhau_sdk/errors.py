"""Every error of the library, in one tree.

::

    BacalhauError
    ├── InvalidSpecError                a value or spec breaks a rule; lists every problem with the path of its field
    ├── UnsupportedSpecError            a valid spec asks for what this version does not do yet; names the field
    ├── InexpressibleSpecError          a valid spec asks for what the Bacalhau v1 format cannot say
    ├── DocumentError                   a text is no job that can be loaded; names the field
    │   ├── DocumentSyntaxError         it is no JSON or YAML, or none that is safe to read
    │   ├── InvalidDocumentError        it breaks a rule of the format
    │   └── UnsupportedDocumentError    it asks for what a spec cannot hold
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
    ├── OutputNotFoundError             no output of the job has that name (also a KeyError)
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
    ├── BlockingCallError               a blocking call where nothing would ever answer it
    ├── ClusterClosedError              the cluster is not open
    ├── ClusterFailedError              a fault of the library's own machinery; ``__cause__`` has it
    ├── ResultsGoneError                the results went with the cluster's private directory
    ├── DestinationError                a file cannot be written where it was asked for
    ├── MissingExtraError               what was asked for needs a package that is not installed; names the extra
    ├── StoreError                      the job store did not do what was asked
    ├── TransportError                  a party or stream cannot be reached
    ├── VirtualTimeError                the virtual time of a test is missing, stands still for ever, or has run out
    ├── CheckFailedError            what was plugged in breaks a promise of its port (also an AssertionError)
    └── IllegalTransitionError          a lifecycle move that the tables forbid; nothing was changed
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple, Protocol

__all__ = [
    "AmbiguousJobIdError",
    "BacalhauError",
    "BlockingCallError",
    "CheckFailedError",
    "ClusterClosedError",
    "ClusterFailedError",
    "DestinationError",
    "DocumentError",
    "DocumentSyntaxError",
    "EngineError",
    "EntryPointError",
    "ExecutionError",
    "ExecutionReport",
    "IllegalTransitionError",
    "InexpressibleSpecError",
    "InputChangedError",
    "InputError",
    "InputNotFoundError",
    "InvalidDocumentError",
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
    "OutputNotFoundError",
    "PartitionResult",
    "Problem",
    "ResultsGoneError",
    "StoreError",
    "TransientError",
    "TransportError",
    "UnsafePathError",
    "UnsupportedDocumentError",
    "UnsupportedSpecError",
    "VirtualTimeError",
    "VulnerableRuntimeError",
]

_PROBLEMS_SHOWN = 10
"""How many problems a message has at most: a spec or a document may have thousands."""


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

    When: Never by itself; ``except BacalhauError`` catches all that the library raises on purpose.

    What to do: Read the message, then the hint; ``code`` tells the conditions apart.

    Attributes:
        code: A stable identifier of the condition, such as ``job.failed``.
        message: What happened, in one sentence or a few lines.
        field: The argument or the field of a spec that is to blame, such as ``inputs./data``; empty where there is none.
        hint: What the user can do about it; empty where the message says it, or nothing sensible can be said.
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, field: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.field = field
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


class _Problematic:
    """What the errors have in common that list problems; no error itself, so that the tree is as it is drawn."""

    def __init__(self, problems: Sequence[Problem], *, hint: str = "") -> None:
        assert isinstance(self, BacalhauError)
        self.problems: tuple[Problem, ...] = tuple(problems)
        more = len(self.problems) - _PROBLEMS_SHOWN
        told = [*map(str, self.problems[:_PROBLEMS_SHOWN]), *([f"and {more:,} more"] if more > 0 else [])]
        field = self.problems[0].path if self.problems else ""
        BacalhauError.__init__(self, "; ".join(told), field=field, hint=hint)


class InvalidSpecError(_Problematic, BacalhauError, ValueError):
    """A value or a spec breaks one or more rules; all of them are reported at once.

    When: At once, by the constructors (`JobSpec`, `Selector`, `Resources`, `Node`, `Cluster`, ...) and by every verb that is
        given a value that makes no sense.

    What to do: Each problem names its field and what would be right there; correct them all and call again. Nothing was done.

    Attributes:
        problems: Every problem, each with the path of its field; ``field`` is that of the first one. The message has the first
            ten, and how many more there are.
    """

    code = "spec.invalid"


class UnsupportedSpecError(BacalhauError):
    """A valid spec asks for something that this version of the library does not do yet.

    When: `Cluster.submit`, `Cluster.run` and `Cluster.explain`, and constructors, before anything is done.

    What to do: Leave the field out or do as the hint says; a later version may take the same spec.
    """

    code = "spec.unsupported"

    def __init__(self, message: str, *, field: str, hint: str = "") -> None:
        super().__init__(message, field=field, hint=hint)


class InexpressibleSpecError(_Problematic, BacalhauError):
    """A valid spec asks for something that the format of Bacalhau v1 has no words for; nothing is left out silently.

    When: `wire.dump_job`.

    What to do: Take the fields that it names out of the spec, or keep the spec in Python.

    Attributes:
        problems: All that it cannot say, each with the path of the field of the spec; the message has the first ten.
        field: The path of the first of them, such as ``retry.backoff``.
    """

    code = "spec.inexpressible"


class DocumentError(_Problematic, BacalhauError, ValueError):
    """A text is no job that can be loaded.

    When: `wire.load_job`, as one of the three below.

    What to do: Mend the fields that it names; ``docs/how-to/job-files.md`` shows a job that works.

    Attributes:
        problems: Every problem that was found, each with the path of its field in the document; the message has the first ten.
        field: The path of the first of them, such as ``Tasks[0].Engine.Params.Image``; empty for the document as a whole.
    """

    code = "document.error"


class DocumentSyntaxError(DocumentError):
    """The text is no JSON or YAML, or is too large or too deep to be read safely.

    When: `wire.load_job`.

    What to do: Mend the text at the line that the message names; give large data as files, not inside of the document.
    """

    code = "document.syntax"


class InvalidDocumentError(DocumentError):
    """The document breaks a rule: a key that does not exist or is given twice, a wrong type, a bad value.

    When: `wire.load_job`.

    What to do: Mend the fields that it names; an editor that is given the JSON Schema marks them.
    """

    code = "document.invalid"


class UnsupportedDocumentError(DocumentError):
    """The document is a job of Bacalhau v1, and asks for something that a `JobSpec` cannot hold.

    When: `wire.load_job`.

    What to do: Take the fields that it names out of the document, or run it by the original.
    """

    code = "document.unsupported"


class MissingExtraError(BacalhauError, ImportError):
    """An optional dependency is not installed; the hint has the command that installs it.

    When: `wire.load_job` and `wire.dump_job` with YAML (extra ``yaml``), and ``integrations.progress`` (extra ``progress``).

    What to do: Install the extra, or do without: a job can be JSON as well.

    Attributes:
        extra: The name of the extra, such as ``yaml``.
    """

    code = "extra.missing"

    def __init__(self, message: str, *, extra: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.extra = extra


class JobConflictError(BacalhauError):
    """A job of the given id exists already, with another spec.

    When: `Cluster.submit` with a ``job_id`` of one's own.

    What to do: Use another id, or none; the job that has the id is as it was.
    """

    code = "job.conflict"


class JobNotFoundError(BacalhauError, LookupError):
    """No job of the cluster has the given id, or an id that starts with it.

    When: `Cluster.job`.

    What to do: `Cluster.jobs` returns all jobs; ids are unique within one cluster, and its store.
    """

    code = "job.not_found"


class NodeNotFoundError(BacalhauError, LookupError):
    """No node of the cluster's own has the given name.

    When: `Cluster.drain` and `Cluster.resume`.

    What to do: Use one of the names in the hint.
    """

    code = "node.not_found"


class AmbiguousJobIdError(BacalhauError, LookupError):
    """The given prefix is shared by the ids of several jobs.

    When: `Cluster.job` with the beginning of an id.

    What to do: Give more of the id.
    """

    code = "job.ambiguous_id"


class JobError(BacalhauError):
    """A job ended without the results that were asked for.

    When: Never by itself; ``except JobError`` catches every end of a job but ``COMPLETED``.

    What to do: ``executions`` has what was tried where, ``results`` what did finish.

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
        field: str = "",
        hint: str = "",
    ) -> None:
        super().__init__(message, field=field, hint=hint)
        self.job_id = job_id
        self.executions: tuple[ExecutionReport, ...] = tuple(executions)
        self.results: tuple[PartitionResult, ...] = tuple(results)


class JobFailedError(JobError):
    """A partition of the job failed for good; the message begins with the root cause.

    When: `Job.result`, `Job.results` and `Cluster.run`, once the job has ended.

    What to do: The message begins with the root cause and ``failure_code`` is its code, which has a line of its own in this
        list; the hint is that of the root cause.

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
        field: str = "",
        hint: str = "",
    ) -> None:
        super().__init__(
            message, job_id=job_id, executions=executions, results=results, field=field, hint=hint
        )
        self.failure_code = failure_code


class NoMatchingNodeError(JobFailedError):
    """No known node could ever run the job; the message says, node by node, why.

    When: `Job.result`, `Job.results` and `Cluster.run`.

    What to do: Read, node by node, what was asked and what is offered; ask for less, or give the cluster a node that fits.
        `Cluster.explain` says the same beforehand.
    """

    code = "job.no_matching_node"


class JobCancelledError(JobError):
    """The job was cancelled; nothing of it runs any more.

    When: `Job.result`, `Job.results` and `Cluster.run`, after a `Job.cancel`, or because the job's owner or the cluster was
        left.

    What to do: Nothing, if that was meant; else keep the job's block or the cluster's open until the job has ended.
    """

    code = "job.cancelled"


class JobTimeoutError(JobError, TimeoutError):
    """The job did not end within the time that its spec allows.

    When: `Job.result`, `Job.results` and `Cluster.run`.

    What to do: Give the limit that the message names more seconds in ``timeouts=Timeouts(...)``, or have the job do less.
    """

    code = "job.timeout"


class MultipleResultsError(BacalhauError):
    """One result was asked of a job that has several partitions; ``results()`` has them all.

    When: `Job.result` of a job whose partitions are not exactly one, and `Cluster.run` before it submits such a spec.

    What to do: Take ``await job.results()``.
    """

    code = "job.multiple_results"


class OutputNotFoundError(BacalhauError, KeyError):
    """No output of the job has the given name.

    When: `Result.outputs` with a name in brackets.

    What to do: Use one of the names in the hint: those of ``outputs`` in the spec.
    """

    code = "output.not_found"


class NonZeroExitError(BacalhauError):
    """The workload ran to its end and its exit code says that it failed.

    When: `Result.check`, and `Cluster.run` unless ``check=False``.

    What to do: Read the last lines of stderr in the message, and all of it in ``result.stderr``; the outputs are in
        ``result.outputs``.

    Attributes:
        job_id: The id of the job.
        exit_code: The exit code, never 0.
        result: The whole result, outputs included.
    """

    code = "job.nonzero_exit"

    def __init__(
        self, message: str, *, job_id: str, exit_code: int, result: PartitionResult, hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.job_id = job_id
        self.exit_code = exit_code
        self.result = result


class ExecutionError(BacalhauError):
    """The cause of a failed execution that no other node and no later try would mend.

    When: Engines, while an execution is prepared, run or collected; `JobFailedError` carries its code and message.

    What to do: Correct what the message names in the spec, or in the engine's own code.
    """

    code = "execution.failed"


class InputError(ExecutionError):
    """An input of the job cannot be staged.

    When: `Cluster.submit`, which looks at every path, and the node that stages the input; then a `JobFailedError` carries it.

    What to do: Give another path, or make this one a file or folder that can be read.
    """

    code = "input.error"


class InputNotFoundError(InputError):
    """The path of an input does not exist.

    When: `Cluster.submit`.

    What to do: Check the spelling; a relative path counts from the current directory. For a text in place of a file give
        bytes: ``b'...'``.
    """

    code = "input.not_found"


class InputChangedError(InputError):
    """An input vanished or changed its type between submit and staging.

    When: The node that stages the input; `JobFailedError` carries it.

    What to do: Leave inputs alone until the job runs, then submit again.
    """

    code = "input.changed"


class UnsafePathError(InputError):
    """A tree holds a link that leads out of it, a device, a FIFO or a socket.

    When: `Cluster.submit` for the path itself, the node for what is inside a folder; then a `JobFailedError` carries it.

    What to do: Take the entry out of the folder, or copy what it leads to into its place.
    """

    code = "path.unsafe"


class InvalidModuleError(ExecutionError):
    """The bytes are not a WASM module that this runtime can compile and instantiate.

    When: `Cluster.submit` for a module that is too large, else the node before the module runs; then a `JobFailedError`
        carries it.

    What to do: Build a core module for WASI preview 1 (``wasm32-wasip1``; zig says ``wasm32-wasi``) and submit the
        binary ``.wasm``.
    """

    code = "wasm.invalid_module"


class EntryPointError(ExecutionError):
    """The module exports no function of the entry point's name, or one with parameters.

    When: The node, before the module runs; `JobFailedError` carries it.

    What to do: Name one of the functions in the hint as ``entry_point``, or build the module as a command, which exports
        ``_start``.
    """

    code = "wasm.entry_point"


class ModuleLinkError(ExecutionError):
    """The module imports something that nothing here provides.

    When: The node, before the module runs; `JobFailedError` carries it.

    What to do: Build the module for WASI preview 1 (``wasm32-wasip1``; zig says ``wasm32-wasi``); imports of other
        worlds, such as a browser's, are not there.
    """

    code = "wasm.link"


class OutputError(ExecutionError):
    """An output of the job cannot be collected.

    When: The node, after the workload has ended; `JobFailedError` carries it.

    What to do: Have the workload leave files, folders and relative links in its outputs, nothing else.
    """

    code = "output.error"


class TransientError(BacalhauError):
    """An infrastructure fault: the same work may succeed elsewhere or later.

    When: Engines, storages, publishers, and functions of the user; when no try is left, `JobFailedError` carries it.

    What to do: Submit again, or allow more tries with ``retry=RetryPolicy(max_attempts=...)``.

    A `FunctionExecutor`'s function raises it to have its execution count as failed by the infrastructure.
    """

    code = "execution.transient"


class EngineError(BacalhauError):
    """An engine of a node cannot be used.

    When: Entering a `Cluster`; and an executor that is used without its node.

    What to do: Install what the hint names, or leave the executor out of the node.
    """

    code = "engine.error"


class VulnerableRuntimeError(EngineError):
    """The installed runtime has a known sandbox escape; the message names the version that is needed.

    When: Entering a `Cluster` whose node has a `WasmExecutor`.

    What to do: Install the version that the hint names; an older one is never used.
    """

    code = "engine.vulnerable"


class BlockingCallError(BacalhauError):
    """A blocking call where nothing would ever answer it: in the cluster's own thread, or in a fork of its process.

    When: Every verb of a `blocking.Cluster` and its jobs, called by a function that runs on one of its nodes, or after a fork.

    What to do: Call it in another thread, make a cluster in each process, or use the `Cluster` that is awaited.
    """

    code = "cluster.blocking"


class ClusterClosedError(BacalhauError):
    """The cluster has not been entered, or has been closed.

    When: Every verb of a `Cluster` outside of its block, what still reads from it when it closes, and entering it a second
        time.

    What to do: Use it inside one ``async with Cluster() as cluster:`` block; for another block make another object.
    """

    code = "cluster.closed"


class ClusterFailedError(BacalhauError):
    """A fault of the library's own machinery ended the cluster; ``__cause__`` is the fault.

    When: The block of the `Cluster`, and every verb of it from then on.

    What to do: Look at ``__cause__`` and at the log, enter a new cluster, and report the fault: it is the library's, a
        plugin's or the machine's.
    """

    code = "cluster.failed"


class ResultsGoneError(BacalhauError):
    """The results lay in the cluster's private directory, which went when the cluster closed.

    When: `Output.path`, `Output.copy_to`, `Result.stdout_path`, `Result.stderr_path`, `Job.result` and `Job.results`.

    What to do: Copy outputs inside the cluster's block, or give the cluster a ``data_dir``, where results stay.
    """

    code = "results.gone"


class DestinationError(BacalhauError):
    """A file that was asked for cannot be written there; nothing was left behind.

    When: ``save`` of a timeline.

    What to do: Give a path of a file in a folder that exists and can be written.
    """

    code = "destination.error"


class StoreError(BacalhauError):
    """The job store did not do what was asked; the change it was given is not to be relied on.

    When: Entering a `Cluster`, for records that cannot be read; later it ends the cluster as the cause of a
        `ClusterFailedError`.

    What to do: See that the store's place can be read and written and has room; every submit that returned is in it.
    """

    code = "store.error"


class TransportError(BacalhauError):
    """A party or one of its streams cannot be reached.

    When: Entering a `Cluster` whose transport serves another one, and reading a log from a node that cannot be reached.

    What to do: Give every cluster a transport of its own, or wait until the node is back.
    """

    code = "transport.error"


class VirtualTimeError(BacalhauError):
    """The virtual time of a test is missing, stands still for ever because nothing is left to happen, or has run out.

    When: `testing.run`, `testing.virtual_backend` and `testing.VirtualCluster`; a `Cluster` with a real clock under virtual
        time.

    What to do: Read the hint: what is waited for never happens, needs a thread, or needs a larger ``limit``.
    """

    code = "testing.virtual_time"


class CheckFailedError(BacalhauError, AssertionError):
    """An implementation of a port breaks a promise of that port, as a check of `bacalhau_sdk.testing.checks` has seen.

    When: A check of `bacalhau_sdk.testing.checks`.

    What to do: Mend the implementation: ``promise`` is what it must do, ``seen`` what it did.

    Attributes:
        check: The name of the check.
        promise: The sentence of the port that is broken.
        seen: What was seen instead.
    """

    code = "testing.check_failed"

    def __init__(self, message: str, *, check: str, promise: str, seen: str) -> None:
        super().__init__(message)
        self.check = check
        self.promise = promise
        self.seen = seen


class IllegalTransitionError(BacalhauError):
    """A lifecycle move that the tables forbid; nothing was changed.

    When: The library's own scheduling, which then ends the cluster as the cause of a `ClusterFailedError`.

    What to do: Report it: it is a fault of the library.
    """

    code = "lifecycle.illegal_transition"
