"""The program: ``python -m featx``, and ``featx`` once it is installed."""

from __future__ import annotations

from typing import NoReturn

from featx.process.ending import end_on_signals, end_process


def run() -> NoReturn:
    """Run the command line and end the process."""
    end_on_signals()
    from featx.cli import main  # A slow import: signals must be handled before it starts.

    try:
        main()
    except SystemExit as stop:
        end_process(stop.code)
    end_process(0)


if __name__ == "__main__":
    run()
