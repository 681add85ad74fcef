# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Builds the one C module, with the library compiled in: hidden, so that it never meets another copy of it in the process."""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.sdist import sdist

try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:
    from wheel.bdist_wheel import bdist_wheel

HERE = Path(__file__).resolve().parent
# A source distribution has the library beside this file, the repository has it two folders up.
LIBRARY = HERE / "library" if (HERE / "library").exists() else HERE.parent.parent
LIBRARY_PARTS = ("base", "shm", "core")


def version():
    header = (LIBRARY / "include" / "tarn.h").read_text()
    return ".".join(re.search(rf"#define TARN_VERSION_{part} +(\d+)", header)[1] for part in ("MAJOR", "MINOR", "PATCH"))


def library_sources():
    found = [path for part in LIBRARY_PARTS for path in sorted((LIBRARY / "src" / part).glob("*.c"))]
    return [str(path) for path in found if path.name != "points.c"]


class Build(build_ext):
    def build_extension(self, extension):
        compile_some = self.compiler.compile

        def compile_all(sources, **options):
            with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
                parts = pool.map(lambda source: compile_some([source], **options), sources + library_sources())
                return [made for part in parts for made in part]

        self.compiler.compile = compile_all
        try:
            super().build_extension(extension)
        finally:
            self.compiler.compile = compile_some


class Sdist(sdist):
    def make_release_tree(self, base_dir, files):
        super().make_release_tree(base_dir, files)
        parts = [LIBRARY / "include" / "tarn.h"]
        for part in LIBRARY_PARTS:
            parts += (LIBRARY / "src" / part).glob("*.[ch]")
        for path in parts:
            copy = Path(base_dir) / "library" / path.relative_to(LIBRARY)
            copy.parent.mkdir(parents=True, exist_ok=True)
            self.copy_file(str(path), str(copy))


class Wheel(bdist_wheel):
    """One wheel for all versions from 3.9 on. Its platform is said by script/wheel, which looks at what it needs."""

    def finalize_options(self):
        self.py_limited_api = "cp39"
        super().finalize_options()


setup(
    version=version(),
    ext_modules=[
        Extension(
            "tarn_ipc._tarn",
            sources=sorted(str(path.relative_to(HERE)) for path in (HERE / "native").glob("*.c")),
            depends=["native/binding.h"],
            include_dirs=[str(LIBRARY / "include"), str(LIBRARY / "src")],
            define_macros=[("_GNU_SOURCE", "")],
            extra_compile_args=["-std=gnu11", "-O2", "-g0", "-Wall", "-Wextra", "-fvisibility=hidden", "-flto", "-DNDEBUG"],
            extra_link_args=["-O2", "-s", "-flto=auto", "-pthread", "-Wl,-z,relro,-z,now,-z,noexecstack"],
            py_limited_api=True,
        )
    ],
    cmdclass={"build_ext": Build, "sdist": Sdist, "bdist_wheel": Wheel},
)
