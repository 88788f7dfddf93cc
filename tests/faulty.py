"""A process for the bench's tests that does what kernels do at their worst, when it is asked to."""

import os
import sys
import time

from kernels.bench.workers import serve

SICK = []


def answer(job: dict) -> dict:
    print("noise")  # must not be taken for an answer
    if job["do"] == "raise":
        raise ValueError("two\nlines")
    if job["do"] == "hang":
        time.sleep(60)
    if job["do"] == "crash":
        print("illegal memory access", file=sys.stderr, flush=True)
        os.abort()
    if job["do"] == "sicken":
        SICK.append(1)
        return {"errors": {"triton": "sticky"}}
    return {"is": job["do"], "process": os.getpid()}


def healthy() -> None:
    if SICK:
        raise RuntimeError("no longer")


if __name__ == "__main__":
    serve(answer, healthy)
