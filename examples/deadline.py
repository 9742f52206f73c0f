"""Deadlines: your own around a job, and one that the job has, for a program that never ends by itself.

What is cancelled is dead: where the next line is reached, nothing of the job runs any more.
"""

import time

import anyio

import bacalhau_sdk as bac

# A program that computes for ever and never waits: (module (func (export "_start") (loop br 0)))
ENDLESS = bytes.fromhex(
    "0061736d01000000 010401600000 03020100 070a01065f73746172740000 0a0901070003400c000b0b"
)


async def main() -> None:
    spec = bac.JobSpec.wasm(ENDLESS)
    async with bac.Cluster() as cluster:
        # run() owns its job: a scope that is cancelled cancels the job, and is left when that is dead.
        with anyio.move_on_after(0.5):
            await cluster.run(spec)
        (job,) = await cluster.jobs()
        print(f"move_on_after: the job is {job.state.value}")

        # Waiting is not owning: here a deadline ends the wait, and the job goes on.
        job = await cluster.submit(spec)
        with anyio.move_on_after(0.5):
            await job.result()
        print(f"a wait that was given up: the job is {job.state.value}")

        # `async with job` owns it, for as long as the block takes. fail_after raises where move_on_after goes on.
        try:
            with anyio.fail_after(0.5):
                async with job:
                    await job.result()
        except TimeoutError:
            print(f"fail_after: the job is {job.state.value}")

        # A limit of the job's own holds whoever waits, and counts from when the program begins.
        try:
            await cluster.run(bac.JobSpec.wasm(ENDLESS, timeouts=bac.Timeouts(execution=0.5)))
        except bac.JobTimeoutError as error:  # a TimeoutError, too
            print(f"Timeouts: {error}")

        used = time.process_time()
        await anyio.sleep(0.5)
        print(f"seconds of CPU in the half second since: {time.process_time() - used:.1f}")


if __name__ == "__main__":
    anyio.run(main)
