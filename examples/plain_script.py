"""A plain script, without async: count the words of every Markdown file of a folder, a job each, and print the longest.

``python examples/plain_script.py [FOLDER]``; Ctrl-C cancels the jobs, and ends when nothing of them runs any more.
"""

import sys
from pathlib import Path

import bacalhau_sdk as bac
from bacalhau_sdk.blocking import Cluster

HERE = Path(__file__).parent


def count_words(text: Path) -> bac.JobSpec:
    return bac.JobSpec.wasm(
        HERE / "wordcount" / "wordcount.wasm",
        "/inputs",
        "/outputs",
        inputs={f"/inputs/{text.name}": text},
        outputs={"counts": "/outputs"},
        resources=bac.Resources(memory="64MiB"),
        timeouts=bac.Timeouts(total=60),
    )


def main(folder: Path) -> None:
    words: dict[str, int] = {}
    with Cluster() as cluster:
        jobs = [(text.name, cluster.submit(count_words(text))) for text in sorted(folder.glob("*.md"))]
        for name, job in jobs:  # all of them run meanwhile, as many at once as there is room for
            try:
                result = job.result()
                result.check()
            except bac.BacalhauError as error:
                print(f"{name}: {error}", file=sys.stderr)
            else:
                words[name] = int(result.stdout.split()[0])

    for name in sorted(words, key=words.__getitem__, reverse=True)[:5]:
        print(f"{words[name]:>7}  {name}")
    print(f"{sum(words.values()):>7}  in {len(words)} of {len(jobs)} files")
    if len(words) < len(jobs):
        sys.exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parent / "docs" / "how-to")
