import os
import signal
from pathlib import Path

import pytest

from segcli.engine.checkpoint import read_checkpoint
from segcli.engine.world import World


@pytest.mark.posix
@pytest.mark.parametrize(("call", "steps"), [(1, 2), (4, 4)], ids=["between two steps", "at the end of an epoch"])
def test_a_signal_right_after_all_were_asked_waits_until_they_are_asked_again(run_cli, tiny, monkeypatch, call, steps):
    calls, most = [], World.most

    def late(self, *numbers):
        found = most(self, *numbers)
        calls.append(numbers)
        if len(calls) == call:  # the fourth is that at the end of an epoch of three steps
            os.kill(os.getpid(), signal.SIGINT)
        return found

    monkeypatch.setattr(World, "most", late)
    ended = run_cli("train", tiny())
    assert ended.code == 130, ended.err
    last = read_checkpoint(Path("outputs/experiments/tiny/checkpoints/last.safetensors"))
    assert last.header["progress"]["step"] == steps
