# SPDX-License-Identifier: GPL-2.0-only
"""A cache of directories, each made once and whole, keyed by what went in."""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import shutil
import tempfile

from . import common


def key(*ingredients):
    """A short name for a list of strings, bytes and files (as paths)."""
    digest = hashlib.sha256()
    for item in ingredients:
        if isinstance(item, pathlib.Path):
            item = item.read_bytes()
        elif isinstance(item, str):
            item = item.encode()
        digest.update(len(item).to_bytes(8, "little"))
        digest.update(item)
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def lock():
    with open(common.cache() / "lock", "w", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            common.progress("waiting for another run to leave the cache")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def make(name, fill, mib, purpose):
    """The directory @name, made by calling fill(path) unless it exists.

    It appears under its name only when it is complete. The caller holds lock().
    """
    path = common.cache() / name
    if path.is_dir():
        return path
    common.need_disk(common.cache(), mib, purpose)
    path.parent.mkdir(parents=True, exist_ok=True)
    work = pathlib.Path(tempfile.mkdtemp(prefix=".new-", dir=path.parent))
    try:
        fill(work)
        work.chmod(0o755)
        os.rename(work, path)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return path


def get(name, fill, mib, purpose):
    """make(), for callers without the lock."""
    path = common.cache() / name
    if path.is_dir():
        return path
    with lock():
        return make(name, fill, mib, purpose)
