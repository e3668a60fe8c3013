import tracemalloc
from contextlib import closing

import numpy as np

from segcli.core.spilled import Spilled


def test_rows_come_back_as_they_were_added_in_memory_and_on_the_disk():
    rows = np.random.default_rng(0).integers(0, 2**16, (400, 4, 300), np.uint16)  # 0.9 MiB: the first stay in memory
    with closing(Spilled((4, 300), np.uint16)) as spilled:
        for i, row in enumerate(rows):
            spilled.add(row)
            assert (spilled.part(i // 2, i // 2 + 1)[0] == rows[i // 2]).all()  # reading does not disturb writing
        spilled.add(rows[:3])
        assert len(spilled) == 403
        assert (spilled.part(398, 999) == np.concatenate([rows[398:], rows[:3]])).all()
        for numbers in ([5, 3, 4, 3], [399, 0, 17], np.arange(0, 400, 3), []):
            assert (spilled.rows(numbers) == rows[numbers if len(numbers) else slice(0)]).all()


def test_memory_does_not_grow_with_the_rows():
    tracemalloc.start()
    with closing(Spilled((1024,), np.uint8)) as spilled:
        for _ in range(4096):
            spilled.add(np.zeros(1024, np.uint8))
        kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 2**20  # of 4 MiB
