import gc
import tracemalloc
from contextlib import closing

import numpy as np
from planted import cells

from segcli.data.faults.kept import Images
from segcli.data.faults.seen import seen
from segcli.data.samples import Case, Sample


def test_a_check_keeps_a_few_hundred_bytes_of_each_image_and_gives_its_description_back(tmp_path):
    pixels, mask = cells(0, (96, 96), 8)
    samples = [Sample(np.roll(pixels, i, 1)[:, :, None], {"mask": np.roll(mask, i, 1)}) for i in range(4)]
    described = [seen(each) for each in samples]
    cases = [Case(f"{i}", tmp_path / f"{i}.png") for i in range(4)]
    with closing(Images()) as images:
        for i in range(4):
            images.add("train", cases[i], described[i])
        assert images.fits == [each.fit for each in described]
        assert images.brightness == [each.brightness for each in described]
        assert all((images.look(i) == described[i].look).all() for i in range(4))
        assert images.first_alike().tolist() == [0, 1, 2, 3]
        gc.collect()
        tracemalloc.start()
        for i in range(4000):
            images.add("val", cases[i % 4], described[i % 4])
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert kept < 4000 * 400
        assert images.first_alike()[4:].tolist() == [0, 1, 2, 3] * 1000
