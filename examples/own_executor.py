"""An executor of one's own: evaluations on threads, for evaluators that wait for something (a queue, a phone, a rack).

python examples/own_executor.py
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from common.evaluators import Evaluator, Outcome, Request
from common.execution import Executor


class Threads(Executor):
    """Several evaluations at a time on threads of this process; the search does not mind which is ready first."""

    def __init__(self, count: int = 4) -> None:
        self.count, self.name = count, f"threads ({count})"

    def run(self, evaluator: Evaluator, requests: Sequence[Request]) -> Iterator[tuple[int, Outcome]]:
        with ThreadPoolExecutor(self.count) as pool:
            futures = {pool.submit(evaluator.evaluate, *request): place for place, request in enumerate(requests)}
            for future in as_completed(futures):
                yield futures[future], future.result()


def main() -> None:
    import time

    from common.benchmarks import load_benchmark
    from common.execution import EXECUTORS
    from common.search import make_strategy, run_search

    table = load_benchmark()

    class SlowLookUp(Evaluator):
        name = "slow"

        def evaluate(self, arch: object, bounds: object = None) -> Outcome:
            time.sleep(0.02)
            return Outcome(float(table.values()[table.index_of(arch)]))

    for name in ("serial", "examples/own_executor.py:Threads"):
        started = time.perf_counter()
        strategy = make_strategy("random", table.space, seed=0)
        with EXECUTORS.load(name)() as executor:
            best = run_search(strategy, SlowLookUp(), budget=50, executor=executor).history.best
        print(f"{executor.name}: {best.value:.2f} in {time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    main()
