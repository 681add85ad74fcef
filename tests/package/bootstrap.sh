#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
# script/bootstrap where things are missing. It finds programs in a folder of this test's alone, so that no apt-get but this
# test's can run, whoever runs this. Headers it finds by their paths: those that this test's machine has.
. "${0%/*}/common.sh"
bin=$scratch/bin

# stub NAME [COMMAND]: a program in that folder that runs this
stub() {
    printf '#!/bin/sh\n%s\n' "${2-:}" >"$bin/$1"
    chmod +x "$bin/$1"
}

# machine USER-ID PROGRAM...: one that has nothing but these
machine() {
    rm -rf "$bin" "$scratch/asked"
    mkdir "$bin"
    ln -s "$(command -v env)" "$bin/env"
    stub id "echo $1"
    shift
    for program; do
        stub "$program"
    done
}

# apt_get COMMAND: what it does when it is to install, with what is asked for as arguments. All calls are noted.
apt_get() {
    stub apt-get "echo \"\$*\" >>'$scratch/asked'
[ \$1 = install ] || exit 0
$1"
}
installs="for package; do
    case \$package in install | -*) ;; *) /bin/cp /bin/true '$bin'/\$package ;; esac
done"

# expect CODE [OPTION]: how it ends
expect() {
    code=0
    PATH=$bin /bin/sh "$TARN_SOURCE/script/bootstrap" ${2+"$2"} >"$scratch/said" 2>&1 || code=$?
    [ $code -eq "$1" ] || die "exit code $code, not $1: $(cat "$scratch/said")"
}

# says PATTERN...: what it says
says() {
    for pattern; do
        grep -q -- "$pattern" "$scratch/said" || die "'$pattern' is not in: $(cat "$scratch/said")"
    done
}

# asks [PATTERN]: what apt-get was asked for, if anything
asks() {
    if [ $# -eq 0 ]; then
        [ ! -e "$scratch/asked" ] || die "apt-get was asked for: $(cat "$scratch/asked")"
    else
        grep -q -- "$1" "$scratch/asked" || die "apt-get was not asked for '$1', but: $(cat "$scratch/asked" "$scratch/said")"
    fi
}

echo "all is there"
for make in make ninja; do
    machine 0 gcc cmake $make python3 scdoc
    expect 0
    says 'all that is needed is there'
done
machine 1000 gcc cmake make
apt_get "$installs"
expect 0
says 'all that is needed is there' 'without man pages.*: .*python3 scdoc'
asks

echo "an option that there is not"
expect 2 --tests
says '^usage: script/bootstrap \[--test'
asks

echo "something is missing, and this is no Debian"
machine 0 gcc make
expect 1
says 'this is no Debian' '^    cmake$'
machine 0 gcc cmake make python3
expect 1 --docs
says '^    doxygen$'
expect 1 --test
says 'doxygen.* clang-14 .*musl-tools'
expect 1 --bench
says 'valgrind git .*iceoryx'
expect 1 --benchall
says 'iceoryx.* maven '

echo "by whom it can be installed"
machine 1000 make
apt_get "$installs"
expect 1
says 'not root, and there is no sudo' '^    apt-get update && apt-get install gcc cmake'
asks
stub sudo "echo by sudo >>'$scratch/asked'; exec \"\$@\""
expect 0
says 'bootstrap: installing gcc cmake' 'bootstrap: done'
asks 'by sudo'
asks '^update'
asks '^install .*gcc cmake'
machine 0 make
apt_get "$installs"
expect 0
says 'bootstrap: installing gcc cmake' 'bootstrap: done'
asks '^install .*gcc cmake'

echo "apt-get fails, or says that it succeeded"
for ending in 100 0; do
    machine 0 gcc make
    apt_get "exit $ending"
    expect 1
    says 'bootstrap: installing cmake' 'this is still missing: cmake$'
done
machine 0 gcc make
stub apt-get 'exit 100' # so update does
expect 1
says 'apt-get failed' 'this is still missing: cmake$'

echo "what a build does without cannot be installed"
machine 0 gcc cmake make
apt_get 'exit 100'
expect 0
says 'installing.* python3 scdoc' 'apt-get failed' 'without man pages.*: .*python3 scdoc' 'bootstrap: done'
