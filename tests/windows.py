"""Import every module of a package as on Windows, with no module of some names: ``python -m tests.windows PACKAGE NAME...``.

What others have made of the system stays: the standard library, and the packages that this one uses, are imported before. Then
the package is forgotten, what Windows has not is taken away, and it is imported anew.
"""

from __future__ import annotations

import importlib
import os
import pathlib
import pkgutil
import signal
import socket
import sys
from collections.abc import Iterator

# By the documentation of Python ("Availability: Unix"), what modules that are everywhere have only there.
NOT_ON_WINDOWS = {
    os: (
        "O_CLOEXEC O_DIRECTORY O_NOCTTY O_NOFOLLOW O_NONBLOCK O_SYNC WNOHANG chown chroot confstr ctermid fchdir fchmod fchown"
        " fork forkpty fwalk getegid geteuid getgid getgroups getloadavg getpgid getpgrp getpriority getsid getuid initgroups"
        " killpg lchown lockf mkfifo mknod nice openpty posix_fallocate posix_spawn pread preadv pwrite pwritev register_at_fork"
        " sched_getaffinity sched_yield sendfile setegid seteuid setgid setpgid setpriority setsid setuid statvfs sync sysconf"
        " tcgetpgrp uname wait wait3 wait4 waitid"
    ),
    signal: (
        "ITIMER_REAL SIGALRM SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGTSTP SIGUSR1 SIGUSR2 SIG_BLOCK"
        " SIG_UNBLOCK alarm pause pthread_kill pthread_sigmask setitimer siginterrupt sigpending sigtimedwait sigwait"
    ),
    socket: "AF_UNIX CMSG_LEN SCM_RIGHTS recv_fds send_fds",
}


def main(package: str, *blocked: str) -> None:
    """Import all of the package, and print each module; one that cannot be imported with the reason."""
    list(import_all(package))
    for name in list(sys.modules):
        if name.split(".")[0] == package:
            del sys.modules[name]
    become_windows(*blocked)
    sys.stdout.write("".join(f"{line}\n" for line in import_all(package)))


def import_all(package: str) -> Iterator[str]:
    """Import a package and whatever is in it."""
    yield imported(package)
    if package in sys.modules:
        for module in pkgutil.walk_packages(sys.modules[package].__path__, f"{package}.", lambda name: None):
            yield imported(module.name)


def imported(module: str) -> str:
    """Import a module, and return its name, with the reason when it cannot be imported."""
    try:
        importlib.import_module(module)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is said
        return f"{module}: {error!r}"
    return module


def become_windows(*blocked: str) -> None:
    """Take away what Windows has not, as far as Python bears it: paths stay those of this system."""
    for name in blocked:
        sys.modules[name] = None  # type: ignore[assignment] # the import of it raises
    for module, names in NOT_ON_WINDOWS.items():
        for name in names.split():
            if hasattr(module, name):
                delattr(module, name)
    # A Path would be a WindowsPath, which refuses to be made here.
    vars(sys.modules[pathlib.Path.__module__])["WindowsPath"] = pathlib.PosixPath
    sys.platform, os.name = "win32", "nt"


if __name__ == "__main__":
    main(*sys.argv[1:])
