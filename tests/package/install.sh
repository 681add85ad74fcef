#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
# leaves topic files
# What cmake --install installs can be used through pkg-config and through find_package, also after it was moved.
. "${0%/*}/common.sh"
need gcc cmake pkg-config

cmake --install "$TARN_BUILD" --prefix "$scratch/first" >/dev/null
prefix=$scratch/second
mv "$scratch/first" "$prefix"
version=$(sed -n 's/^#define TARN_VERSION_[A-Z]* *//p' "$TARN_SOURCE/include/tarn.h" | paste -sd.)
libdir=$(dirname "$(find "$prefix" -name libtarn.a)")

# says_hello PROGRAM [ENVIRONMENT...]
says_hello() {
    program=$1
    shift
    said=$(env "$@" "$program")
    [ "$said" = "hello from tarn $version" ] || die "$program said: $said"
}

echo "files"
for file in include/tarn.h bin/tarn "${libdir#"$prefix"/}/libtarn.so.0" "${libdir#"$prefix"/}/pkgconfig/tarn.pc"; do
    [ -e "$prefix/$file" ] || die "$file is not installed"
done
"$prefix/bin/tarn" version | grep -qF "$version" || die "the installed tarn does not say version $version"

for file in man/man1/tarn.1 man/man1/tarn-pub.1 man/man3/tarn.3 man/man3/tarn_publisher_open.3 \
    bash-completion/completions/tarn zsh/site-functions/_tarn; do
    [ -s "$prefix/share/$file" ] || die "share/$file is not installed"
done

echo "pkg-config"
export PKG_CONFIG_PATH="$libdir/pkgconfig"
[ "$(pkg-config --modversion tarn)" = "$version" ] || die "tarn.pc has another version than tarn.h"
gcc -o "$scratch/by_pkgconfig" "$package/consumer/consumer.c" $(pkg-config --cflags --libs tarn)
says_hello "$scratch/by_pkgconfig" LD_LIBRARY_PATH="$libdir"

echo "find_package"
cmake -S "$package/consumer" -B "$scratch/build" -G "$TARN_GENERATOR" -DCMAKE_PREFIX_PATH="$prefix" >/dev/null
cmake --build "$scratch/build" >/dev/null
says_hello "$scratch/build/consumer_shared"
says_hello "$scratch/build/consumer_static"
for wanted in 0.0 9.0; do
    mkdir -p "$scratch/other"
    printf 'cmake_minimum_required(VERSION 3.25)\nproject(other C)\nfind_package(tarn %s REQUIRED)\n' $wanted \
        >"$scratch/other/CMakeLists.txt"
    if cmake -S "$scratch/other" -B "$scratch/other/build" -G "$TARN_GENERATOR" -DCMAKE_PREFIX_PATH="$prefix" >"$scratch/said" 2>&1; then
        die "find_package finds version $wanted in $version"
    fi
    grep -q "$version" "$scratch/said" || die "find_package does not say that it found version $version"
done
if readelf -dW "$scratch/build/consumer_static" | grep libtarn; then
    die "tarn::tarn_static is not static"
fi
