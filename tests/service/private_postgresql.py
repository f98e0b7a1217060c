"""A private PostgreSQL from the installed binaries: its own folder, a Unix socket, nothing else."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OLDEST = 15
DEBIAN = Path("/usr/lib/postgresql")
ADVICE = "PostgreSQL 15 or later is not installed: apt-get install postgresql"


def binaries() -> Path | None:
    """The folder of `initdb` and `pg_ctl`, the newest there is; None where there is none."""
    versions = sorted((int(f.name), f / "bin") for f in DEBIAN.glob("[0-9]*") if f.name.isdigit())
    found = [folder for version, folder in versions if version >= OLDEST]
    if found:
        return found[-1]
    on_path = shutil.which("initdb")
    return Path(on_path).parent if on_path else None


class PrivateServer:
    """A server of one's own, which can be stopped and started.

    PostgreSQL does not run as root; root runs it as the user `postgres`, who has the folder then.
    """

    def __init__(self, folder: Path, *, durable: bool = True, settings: str = "") -> None:
        found = binaries()
        if found is None:
            raise FileNotFoundError(ADVICE)
        self.binaries = found
        self.folder = folder
        self._as = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if self._as:
            owner = pwd.getpwnam("postgres")
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        self._settings = f"-c listen_addresses= -c unix_socket_directories={folder} {settings}"
        if not durable:
            self._settings += " -c fsync=off -c synchronous_commit=off -c full_page_writes=off"
        if not (folder / "data").exists():
            words = ("-U", "palate", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
            self._run("initdb", "-D", str(folder / "data"), *words)

    def url(self, name: str = "postgres") -> str:
        """The URL of one of its databases."""
        return f"postgresql://palate@/{name}?host={self.folder}"

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        log = str(self.folder / "log")
        self._control("start", "-w", "-t", "60", "-l", log, "-o", self._settings)

    def stop(self, how: str = "fast") -> None:
        """Stop it; 'immediate' is like a crash."""
        self._control("stop", "-w", "-t", "60", "-m", how)

    def create(self, name: str) -> str:
        """Make an empty database; its URL."""
        self._run("createdb", "-h", str(self.folder), "-U", "palate", name)
        return self.url(name)

    def _control(self, *words: str) -> None:
        self._run("pg_ctl", "-D", str(self.folder / "data"), *words)

    def _run(self, program: str, *words: str) -> None:
        # A server that is started must not hold a pipe of ours open.
        with tempfile.TemporaryFile() as said:
            command = [*self._as, str(self.binaries / program), *words]
            ended = subprocess.run(
                command, stdout=said, stderr=said, check=False, timeout=120, cwd=self.folder
            )
            said.seek(0)
            if ended.returncode:
                raise RuntimeError(f"{program}: {said.read().decode(errors='replace')}")


@contextmanager
def private_server(
    *, durable: bool = True, settings: str = "", folder: Path | None = None
) -> Iterator[PrivateServer]:
    """A running server, in a temporary folder whose path is short enough for a socket, or in one.

    A folder that is named is kept, and what its server holds is there the next time.
    """
    with tempfile.TemporaryDirectory(prefix="palate-postgresql-") as name:
        server = PrivateServer(folder or Path(name), durable=durable, settings=settings)
        server.start()
        try:
            yield server
        finally:
            server.stop("fast" if folder else "immediate")
