#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The public header compiles alone, without a warning, in every language a user may have, and C++ finds what it declares.
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

cat >"$scratch/talk.cpp" <<'END'
#include <tarn.h>
int main() {
    tarn_publisher *publisher;
    tarn_subscriber *subscriber;
    tarn_message message;
    bool ok = tarn_subscriber_open(&subscriber, "cpp", nullptr) == 0 && tarn_publisher_open(&publisher, "cpp", nullptr) == 0 &&
              tarn_publisher_publish(publisher, "x", 1) == 1 && tarn_subscriber_receive(subscriber, &message, TARN_FOREVER) == 1 &&
              message.bytes == 1 && tarn_message_release(&message) == 0 && tarn_publisher_close(publisher) == 0 &&
              tarn_subscriber_close(subscriber) == 0;
    return ok ? 0 : 1;
}
END
for compiler in g++ clang++-14; do
    $compiler -std=c++11 -I"$TARN_SOURCE/include" -o "$scratch/talk" "$scratch/talk.cpp" "$TARN_BUILD/libtarn.a" -pthread
    "$scratch/talk" || die "a C++ program cannot send itself a message"
done
