#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The public header compiles alone, without a warning, in every language a user may have.
. "${0%/*}/common.sh"
need gcc g++ clang-14 clang++-14

flags="-Wall -Wextra -Wshadow -pedantic -Werror -fsyntax-only -I$TARN_SOURCE/include"
echo '#include <tarn.h>' >"$scratch/c.c"
echo '#include <tarn.h>' >"$scratch/cpp.cpp"
for compiler in gcc clang-14; do
    for standard in c99 c11 c17 gnu11; do
        $compiler -std=$standard -Wstrict-prototypes $flags "$scratch/c.c"
    done
done
for compiler in g++ clang++-14; do
    for standard in c++11 c++17 c++20; do
        $compiler -std=$standard $flags "$scratch/cpp.cpp"
    done
done
