"""Python's stack in one piece."""

import resource

from hetdask.stack import roomy

CALLS = 2_000
DEPTHS = 300


def leaf() -> None:
    """What is called in a loop."""


def page_faults(depth: int) -> int:
    """Most page faults of a loop of calls at this depth, or any below it: a piece taken anew costs one."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(CALLS):
        leaf()
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    return max(faults, page_faults(depth - 1)) if depth else faults


@roomy
def with_room() -> int:
    return page_faults(DEPTHS)


def test_no_loop_of_calls_takes_its_stack_from_the_system_each_time() -> None:
    assert with_room() < CALLS // 10


def test_a_function_stays_what_it_was() -> None:
    @roomy
    def add(first: int, *, second: int = 2) -> int:
        """Add."""
        return first + second

    assert (add(1), add(1, second=4), add.__name__, add.__doc__) == (3, 5, "add", "Add.")
