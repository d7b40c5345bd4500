# SPDX-License-Identifier: GPL-2.0-only
"""Stock Debian kernels, unpacked beside their headers, not installed."""

import dataclasses
import json
import pathlib
import re
import subprocess

from . import cache, common, debs

# Raise when unpacking changes: part of the cache key.
RECIPE = "1"

# The two that Debian 12 has, by series: what their images are called.
IMAGES = {
    "6.12": r"linux-image-(6\.12\.\d+\+deb12-amd64)",
    "6.1": r"linux-image-(6\.1\.0-\d+-amd64)",
}
# Where the newest of each is published; security fixes come there first.
SUITES = {"6.12": "bookworm-security", "6.1": "bookworm"}


@dataclasses.dataclass(frozen=True)
class Kernel:
    root: pathlib.Path

    @property
    def manifest(self):
        return json.loads((self.root / "manifest.json").read_text())

    @property
    def release(self):
        return self.manifest["release"]

    @property
    def series(self):
        return ".".join(self.release.split(".")[:2])

    @property
    def image(self):
        return self.root / "boot" / f"vmlinuz-{self.release}"

    @property
    def kdir(self):
        return self.root / "usr" / "src" / f"linux-headers-{self.release}"

    @property
    def own_modules(self):
        """Paths of our modules if they come with it; None if the tree's are used."""
        return None

    def modules(self, *names):
        """Paths of modules and of what they depend on, in the order of insertion."""
        paths = []
        for name in names:
            listing = subprocess.run(
                ["modprobe", "-d", self.root, "-S", self.release, "--show-depends", name],
                check=True, text=True, capture_output=True).stdout
            for line in listing.splitlines():
                verb, _, path = line.strip().partition(" ")
                if verb == "insmod" and path not in paths:
                    paths.append(path)
        return [pathlib.Path(path) for path in paths]


def _packages(series, release):
    """The last one holds the tools to build with the headers."""
    version = release.removesuffix("-amd64")
    kbuild = version if series == "6.12" else series
    return [f"linux-image-{release}", f"linux-headers-{release}",
            f"linux-headers-{version}-common", f"linux-kbuild-{kbuild}"]


def _newest(apt, series):
    """(release, {package: version}) of the newest kernel that apt offers, or None.

    6.1 has one package of tools for all releases, and the newest is there before the kernel
    that it came with is signed. Headers take newer tools.
    """
    image = IMAGES[series]
    releases = [re.fullmatch(image, name)[1] for name in apt.names(image)]
    for release in sorted(releases, key=debs.by_version, reverse=True):
        packages = _packages(series, release)
        versions = apt.versions(packages)
        if len(versions) != len(packages):
            continue
        *versions_of_it, tools = versions
        if len(set(versions_of_it)) == 1 and \
                debs.by_version(tools) >= debs.by_version(versions[0]):
            return release, dict(zip(packages, versions))
    return None


def _directory(release, version):
    return f"kernels/{release}_{cache.key(RECIPE, release, version)}"


def _newest_cached(series):
    manifests = common.cache().glob("kernels/*/manifest.json")
    found = {json.loads(path.read_text())["release"]: path.parent for path in manifests}
    found = {release: path for release, path in found.items()
             if re.fullmatch(IMAGES[series], f"linux-image-{release}")}
    if not found:
        return None
    return found[max(found, key=debs.by_version)]


def _relocate_headers(root, release):
    """Debian's headers include their common part by an absolute path."""
    makefile = root / "usr" / "src" / f"linux-headers-{release}" / "Makefile"
    text = makefile.read_text()
    here = "$(dir $(realpath $(lastword $(MAKEFILE_LIST))))../"
    makefile.write_text(text.replace("include /usr/src/", f"include {here}"))
    for link in (root / "lib" / "modules" / release).glob("*"):
        if link.is_symlink() and str(link.readlink()).startswith("/"):
            target = "../../.." + str(link.readlink())
            link.unlink()
            link.symlink_to(target)


def _fetch(apt, release, packages):
    """@packages: {name: version}"""
    version = packages[f"linux-image-{release}"]

    def fill(root):
        common.progress(f"fetching kernel {release} ({version})")
        if not apt.download([f"{name}={its}" for name, its in packages.items()], root):
            raise common.RigError(f"cannot fetch {', '.join(packages)}")
        debs.unpack(root, root)
        _relocate_headers(root, release)
        subprocess.run(["depmod", "-b", root, release], check=True)
        (root / "manifest.json").write_text(
            json.dumps({"release": release, "version": version, "packages": list(packages)}))

    return cache.make(_directory(release, version), fill, 3072, "a kernel")


def prepare(newest_cached=False, series="6.12"):
    """The newest kernel that apt offers; what is in the cache when apt fails.

    @newest_cached: do not ask apt as long as any is in the cache
    @series: a key of IMAGES
    """
    with cache.lock():
        if newest_cached and _newest_cached(series):
            return Kernel(_newest_cached(series))
        for private in (False, True):
            apt = debs.Apt(private)
            newest = _newest(apt, series)
            if not newest:
                continue
            try:
                return Kernel(_fetch(apt, *newest))
            except common.RigError as error:
                common.progress(str(error))
        root = _newest_cached(series)
        if root:
            common.progress(f"using the cached kernel {root.name}")
            return Kernel(root)
    raise common.RigError(f"apt offers no kernel {series} ({IMAGES[series]}); "
                          f"Debian 12's suite {SUITES[series]} carries it")
