"""Which commands reach for another machine: each runs as a process of its own, without a network and watched.

Needs Linux with `strace` or a C compiler. A command that imports onnxruntime is kept alive for a while, because its
telemetry would begin some nine seconds after the import.

Run: python benchmarks/no_network.py [--stay 15]
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]

STAYING = """
import sys, time
from segcli.cli.main import run
code = run(sys.argv[2:])
time.sleep(float(sys.argv[1]) if "onnxruntime" in sys.modules else 0)
sys.exit(code)
"""


def main() -> None:
    """Print a row per command and leave with 1 where one reached out or ended otherwise than expected."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stay", type=float, default=15.0, help="seconds that onnxruntime is given")
    stay = parser.parse_args().stay
    sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "contracts")]
    import network
    import test_no_network as cases

    worst = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder, cache = Path(temporary) / "work", Path(temporary) / "cache"
        folder.mkdir()
        cases.prepare(folder)
        quiet = {**dict.fromkeys(cases.SWITCHES), "XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(ROOT)}
        for name, options, expected in cases.CASES:
            command = [sys.executable, "-c", STAYING, str(stay), *name.split(), *options.split()]
            seen = network.watch(command, folder, **quiet)
            kept = [str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file()]
            print(f"{len(seen.attempts):3} attempts  exit {seen.done.returncode}  segcli {name} {options}", flush=True)
            for line in [*seen.attempts[:3], *kept]:
                print(f"      {line}")
            worst |= bool(seen.attempts) or bool(kept) or seen.done.returncode != expected
    print(f"watched with {network.TOOLS[0]}, {os.cpu_count()} processors")
    sys.exit(worst)


if __name__ == "__main__":
    main()
