# ruff: noqa: E501 - a table is read row by row
"""Wrong values for what is made without a cluster: specs and their parts, nodes, executors, clusters, and plans of tests."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import bacalhau_sdk
from bacalhau_sdk import errors, testing
from bacalhau_sdk.abc import EngineSpec
from tests.hostile.rows import (
    CONTROL,
    HUGE,
    INFINITY,
    NAN,
    RIGHT_TO_LEFT,
    SURROGATE,
    BytesPath,
    Row,
    Unshowable,
)

# No type checker lets these values through; a notebook has none.
bac: Any = bacalhau_sdk
sim: Any = testing
WASM = b"\0asm\1\0\0\0"


def spec(**options: object) -> Any:
    return bac.JobSpec.wasm(WASM, **options)


def node(name: object = "n", executors: object = (), **options: object) -> Any:
    return bac.Node(name, executors, **options)


async def function(task: object) -> None: ...


def plain(task: object) -> None: ...


SPECS = [
    Row("no engine", lambda: bac.JobSpec(None), "engine", "None is no engine", "JobSpec.wasm"),
    Row("a text for an engine", lambda: bac.JobSpec("wasm"), "engine", "'wasm' is no engine", ".docker"),
    Row("an engine of no name", lambda: bac.JobSpec(EngineSpec()), "engine", "names no engine", "set its class attribute"),
    Row("an unknown field", lambda: spec(comand=["x"]), "comand", "is no field of a JobSpec", "those are inputs"),
    Row("a misspelt field", lambda: spec(output={"a": "/a"}), "output", "is no field", "did you mean 'outputs'?"),
    Row("a field of the resources", lambda: spec(cpu=2), "cpu", "is no field", "resources=Resources(cpu=...)"),
    Row("a field of the time-outs", lambda: spec(timeout=9), "timeout", "is no field", "timeouts=Timeouts(execution=...)"),
    Row("a module that is None", lambda: bac.JobSpec.wasm(None), "engine.module", "None is not a source", "give a path"),
    Row("a module that is a number", lambda: bac.JobSpec.wasm(7), "engine.module", "7 is not a source", "give a path"),
    Row("an empty module path", lambda: bac.JobSpec.wasm(""), "engine.module", "'' is not a path", "give a file"),
    Row("a NUL in a module path", lambda: bac.JobSpec.wasm("a\0b"), "engine.module", r"'a\x00b' has a NUL", "rename"),
    Row("a path of bytes", lambda: bac.JobSpec.wasm(BytesPath()), "engine.module", "is not a source", "give a path"),
    Row("an unshowable module", lambda: bac.JobSpec.wasm(Unshowable()), "engine.module", "<Unshowable instance at", "give a path"),
    Row("no entry point", lambda: bac.JobSpec.wasm(WASM, entry_point=None), "engine.entry_point", "None is not the name", "'_start'"),
    Row("an empty entry point", lambda: bac.JobSpec.wasm(WASM, entry_point=""), "engine.entry_point", "'' is not", "'_start'"),
    Row("a function of no name", lambda: bac.JobSpec.function(""), "engine.name", "'' is not the name", "give the text that"),
    Row("a function itself", lambda: bac.JobSpec.function(function), "engine.name", "<function", "give the text that"),
    Row("an image that is None", lambda: bac.JobSpec.docker(None), "engine.image", "None is not an image", "'busybox:1.37'"),
    Row("an image that is an option", lambda: bac.JobSpec.docker("--privileged"), "engine.image", "'--privileged'", "such as"),
    Row("an image that is a command", lambda: bac.JobSpec.docker("a;rm -rf /"), "engine.image", "'a;rm -rf /'", "such as"),
    Row("an image in upper case", lambda: bac.JobSpec.docker("BusyBox"), "engine.image", "'BusyBox'", "such as"),
    Row("an image of 5 kB", lambda: bac.JobSpec.docker("a" * 5000), "engine.image", "aaa...aaa", "such as"),
    Row("a bad digest", lambda: bac.JobSpec.docker("a@sha256:bad"), "engine.image", "sha256:bad", "such as"),
    Row("a relative working folder", lambda: bac.JobSpec.docker("a", working_directory="x"), "engine.working_directory", "'x' is not an absolute", "such as '/work'"),
    Row("a working folder that is a number", lambda: bac.JobSpec.docker("a", working_directory=1), "engine.working_directory", "1 is not a path", "such as '/"),
    Row("an entrypoint that is a number", lambda: bac.JobSpec.docker("a", entrypoint=3), "engine.entrypoint[0]", "3 is not a text", "str()"),
    Row("a platform in a spec", lambda: bac.JobSpec.docker("a", platform="arm"), "engine.platform", "'arm' is not a platform", "'linux/arm/v7'"),
    Row("a platform that is a number", lambda: bac.JobSpec.docker("a", platform=386), "engine.platform", "386 is not a platform", "'linux/amd64'"),
]  # fmt: skip

ARGUMENTS = [
    Row("a number", lambda: bac.JobSpec.wasm(WASM, "ok", 5), "engine.args[1]", "5 is not a text", "str()"),
    Row("None", lambda: bac.JobSpec.wasm(WASM, None), "engine.args[0]", "None is not a text", "leave it out"),
    Row("bytes", lambda: bac.JobSpec.wasm(WASM, b"x"), "engine.args[0]", "b'x' is not a text", "decode() it"),
    Row("a list", lambda: bac.JobSpec.wasm(WASM, ["a", "b"]), "engine.args[0]", "['a', 'b'] is not a text", "one by one"),
    Row("a path", lambda: bac.JobSpec.docker("a", Path("x")), "engine.args[0]", "PosixPath('x') is not a text", "str()"),
    Row("a NUL", lambda: bac.JobSpec.wasm(WASM, "a\0b"), "engine.args[0]", "has a NUL", "leave it out"),
    Row("a lone surrogate", lambda: bac.JobSpec.function("f", SURROGATE), "engine.args[0]", r"'half\ud800' has", "leave it out"),
    Row("a megabyte with a NUL", lambda: bac.JobSpec.function("f", "x" * 10**6 + "\0"), "engine.args[0]", "xxx...", "leave it out"),
    Row("an unshowable object", lambda: bac.JobSpec.function("f", Unshowable()), "engine.args[0]", "<Unshowable instance at", "str()"),
]  # fmt: skip

DATA = [
    Row("inputs that are None", lambda: spec(inputs=None), "inputs", "None is not a mapping", "{'/inputs': 'books/'}"),
    Row("inputs that are a list", lambda: spec(inputs=["books"]), "inputs", "['books'] is not", "{'/inputs': 'books/'}"),
    Row("inputs that are a path", lambda: spec(inputs="books"), "inputs", "'books' is not", "{'/inputs': 'books/'}"),
    Row("an input from nowhere", lambda: spec(inputs={"/in": None}), "inputs./in", "None is not a source", "give a path"),
    Row("an input that is a list", lambda: spec(inputs={"/in": ["a"]}), "inputs./in", "['a'] is not a source", "give a path"),
    Row("an input of an empty path", lambda: spec(inputs={"/in": ""}), "inputs./in", "'' is not a path", "'.' this folder"),
    Row("an input with a surrogate", lambda: spec(inputs={"/in": SURROGATE}), "inputs./in", r"'half\ud800'", "rename the file"),
    Row("an input that is a spec", lambda: spec(inputs={"/in": spec()}), "inputs./in", "JobSpec(", "give a path"),
    Row("an input at a number", lambda: spec(inputs={7: b""}), "inputs.7", "7 is not a path inside the job", "'/inputs'"),
    Row("an input at an empty path", lambda: spec(inputs={"": b""}), "inputs.''", "'' is not a path", "'/inputs'"),
    Row("an input with ..", lambda: spec(inputs={"/a/../b": b""}), "inputs./a/../b", "must not have '..'", "from the root"),
    Row("an input with a backslash", lambda: spec(inputs={"C:\\in": b""}), "inputs.C:\\in", "backslash", "from the root"),
    Row("an input with a NUL", lambda: spec(inputs={"/a\0": b""}), r"inputs.'/a\x00'", "without NUL", "'/inputs'"),
    Row("an input with a surrogate in its place", lambda: spec(inputs={SURROGATE: b""}), r"inputs.'half\ud800'", "lone surrogates", "'/inputs'"),
    Row("an input at 5 kB of path", lambda: spec(inputs={"/" + "a" * 5000: b""}), "inputs.'/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'", "1 to 4096 long", "'/inputs'"),
    Row("an input in /proc", lambda: spec(inputs={"/proc/x": b""}), "inputs./proc/x", "folder of the system", "choose another"),
    Row("two inputs at one place", lambda: spec(inputs={"/a": b"", "a/.": b""}), "inputs.a/.", "same place as the input '/a'", "choose another"),
    Row("writable that is a number", lambda: bac.Input("x", writable=1), "writable", "1 is not True or False", "True or False"),
    Row("a source that is None", lambda: bac.Input(None), "source", "None is not a source", "give a path"),
    Row("standard input that is a number", lambda: spec(stdin=5), "stdin", "5 is not a source", "give a path, a URL or bytes"),
    Row("standard input that is open", lambda: spec(stdin=itertools.count()), "stdin", "count(0) is not a source", "bytes"),
    Row("outputs that are a list", lambda: spec(outputs=["/out"]), "outputs", "['/out'] is not a mapping", "{'counts': '/outputs'}"),
    Row("outputs the wrong way round", lambda: spec(outputs={"/out": "counts"}), "outputs./out", "'/out' cannot name", "use letters"),
    Row("an output of no name", lambda: spec(outputs={"": "/out"}), "outputs.''", "'' cannot name a folder", "use letters"),
    Row("an output named ..", lambda: spec(outputs={"..": "/out"}), "outputs...", "'..' cannot name", "use letters"),
    Row("an output named ../x", lambda: spec(outputs={"../x": "/out"}), "outputs.../x", "'../x' cannot name", "use letters"),
    Row("an output that Windows cannot have", lambda: spec(outputs={"a:b": "/out"}), "outputs.a:b", "'a:b' cannot name", "use letters"),
    Row("an output named as a device", lambda: spec(outputs={"con.txt": "/out"}), "outputs.con.txt", "reserved", "choose another"),
    Row("an output named stdout", lambda: spec(outputs={"stdout": "/out"}), "outputs.stdout", "reserved", "choose another"),
    Row("an output that ends with a dot", lambda: spec(outputs={"a.": "/out"}), "outputs.a.", "'a.' cannot name", "use letters"),
    Row("an output with control characters", lambda: spec(outputs={CONTROL: "/out"}), r"outputs.'bell\x07\x1b[31m'", "cannot name", "use letters"),
    Row("an output written backwards", lambda: spec(outputs={RIGHT_TO_LEFT: "/out"}), r"outputs.'abc\u202egpj.exe'", "cannot name", "use letters"),
    Row("an output with a surrogate", lambda: spec(outputs={SURROGATE: "/out"}), r"outputs.'half\ud800'", "cannot name", "use letters"),
    Row("an output of 256 bytes", lambda: spec(outputs={"é" * 128: "/o"}), f"outputs.'{'é' * 37}...{'é' * 38}'", "cannot name", "use letters"),
    Row("an output at the root", lambda: spec(outputs={"all": "/"}), "outputs.all", "'/' must be an absolute path below '/'", "'/outputs'"),
    Row("a relative output", lambda: spec(outputs={"a": "out"}), "outputs.a", "'out' must be an absolute", "'/outputs'"),
    Row("an output in /dev", lambda: spec(outputs={"a": "/dev/shm"}), "outputs.a", "folder of the system", "choose another"),
    Row("an output that is None", lambda: spec(outputs={"a": None}), "outputs.a", "None is not a path inside", "such as"),
    Row("outputs that differ by case", lambda: spec(outputs={"A": "/a", "a": "/b"}), "outputs.a", "same folder as the output 'A'", "choose another"),
    Row("outputs that differ by accent", lambda: spec(outputs={"\u00e9": "/a", "e\u0301": "/b"}), "outputs.e\u0301", "same folder", "choose another"),
    Row("an output inside another", lambda: spec(outputs={"a": "/o", "b": "/o/b"}), "outputs.b", "overlaps the output 'a'", "choose a folder beside"),
    Row("an output in place of an input", lambda: spec(inputs={"/a": b""}, outputs={"a": "/a"}), "outputs.a", "place of an input", "choose another"),
]  # fmt: skip

ENVIRONMENT = [
    Row("a list", lambda: spec(env=["A=1"]), "env", "['A=1'] is not a mapping", "{'MODE': 'fast'}"),
    Row("a name with =", lambda: spec(env={"A=B": "1"}), "env.A=B", "is no name of a variable", "letters, digits and '_'"),
    Row("a name with a digit first", lambda: spec(env={"1A": "1"}), "env.1A", "is no name of a variable", "begin with no digit"),
    Row("a name that is empty", lambda: spec(env={"": "1"}), "env.''", "is no name of a variable", "letters"),
    Row("a name that is None", lambda: spec(env={None: "1"}), "env.None", "is no name of a variable", "letters"),
    Row("a name with a line end", lambda: spec(env={"A\nB": "1"}), r"env.'A\nB'", "is no name of a variable", "letters"),
    Row("a name of a megabyte", lambda: spec(env={"é" * 10**6: "1"}), f"env.'{'é' * 37}...{'é' * 38}'", "is no name", "letters"),
    Row("a name of the system's", lambda: spec(env={"BACALHAU_JOB_ID": "1"}), "env.BACALHAU_JOB_ID", "are the system's", "choose another"),
    Row("a number", lambda: spec(env={"N": 5}), "env.N", "5 is not a text", "str()"),
    Row("None", lambda: spec(env={"N": None}), "env.N", "None is not a text", "leave it out"),
    Row("a NUL", lambda: spec(env={"N": "a\0b"}), "env.N", "has a NUL", "leave it out"),
    Row("bytes", lambda: spec(env={"N": b"x"}), "env.N", "b'x' is not a text", "decode() it"),
]  # fmt: skip

LIMITS = [
    Row("resources that are a dict", lambda: spec(resources={"cpu": 1}), "resources", "is not a Resources", "Resources(cpu=2"),
    Row("resources that are None", lambda: spec(resources=None), "resources", "None is not a Resources", "leave it out"),
    Row("negative CPUs", lambda: bac.Resources(cpu="-1"), "cpu", "'-1' is negative", "0 asks for nothing"),
    Row("CPUs that are no number", lambda: bac.Resources(cpu=NAN), "cpu", "nan is not a CPU quantity", "'500m'"),
    Row("infinite CPUs", lambda: bac.Resources(cpu=INFINITY), "cpu", "inf is not a CPU quantity", "'500m'"),
    Row("CPUs that are True", lambda: bac.Resources(cpu=True), "cpu", "True is not a CPU quantity", "a number or a text"),
    Row("CPUs with a unit of bytes", lambda: bac.Resources(cpu="4GB"), "cpu", "unknown suffix 'GB'", "'500m' is half a core"),
    Row("CPUs with 5000 digits", lambda: bac.Resources(cpu=HUGE), "cpu", "is more than 1000000 cores", "ask for less"),
    Row("memory of nothing", lambda: bac.Resources(memory=None), "memory", "None is not a size", "'8GiB'"),
    Row("memory with a wrong unit", lambda: bac.Resources(memory="4 gigs"), "memory", "unknown unit 'gigs'", "use KB, MB"),
    Row("memory of petabytes", lambda: bac.Resources(memory="9999999PB"), "memory", "more than 2**63 - 1 bytes", "ask for less"),
    Row("memory of 1e300", lambda: bac.Resources(memory=1e300), "memory", "more than 2**63 - 1 bytes", "ask for less"),
    Row("a disk of bytes", lambda: bac.Resources(disk=b"1GB"), "disk", "b'1GB' is not a size", "a number or a text"),
    Row("half a GPU", lambda: bac.Resources(gpu=0.5), "gpu", "0.5 is not a number of GPUs", "or 'all'"),
    Row("any GPU", lambda: bac.Resources(gpu="any"), "gpu", "'any' is not a number of GPUs", "'all'"),
    Row("time-outs that are seconds", lambda: spec(timeouts=60), "timeouts", "60 is not a Timeouts", "Timeouts(execution=60)"),
    Row("time-outs that are None", lambda: spec(timeouts=None), "timeouts", "None is not a Timeouts", "leave it out"),
    Row("a negative time-out", lambda: bac.Timeouts(queue=-1), "queue", "-1 is not a number of seconds", "from 0 to"),
    Row("a time-out of 1e300", lambda: bac.Timeouts(total=1e300), "total", "1e+300 is not", "from 0 to"),
    Row("a time-out that is no number", lambda: bac.Timeouts(execution=NAN), "execution", "nan is not", "from 0 to"),
    Row("a time-out that is a text", lambda: bac.Timeouts(execution="60"), "execution", "'60' is not a number of seconds", "from 0 to"),
    Row("time-outs that do not add up", lambda: bac.Timeouts(queue=5, execution=6, total=10), "total", "exceed total (10 s)", "give it at least that"),
    Row("a retry that is a number", lambda: spec(retry=3), "retry", "3 is not a RetryPolicy", "RetryPolicy(max_attempts=3)"),
    Row("no try at all", lambda: bac.RetryPolicy(0), "max_attempts", "0 is not a number of tries", "from 1 to 1000"),
    Row("tries without end", lambda: bac.RetryPolicy(10**9), "max_attempts", "is not a number of tries", "from 1 to 1000"),
    Row("tries that are True", lambda: bac.RetryPolicy(True), "max_attempts", "True is not a number", "from 1 to 1000"),
    Row("a negative backoff", lambda: bac.RetryPolicy(backoff=-1), "backoff", "-1 is not a number of seconds", "from 0 to"),
    Row("a flag that is a text", lambda: bac.RetryPolicy(retry_timeouts="no"), "retry_timeouts", "'no' is not True or False", "True or False"),
    Row("a count of nothing", lambda: spec(count="2"), "count", "'2' is not a number of partitions", "from 0 to 10000"),
    Row("a count of a billion", lambda: spec(count=10**9), "count", "is not a number of partitions", "from 0 to 10000"),
    Row("a count that is True", lambda: spec(count=True), "count", "True is not a number of partitions", "from 0 to 10000"),
    Row("a count for an ops job", lambda: spec(count=2, type="ops"), "count", "once on every matching node", "take no count"),
    Row("an unknown type", lambda: spec(type="cron"), "type", "'cron' is not a job type", "use one of batch, ops"),
    Row("a type that is None", lambda: spec(type=None), "type", "None is not a job type", "use one of batch"),
    Row("a priority that is a text", lambda: spec(priority="high"), "priority", "'high' is not an integer", "from -2**31"),
    Row("a priority of 5000 digits", lambda: spec(priority=HUGE), "priority", "is not an integer", "from -2**31"),
    Row("a network that is a text", lambda: spec(network="host"), "network", "'host' is not a Network", "Network('http'"),
    Row("an unknown network", lambda: bac.Network("wifi"), "type", "'wifi' is not a network type", "use one of none, http"),
    Row("domains without http", lambda: bac.Network("none", ["a.com"]), "domains", "go with type='http' only", "leave them out"),
    Row("a domain that is a URL", lambda: bac.Network("http", ["https://a.com/x"]), "domains[0]", "is not a domain", "'example.com'"),
]  # fmt: skip

PLACES = [
    Row("a selector that is None", lambda: spec(selector=None), "selector", "None is not a Selector", "'zone = dc'"),
    Row("a selector that is a dict", lambda: spec(selector={"zone": "dc"}), "selector", "is not a Selector", "'zone = dc'"),
    Row("values without parentheses", lambda: spec(selector="zone in dc"), "selector", "zone in dc", "write the values in parentheses"),
    Row("a comma too many", lambda: spec(selector="a = 1,,b = 2"), "selector", "a term is empty", "look for a comma too many"),
    Row("an expression of Python", lambda: spec(selector="zone == 'dc'"), "selector", "\"'dc'\" is not a label value", "without quotes"),
    Row("words", lambda: spec(selector="anything with a GPU"), "selector", "is not a requirement", "such as 'zone = dc'"),
    Row("a regular expression", lambda: spec(selector="zone =~ (a+)+$"), "selector", "is not a requirement", "such as"),
    Row("greater than a word", lambda: spec(selector="size > big"), "selector", "compares whole numbers", "give a number"),
    Row("100,000 terms", lambda: spec(selector=",".join(["a"] * 10**5)), "selector", "at most 1000 terms", "use fewer"),
    Row("a selector of numbers", lambda: bac.Selector(7), "", "7 is not a text", "'zone = dc'"),
    Row("preferences of bytes", lambda: bac.Selector("", prefer=b"a"), "prefer", "b'a' is not a text", "'zone = dc'"),
    Row("a selector with control characters", lambda: spec(selector=CONTROL), "selector", r"'bell\x07\x1b[31m' is not a label key", "letters, digits"),
    Row("labels that are a list", lambda: spec(labels=["a"]), "labels", "['a'] is not a mapping", "{'team': 'maps'}"),
    Row("a label with a space", lambda: spec(labels={"a b": "1"}), "labels.a b", "is not a label key", "letters, digits"),
    Row("a label that is a number", lambda: spec(labels={"a": 1}), "labels.a", "1 is not a label value", "letters, digits"),
    Row("a platform of one part", lambda: bac.Platform.parse("amd64"), "", "'amd64' is not a platform", "'linux/amd64'"),
    Row("a platform that is bytes", lambda: bac.Platform.parse(b"linux/amd64"), "", "is not a platform", "'linux/amd64'"),
    Row("a platform of four parts", lambda: bac.Platform.parse("a/b/c/d"), "", "'a/b/c/d' is not a platform", "'linux/arm/v7'"),
    Row("a system that is None", lambda: bac.Platform(None, "amd64"), "os", "None is not a part", "'linux/amd64'"),
    Row("an architecture with a slash", lambda: bac.Platform("linux", "a/b"), "architecture", "'a/b' is not a part", "'linux/amd64'"),
]  # fmt: skip

NODES = [
    Row("a name that is None", lambda: node(None), "name", "None is not a node's name", "1 to 63 of a-z"),
    Row("a name in upper case", lambda: node("Edge"), "name", "'Edge' is not a node's name", "1 to 63 of a-z"),
    Row("a name that is a path", lambda: node("../x"), "name", "'../x' is not", "1 to 63 of a-z"),
    Row("a name of a device", lambda: node("con"), "name", "'con' is not", "choose another"),
    Row("a name with control characters", lambda: node(CONTROL), "name", r"'bell\x07\x1b[31m' is not", "1 to 63"),
    Row("a name written backwards", lambda: node(RIGHT_TO_LEFT), "name", r"'abc\u202egpj.exe' is not", "1 to 63"),
    Row("a name of the orchestrator's", lambda: node("orchestrator"), "name", "is taken", "choose another"),
    Row("no executors", lambda: node(executors=None), "executors", "None is not a list", "write [...]"),
    Row("one executor alone", lambda: node(executors=bac.FunctionExecutor({})), "executors", "is not a list", "write [...]"),
    Row("a class for an executor", lambda: node(executors=[bac.FunctionExecutor]), "executors[0]", "is not an Executor", "give an instance"),
    Row("a text for an executor", lambda: node(executors=["wasm"]), "executors[0]", "'wasm' is not an Executor", "give an instance"),
    Row("an unshowable executor", lambda: node(executors=[Unshowable()]), "executors[0]", "<Unshowable instance at", "give an instance"),
    Row("two executors of one engine", lambda: node(executors=[bac.FunctionExecutor({}), bac.FunctionExecutor({})]), "executors[1]", "a second executor", "make another node"),
    Row("labels that are a text", lambda: node(labels="zone=dc"), "labels", "'zone=dc' is not a mapping", "{'zone': 'dc'}"),
    Row("a label of the node's own", lambda: node(labels={"name": "x"}), "labels.name", "set by the node itself", "choose another"),
    Row("a label with control characters", lambda: node(labels={CONTROL: "x"}), r"labels.'bell\x07\x1b[31m'", "is not a label key", "letters"),
    Row("a label that is a number", lambda: node(labels={1: "x"}), "labels.1", "1 is not a label key", "letters"),
    Row("resources that are a number", lambda: node(resources=4), "resources", "4 is not a Resources", "Resources(cpu=4"),
    Row("negative resources", lambda: node(resources=bac.Resources(memory=-1)), "memory", "-1 is negative", "0 asks"),
    Row("all GPUs", lambda: node(resources=bac.Resources(gpu="all")), "resources.gpu", "'all' is for jobs", "give the number"),
    Row("negative executions", lambda: node(max_executions=-1), "max_executions", "-1 is not", "from 0 up"),
    Row("executions that are True", lambda: node(max_executions=True), "max_executions", "True is not", "from 0 up"),
    Row("executions of 5000 digits, negative", lambda: node(max_executions=-HUGE), "max_executions", "is not a whole number", "from 0 up"),
    Row("storages that are a text", lambda: node(storages="s3"), "storages", "'s3' is not a list", "write [...]"),
    Row("a storage that is a text", lambda: node(storages=["s3"]), "storages[0]", "'s3' is not a Storage", "give an instance"),
]  # fmt: skip

EXECUTORS = [
    Row("an unknown isolation", lambda: bac.WasmExecutor(isolation=None), "isolation", "None is not 'thread'", "'thread', the only one"),
    Row("an isolation to come", lambda: bac.WasmExecutor(isolation="process"), "isolation", "does not exist yet", "isolation='thread'", errors.UnsupportedSpecError, "spec.unsupported"),
    Row("a memory limit of nothing", lambda: bac.WasmExecutor(isolation="thread", memory_limit=None), "memory_limit", "None is not a size", "'8GiB'"),
    Row("fuel of 0", lambda: bac.WasmExecutor(isolation="thread", fuel=0), "fuel", "0 is not a number of units", "None sets no limit"),
    Row("fuel of 5000 digits", lambda: bac.WasmExecutor(isolation="thread", fuel=HUGE), "fuel", "is not a number of units", "None sets no limit"),
    Row("a cache that is a number", lambda: bac.WasmExecutor(isolation="thread", cache_dir=5), "cache_dir", "5 is not a folder", "give its path"),
    Row("a cache of an empty path", lambda: bac.WasmExecutor(isolation="thread", cache_dir=""), "cache_dir", "'' is not a folder", "'.' is this one"),
    Row("a cache in the clouds", lambda: bac.WasmExecutor(isolation="thread", cache_dir="s3://b"), "cache_dir", "'s3://b' is not a folder of this machine", "give its path"),
    Row("a flag that is a text", lambda: bac.WasmExecutor(isolation="thread", system_env="no"), "system_env", "'no' is not True or False", "True or False"),
    Row("functions that are None", lambda: bac.FunctionExecutor(None), "functions", "None is not a mapping", "{'name': function}"),
    Row("functions that are a list", lambda: bac.FunctionExecutor([function]), "functions", "is not a mapping", "{'name': function}"),
    Row("a function of a number", lambda: bac.FunctionExecutor({1: function}), "functions", "1 is not the name", "give a text"),
    Row("a function that is not async", lambda: bac.FunctionExecutor({"f": plain}), "functions.f", "is not an async function", "write 'async def'"),
    Row("a function that is a lambda", lambda: bac.FunctionExecutor({"f": lambda task: function(task)}), "functions.f", "is not an async function", "instead of a plain 'def' or a lambda"),
    Row("a function that is None", lambda: bac.FunctionExecutor({"f": None}), "functions.f", "None is not an async function", "write 'async def'"),
    Row("a function with control characters", lambda: bac.FunctionExecutor({CONTROL: print}), r"functions.'bell\x07\x1b[31m'", "is not an async", "write 'async def'"),
    Row("another flag that is a number", lambda: bac.FunctionExecutor({}, system_env=0), "system_env", "0 is not True or False", "True or False"),
]  # fmt: skip

CLUSTERS = [
    Row("one node alone", lambda: bac.Cluster(node()), "nodes", "is not a list of Node objects", "write [Node(...)]"),
    Row("nodes that are a text", lambda: bac.Cluster("local"), "nodes", "'local' is not a list", "write [Node(...)]"),
    Row("a node that is an executor", lambda: bac.Cluster([bac.FunctionExecutor({})]), "nodes[0]", "is not a Node", "write Node('name', [...])"),
    Row("a node that is None", lambda: bac.Cluster([None]), "nodes[0]", "None is not a Node", "write Node("),
    Row("two nodes of one name", lambda: bac.Cluster([node("a"), node("a")]), "nodes[1].name", "is the name of an earlier node", "give it another"),
    Row("an executor that is shared", lambda: bac.Cluster([node(name, [one]) for one in [bac.FunctionExecutor({})] for name in "ab"]), "nodes[1].executors", "is an earlier node's", "each node needs its own"),
    Row("a class for a transport", lambda: bac.Cluster([], transport=bac.MemoryTransport), "transport", "is not a Transport", "give an instance"),
    Row("a path for a store", lambda: bac.Cluster([], store="jobs.db"), "store", "'jobs.db' is not a JobStore", "give an instance"),
    Row("a function for a clock", lambda: bac.Cluster([], clock=print), "clock", "is not a Clock", "give an instance"),
    Row("results at a number", lambda: bac.Cluster([], data_dir=3), "data_dir", "3 is not a folder", "give its path"),
    Row("results at an empty path", lambda: bac.Cluster([], data_dir=""), "data_dir", "'' is not a folder", "'.' is this one"),
    Row("results at a path of bytes", lambda: bac.Cluster([], data_dir=b"x"), "data_dir", "b'x' is not a folder", "give its path"),
    Row("results in the clouds", lambda: bac.Cluster([], data_dir="s3://bucket/x"), "data_dir", "is not a folder of this machine", "give its path"),
    Row("results at a NUL", lambda: bac.Cluster([], data_dir="a\0b"), "data_dir", r"'a\x00b' is not a folder", "give its path"),
]  # fmt: skip

SIMULATIONS = [
    Row("an engine of no name", lambda: sim.SimulatedEngine(None), "engine", "None is not the name of an engine", "'docker'"),
    Row("platforms that are a text", lambda: sim.SimulatedEngine("docker", "linux/amd64"), "platforms", "is not a list", "write ['linux/amd64']"),
    Row("platforms that are None", lambda: sim.SimulatedEngine("docker", None), "platforms", "None is not a list", "write ['linux/amd64']"),
    Row("an emulated platform that is none", lambda: sim.SimulatedEngine("docker", emulated=["x"]), "emulated[0]", "'x' is not a platform", "'linux/amd64'"),
    Row("a plan that is a number", lambda: sim.SimulatedEngine("docker", plan=5), "plan[0]", "5 is no entry", "on(...) begins one"),
    Row("an entry that says nothing", lambda: sim.SimulatedEngine("docker", plan=[sim.on()]), "plan[0]", "does not say what happens", "exits(0), say"),
    Row("an entry that is never reached", lambda: sim.SimulatedEngine("docker", plan=[sim.on().exits(0), sim.on(attempt=1).exits(1)]), "plan[1]", "never reached", "put it before"),
    Row("a behaviour that is not async", lambda: sim.SimulatedEngine("docker", behaviour=plain), "behaviour", "is not an async function", "write 'async def'"),
    Row("a behaviour that is a lambda", lambda: sim.SimulatedEngine("docker", behaviour=lambda task, io: function(task)), "behaviour", "is not an async function", "instead of a plain 'def' or a lambda"),
    Row("a check that is a flag", lambda: sim.SimulatedEngine("docker", check=True), "check", "True is not a function", "that takes a task"),
    Row("an attempt of 0", lambda: sim.on(attempt=0), "attempt", "0 is not a number", "from 1 up"),
    Row("a partition that is True", lambda: sim.on(partition=True), "partition", "True is not a number", "from 0 up"),
    Row("a job that is a number", lambda: sim.on(job=7), "job", "7 is not a job id", "1 to 63 of a-z"),
    Row("a job with a blank", lambda: sim.on(job="A B"), "job", "'A B' is not a job id", "1 to 63 of a-z"),
    Row("to run for no number", lambda: sim.on().runs(NAN), "runs", "nan is not a number of seconds", "above 0"),
    Row("to exit with a text", lambda: sim.on().exits("0"), "exits", "'0' is no exit code", "a whole number"),
    Row("to print a number", lambda: sim.on().prints(5), "prints", "5 is no text", "give a text or bytes"),
    Row("to print to the printer", lambda: sim.on().prints("x", to="lp"), "prints.to", "'lp' is no stream", "'stdout' or 'stderr'"),
    Row("to write outside", lambda: sim.on().writes("o", "../x"), "writes.path", "'../x' is no path", "inside an output"),
    Row("to write into no output", lambda: sim.on().writes("", "x"), "writes.output", "'' cannot name a folder", "use letters"),
    Row("to refuse for a text", lambda: sim.on().refuses("full", lasting="no"), "refuses.lasting", "'no' is not True or False", "True or False"),
    Row("to go on after the end", lambda: sim.on().exits(0).runs(1), "run", "nothing can come after the end", "'exit' is one"),
    Row("a link to nobody", lambda: sim.link(None), "first", "None is no name of a party", "give a node's name"),
    Row("a link to itself", lambda: sim.link("a", "a"), "second", "'a' has no link to itself", "name two parties"),
    Row("a link that is cut backwards", lambda: sim.link("a").cut(5, 1), "start", "5 to 1 is no range of seconds", "the earlier one first"),
    Row("a link that is cut one way by a text", lambda: sim.link("a").cut(one_way="no"), "one_way", "'no' is not True or False", "True or False"),
    Row("messages of no type", lambda: sim.messages("Hello"), "kinds", "'Hello' is no type of messages", "those are"),
    Row("messages of a number", lambda: sim.messages(sender=5), "sender", "5 is no name of a party", "give a node's name"),
    Row("a chance of 2", lambda: sim.messages().lost(2), "lost", "2 is no chance", "above 0, up to 1"),
    Row("a chance that is no number", lambda: sim.messages().doubled(NAN), "doubled", "nan is no chance", "above 0, up to 1"),
    Row("a delay backwards", lambda: sim.messages().delayed(0.5, 2, 1), "delayed", "2 to 1 is no range", "the smaller one first"),
    Row("a fault that says nothing", lambda: sim.SimulatedTransport([sim.messages()]), "plan[0]", "does not say what goes wrong", "messages().lost(0.1)"),
    Row("a seed of a transport that is None", lambda: sim.SimulatedTransport(seed=None), "seed", "None is not a seed", "a whole number"),
    Row("a seed of a cluster that is a text", lambda: sim.VirtualCluster(seed="x"), "seed", "'x' is not a seed", "a whole number"),
    Row("a limit of a cluster in the past", lambda: sim.VirtualCluster(limit=-1), "limit", "-1 is not a number of seconds", "above 0"),
    Row("a limit of too many digits", lambda: sim.VirtualCluster(limit=10**400), "limit", "is not a number of seconds", "above 0"),
    Row("a run of too many seconds", lambda: sim.on().runs(10**400), "runs", "is not a number of seconds", "above 0"),
    Row("a limit that is no number", lambda: sim.run(function, None, limit=NAN), "limit", "nan is not a number of seconds", "above 0"),
    Row("no function to run", lambda: sim.run(None), "function", "None is not an async function", "without calling it"),
    Row("an unknown backend", lambda: sim.run(function, None, backend="curio"), "backend", "'curio' is no backend", "'asyncio' or 'trio'"),
    Row("a link to a node that there is not", lambda: sim.VirtualCluster(transport=sim.SimulatedTransport([sim.link("edge").cut()])), "transport.plan", "'edge' is no party", "they are orchestrator, virtual"),
    Row("an executor with threads", lambda: sim.VirtualCluster([node("n", [bac.WasmExecutor(isolation="thread")])]), "nodes[0].executors[0]", "works in threads", "take a SimulatedEngine('wasm')"),
]  # fmt: skip

TABLES: dict[str, list[Row]] = {
    "spec": SPECS,
    "argument": ARGUMENTS,
    "data": DATA,
    "environment": ENVIRONMENT,
    "limit": LIMITS,
    "place": PLACES,
    "node": NODES,
    "executor": EXECUTORS,
    "cluster": CLUSTERS,
    "simulation": SIMULATIONS,
}
