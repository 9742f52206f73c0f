"""Count the words of this project's documentation with a WASM program, and keep what it writes.

A cluster with one node, this machine, runs `wordcount/wordcount.wasm` (C, its source is beside it) over a read-only copy of
`docs/`. The log is shown while the program runs; the table of words comes back as a file.
"""

import sys
import tempfile
from pathlib import Path

import anyio

import bacalhau_sdk as bac

HERE = Path(__file__).parent


async def main(folder: Path, destination: Path) -> None:
    spec = bac.JobSpec.wasm(
        HERE / "wordcount" / "wordcount.wasm",
        "/inputs",
        "/outputs",
        inputs={"/inputs": folder},
        outputs={"counts": "/outputs"},
        resources=bac.Resources(memory="64MiB"),
    )
    async with bac.Cluster() as cluster:
        job = await cluster.submit(spec)
        async for entry in job.logs():
            print(f"{entry.stream} | {entry.text}")
        result = await job.result()
        result.check()
        kept = result.outputs["counts"].copy_to(destination)
        print(f"\njob {job.id} took {result.duration:.3f} s on node {result.node}; its outputs are in {kept}")

    print("\nthe ten most frequent words:")
    for line in (kept / "words.csv").read_text().splitlines()[1:11]:
        word, count = line.split(",")
        print(f"{count:>7}  {word}")


if __name__ == "__main__":
    given = [Path(argument) for argument in sys.argv[1:]]
    texts = given[0] if given else HERE.parent / "docs"
    target = given[1] if len(given) > 1 else Path(tempfile.mkdtemp(prefix="wordcount-"))
    anyio.run(main, texts, target)
