"""Methods whose results are kept as long as their object."""

import gc
import pickle
import weakref

from segcli.core.cached import cached_method


class Counts:
    """Counts its calls."""

    def __init__(self):
        self.calls = []

    @cached_method
    def found(self, split, *, fresh=False):
        self.calls.append((split, fresh))
        return [split]


def test_each_object_computes_once_for_the_same_arguments():
    one, other = Counts(), Counts()
    assert one.found("train") is one.found("train")
    assert one.found("train", fresh=True) == ["train"]
    assert one.found("val") == ["val"]
    assert other.found("train") is not one.found("train")
    assert one.calls == [("train", False), ("train", True), ("val", False)]
    assert other.calls == [("train", False)]


def test_an_object_is_freed_although_its_results_were_kept():
    counts = Counts()
    counts.found("train")
    freed = weakref.ref(counts)
    del counts
    gc.collect()
    assert freed() is None


def test_a_copy_in_another_process_computes_anew():
    counts = Counts()
    counts.found("train")
    there = pickle.loads(pickle.dumps(counts))
    assert there.found("train") == ["train"]
    assert len(there.calls) == 2
