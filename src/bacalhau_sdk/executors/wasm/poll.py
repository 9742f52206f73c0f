"""WASI preview 1's ``poll_oneoff``, as a wait that can be ended.

wasmtime's own blocks its thread for as long as the guest asks, and an epoch does not wake it.
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from wasmtime import Caller

__all__ = ["Poll"]

# The layouts and numbers of WASI preview 1: subscription, event, errno, eventtype, clockid, subclockflags. In
# a subscription to a file descriptor, the descriptor is where the clock's id is, and the rest has no meaning.
_SUBSCRIPTION = struct.Struct("<Q B 7x I 4x Q Q H 6x")
_EVENT = struct.Struct("<Q H B 5x Q H 6x")
_ERRNO_SUCCESS, _ERRNO_FAULT, _ERRNO_INVAL = 0, 21, 28
_MUST_END = -1
_EVENTTYPE_CLOCK, _EVENTTYPE_FD_READ, _EVENTTYPE_FD_WRITE = 0, 1, 2
_CLOCKID_REALTIME, _CLOCKID_MONOTONIC = 0, 1
_ABSTIME = 1

_SUBSCRIPTIONS_MAX = 4096  # their copies are the host's memory; wasi-libc's poll and select stay far below
_NAP_SECONDS = 60.0  # a real-time clock may be set while somebody waits for it


class _Errno(Exception):  # noqa: N818 - WASI's word
    def __init__(self, number: int) -> None:
        self.number = number


class _Subscription(NamedTuple):
    userdata: int
    type: int
    clock: int
    deadline: int | None  # in nanoseconds of that clock; None for a descriptor, which is always ready

    def event(self) -> bytes:
        bytes_ready = 0 if self.deadline is not None else 1
        return _EVENT.pack(self.userdata, _ERRNO_SUCCESS, self.type, bytes_ready, 0)


class Poll:
    """The ``poll_oneoff`` of one guest.

    Descriptors are reported as ready at once: what a guest can have here, files and streams that are always
    read, does not block it for long. Clocks are waited for, the monotonic one as the guest sees it.

    Attributes:
        memory: The ``memory`` that the guest exports, once there is one: in its start section it cannot poll.
        fault: What went wrong here, which is no fault of the guest's.
    """

    memory: object = None
    fault: Exception | None = None

    def __init__(self, killed: threading.Event) -> None:
        self._killed = killed
        self._monotonic_zero = 0

    def start_clock(self) -> None:
        """Take this moment as the zero of the guest's monotonic clock; call it right after its WASI context is made.

        That is a few microseconds after the zero that wasmtime takes, so a guest may wake late but not early.
        """
        self._monotonic_zero = time.monotonic_ns()

    def poll_oneoff(self, caller: Caller, subscriptions: int, events: int, count: int, stored: int) -> int:
        """Wait until one of the guest's subscriptions is due; return a WASI errno, or -1 when it must not go on.

        That is when it was killed, or when there is a fault. Never raises: wasmtime-py keeps what a callback
        raises in one place for all threads.
        """
        try:
            self._poll(caller, *(pointer & 0xFFFFFFFF for pointer in (subscriptions, events, count, stored)))
        except _Errno as errno:
            return errno.number
        except Exception as fault:  # noqa: BLE001 - kept for the one who called the guest
            self.fault = fault
            return _MUST_END
        return _MUST_END if self._killed.is_set() else _ERRNO_SUCCESS

    def _poll(self, caller: Caller, subscriptions: int, events: int, count: int, stored: int) -> None:
        from wasmtime import Memory

        memory = self.memory
        if not isinstance(memory, Memory) or not 0 < count <= _SUBSCRIPTIONS_MAX:
            raise _Errno(_ERRNO_INVAL)
        regions = ((subscriptions, count * _SUBSCRIPTION.size), (events, count * _EVENT.size), (stored, 4))
        if any(start + size > memory.data_len(caller) for start, size in regions):
            raise _Errno(_ERRNO_FAULT)
        asked = memory.read(caller, subscriptions, subscriptions + count * _SUBSCRIPTION.size)
        due = self._wait([self._subscription(*fields) for fields in _SUBSCRIPTION.iter_unpack(asked)])
        memory.write(caller, b"".join(each.event() for each in due), events)
        memory.write(caller, struct.pack("<I", len(due)), stored)

    def _subscription(
        self, userdata: int, type: int, clock: int, timeout: int, _precision: int, flags: int
    ) -> _Subscription:
        if type in (_EVENTTYPE_FD_READ, _EVENTTYPE_FD_WRITE):
            return _Subscription(userdata, type, 0, None)
        if type != _EVENTTYPE_CLOCK or clock not in (_CLOCKID_REALTIME, _CLOCKID_MONOTONIC):
            raise _Errno(_ERRNO_INVAL)
        if flags & _ABSTIME:
            return _Subscription(userdata, type, clock, timeout)
        # A span of time does not change when somebody sets the real-time clock.
        return _Subscription(userdata, type, _CLOCKID_MONOTONIC, self._now(_CLOCKID_MONOTONIC) + timeout)

    def _wait(self, subscriptions: Sequence[_Subscription]) -> list[_Subscription]:
        while not self._killed.is_set():
            left = [self._left(each) for each in subscriptions]
            if min(left) <= 0:
                return [
                    each for each, nanoseconds in zip(subscriptions, left, strict=True) if nanoseconds <= 0
                ]
            self._killed.wait(min(_NAP_SECONDS, min(left) / 1e9))
        return []

    def _left(self, subscription: _Subscription) -> int:
        deadline = subscription.deadline
        return 0 if deadline is None else deadline - self._now(subscription.clock)

    def _now(self, clock: int) -> int:
        return time.time_ns() if clock == _CLOCKID_REALTIME else time.monotonic_ns() - self._monotonic_zero
