"""Entry point of `segcli` and of `python -m segcli`."""

import os
import sys

from segcli.core.collector import begin_start, end_start

__all__ = ["main"]


def main() -> None:
    """Run the command line and leave with its exit code."""
    begin_start()
    # more threads would wait longer for each other than NumPy's small products take
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        from segcli.cli.main import run  # noqa: PLC0415 - Ctrl-C may come while this is imported
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        sys.exit(130)
    code = run(sys.argv[1:])
    end_start()  # a command without stages ends faster, too
    sys.exit(code)


if __name__ == "__main__":
    main()
