# SPDX-License-Identifier: GPL-2.0-only
"""Plots, drawn by gnuplot."""

import subprocess

from . import common

TERMINALS = {"svg": "svg size 900,480 font 'sans,12' background 'white'",
             "png": "pngcairo size 900,480 font 'sans,11'"}


def block(name, lines):
    """Data for a script to draw."""
    return f"${name} << EOD\n" + "\n".join(lines) + "\nEOD\n"


def draw(script, path):
    """Writes @path.svg and @path.png."""
    for kind, terminal in TERMINALS.items():
        file = path.with_name(f"{path.name}.{kind}")
        done = subprocess.run(["gnuplot"], check=False, text=True, capture_output=True,
                              input=f"set terminal {terminal}\nset output '{file}'\n{script}")
        if done.returncode or not file.exists():
            raise common.RigError(f"gnuplot cannot make {file.name}:\n{done.stderr}")
