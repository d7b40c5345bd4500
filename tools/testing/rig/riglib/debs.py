# SPDX-License-Identifier: GPL-2.0-only
"""Debian packages, fetched and unpacked without being installed."""

import functools
import pathlib
import re
import subprocess
import time

from . import common


def _run(command, **options):
    return subprocess.run(command, check=False, text=True, capture_output=True, **options)


def _main_suites():
    """(URI, suite) of every binary source that apt is configured with."""
    found = _run(["apt-get", "indextargets", "--format",
                  "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"])
    for line in found.stdout.splitlines():
        uri, suite, component = line.split()
        if component == "main":
            yield uri, suite


class Apt:
    """apt-get and apt-cache, with the machine's package lists or our own.

    @backports: lists of our own, with backports, for plan()
    @sources: lists of our own, with sources, for source()
    """

    def __init__(self, private=False, backports=False, sources=False):
        self.options = []
        self.backports = None
        if private or backports or sources:
            self.options = self._private_lists(backports, sources)

    def _private_lists(self, backports, sources):
        """Lists of our own: fresh, and with the security suite, which carries 6.12."""
        home = common.cache() / ("apt-backports" if backports else
                                 "apt-sources" if sources else "apt")
        (home / "lists" / "partial").mkdir(parents=True, exist_ok=True)
        lines = set()
        for uri, suite in _main_suites():
            lines.add(f"deb {uri} {suite} main")
            if sources:
                lines.add(f"deb-src {uri} {suite} main")
            if re.fullmatch(r"[a-z]+", suite) and re.search(r"/debian/?$", uri):
                security = re.sub(r"/debian/?$", "/debian-security", uri)
                lines.add(f"deb {security} {suite}-security main")
                if backports:
                    self.backports = f"{suite}-backports"
                    lines.add(f"deb {uri} {self.backports} main")
        (home / "sources.list").write_text("\n".join(sorted(lines)) + "\n")
        options = ["-o", f"Dir::Etc::SourceList={home}/sources.list",
                   "-o", "Dir::Etc::SourceParts=-",
                   "-o", f"Dir::State::Lists={home}/lists",
                   "-o", f"Dir::Cache={home}"]
        common.progress("refreshing the package lists")
        done = _run(["apt-get", *self._common(), *options, "update"])
        if done.returncode:
            common.progress("apt-get update: " + done.stderr.strip())
        return options

    @staticmethod
    def _common():
        return ["-qq", "-o", "Acquire::Retries=3", "-o", "Acquire::http::Timeout=20",
                "-o", "APT::Sandbox::User=root"]

    def names(self, pattern):
        done = _run(["apt-cache", *self.options, "pkgnames"])
        return [name for name in done.stdout.split() if re.fullmatch(pattern, name)]

    def versions(self, packages):
        """The versions that apt would install; packages it does not know are left out."""
        done = _run(["apt-cache", *self.options, "policy", *packages])
        return re.findall(r"^  Candidate: (\d.*)$", done.stdout, re.M)

    def plan(self, package):
        """What apt would install for @package from backports: [(name, version)]."""
        done = _run(["apt-get", *self._common(), *self.options, "-t", self.backports,
                     "--no-install-recommends", "--simulate", "install", package])
        return re.findall(r"^Inst (\S+) (?:\[[^]]*\] )?\((\S+)", done.stdout, re.M)

    def _fetch(self, arguments, folder):
        for pause in (0, 3, 10):
            time.sleep(pause)
            done = _run(["apt-get", *self._common(), *self.options, *arguments], cwd=folder)
            if done.returncode == 0:
                return True
            common.progress(f"apt-get {arguments[0]}: " + done.stderr.strip())
        return False

    def download(self, packages, folder):
        """Fetches @packages into @folder; False when apt cannot."""
        return self._fetch(["download", *packages], folder)

    def source(self, package, folder):
        """Fetches the source of @package into @folder; False when apt cannot."""
        return self._fetch(["source", "--download-only", package], folder)


@functools.cmp_to_key
def by_version(a, b):
    """Sorts Debian versions."""
    if subprocess.run(["dpkg", "--compare-versions", a, "lt", b], check=False).returncode == 0:
        return -1
    return 0 if a == b else 1


def unpack(folder, root):
    for deb in sorted(pathlib.Path(folder).glob("*.deb")):
        subprocess.run(["dpkg", "-x", deb, root], check=True)
        deb.unlink()
