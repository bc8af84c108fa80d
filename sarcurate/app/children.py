"""Child processes that end with us, however we end, and ports that are looked at before they are used."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType

from sarcurate.errors import HardwareError

LOOPBACK = "127.0.0.1"
_PR_SET_PDEATHSIG = 1
_POLL_S = 0.05
_GRACE_S = 15.0
_TAIL = 1500  # characters of a child's log that an error shows


class Child:
    """A process of ours whose output goes to a log file; ``with`` stops it.

    On Linux the kernel sends it ``last_signal`` when we are killed.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        log: Path,
        env: Mapping[str, str] | None = None,
        last_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name = name
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=None if env is None else dict(env),
                preexec_fn=partial(_die_with_parent, last_signal) if sys.platform == "linux" else None,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it is no longer running."""
        return self._process.poll() is not None

    def wait_until(self, ready: Callable[[], bool], limit_s: float) -> None:
        """Wait for ``ready``.

        Raises:
            HardwareError: with the end of its log, where the process ended or time ran out.
        """
        end = time.monotonic() + limit_s
        while not ready():
            if self.ended or time.monotonic() > end:
                what = "ended at once" if self.ended else f"did not answer within {limit_s:g} s"
                raise HardwareError(
                    f"{self.name} {what}; the end of {self._log}:\n{self.log_tail()}",
                    fix=f"read {self._log}; another `sarcurate browse` of this workspace may be running",
                )
            time.sleep(_POLL_S)

    def log_tail(self) -> str:
        """The end of its log."""
        return self._log.read_text(encoding="utf-8", errors="replace")[-_TAIL:]

    def stop(self) -> None:
        """End it: politely first."""
        if not self.ended:
            self._process.terminate()
            try:
                self._process.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def answers(host: str, port: int) -> bool:
    """Whether something listens there."""
    try:
        with socket.create_connection((host, port), 0.2):
            return True
    except OSError:
        return False


def free_port() -> int:
    """A loopback port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def require_free(port: int) -> None:
    """Refuse a port that is taken.

    Raises:
        HardwareError: naming it.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise HardwareError(
                f"port {port} of {LOOPBACK} cannot be used: {error.strerror}",
                fix=f"stop what listens there, or take another: --port {port + 1}; --port 0 finds one",
            ) from error


def _die_with_parent(last_signal: int) -> None:  # pragma: no cover - runs in the child before its program
    # Ctrl+C is for us alone: children are stopped in order, the database last.
    os.setsid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, last_signal)
