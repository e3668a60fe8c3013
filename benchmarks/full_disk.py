"""Every command that writes, on a disk that fills at another moment each time, and on one that cannot be written to.

    python benchmarks/full_disk.py [--moments 12] [--seed 1]

Needs the right to mount a tmpfs. Each command first runs with room; then the disk gets less room than it needs, from
nothing to just too little. A fault is a traceback, another exit code than 3 (2 where the free space is compared before
anything is written), more than one error, an unfinished file, a changed file that was there, and a command that fails
afterwards, when there is room. Prints a row for each.
"""

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from write_points import NEW, POINTS, make_disk, prepare, unfinished

from segcli.cli.main import run

ROOM = 256 * 2**20


def call(words: list[str]) -> tuple[int, str]:
    """Run a command in a fork; return its exit code and what it printed."""
    with tempfile.TemporaryFile("w+") as log:
        child = os.fork()
        if child == 0:
            code = 70
            try:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
                code = run(words)
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        log.seek(0)
        return code, log.read()


def mounted(options: str) -> None:
    """Mount an empty disk, or change the one that is mounted."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", NEW], check=True)


def used() -> int:
    """Bytes that are taken on the disk."""
    return shutil.disk_usage(NEW).used


def contents(folder: Path) -> dict[str, bytes]:
    """Read all files but those that a run may add lines to."""
    return {
        str(path): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "tfevents" not in path.name and path.name not in (".lock", "memory.csv")
    }


def tried(words: list[str], bytes_left: int | None) -> list[str]:
    """Run a command with little room, or on a read-only disk (None); return what is wrong."""
    mounted(f"size={ROOM}")
    try:
        make_disk(Path(NEW))
        if bytes_left is None:
            mounted("remount,ro")
        else:
            mounted(f"remount,size={used() + bytes_left}")
        before = contents(Path(NEW))
        code, text = call(words)
        after = contents(Path(NEW))
        wrong = [f"exit {code}: {text[-300:]}"] if code not in (0, 2, 3) else []
        wrong += ["traceback"] if "Traceback" in text else []
        told = re.findall(r"(?m)^error: |^\d+ \w+ failed:$", text)
        wrong += [f"{len(told)} errors: {text[-700:]}"] if code and len(told) != 1 else []
        wrong += [f"left {unfinished(Path(NEW))[:2]}"] if code and unfinished(Path(NEW)) else []
        kept = [path for path in before if bytes_left is None or not path.endswith(("config.yaml", "history.yaml"))]
        wrong += [f"changed {path}" for path in kept if before[path] != after.get(path) and code]
        wrong += [f"no error, but only {text[-200:]}"] if code == 2 and "MiB are free" not in text else []
        mounted(f"remount,rw,size={ROOM}")
        if code:
            over = [] if words[0] in ("resume", "profile-memory") or words[:2] == ["data", "split"] else ["--overwrite"]
            again, text = call([*words, *over])
            wrong += [f"with room: exit {again}: {text[-300:]}"] if again else []
        return [*wrong, "passed" if not code else "refused"]
    finally:
        subprocess.run(["umount", NEW], check=True)


def main() -> None:
    """Fill the disk, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=12, help="at which the disk is full, for each command")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", choices=POINTS)
    args = parser.parse_args()
    rng, faults = random.Random(args.seed), 0
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        os.dup2(os.open("log.txt", os.O_WRONLY | os.O_CREAT), 2)
        if call_prepare():
            raise SystemExit("the runs could not be made")
        Path(NEW).mkdir()
        print(
            "| what is written | moments | refused in words | fitted | read-only | faults |\n|---|---|---|---|---|---|"
        )
        for what in args.only or POINTS:
            words = POINTS[what].split()
            mounted(f"size={ROOM}")
            make_disk(Path(NEW))
            start = used()
            code, text = call(words)
            needed = used() - start
            subprocess.run(["umount", NEW], check=True)
            assert code == 0, text
            room = [0, 4096, *(rng.randrange(0, max(needed, 8192)) for _ in range(args.moments - 2))]
            found = [tried(words, each) for each in room]
            locked = tried(words, None)
            wrong = sorted({text for texts in [*found, locked] for text in texts[:-1]})
            faults += len(wrong)
            counts = [sum(texts[-1] == word for texts in found) for word in ("refused", "passed")]
            print(f"| {what} | {len(found)} | {counts[0]} | {counts[1]} | {locked[-1]} | {len(wrong)} |", flush=True)
            for text in wrong[:4]:
                print(f"    {text}", flush=True)
        os.chdir("/")
    raise SystemExit(faults > 0)


def call_prepare() -> int:
    """Make the files in a fork, whose threads no other fork needs."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            prepare(Path())
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    main()
