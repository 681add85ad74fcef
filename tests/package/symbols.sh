#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
# What is in the libraries, and what must not be.
. "${0%/*}/common.sh"
need gcc nm readelf strip size
shared=$TARN_BUILD/libtarn.so
static=$TARN_BUILD/libtarn.a
messages_bytes_max=153600 # what publish and subscribe needs by itself
bytes_max=262144          # with all patterns

declared_functions >"$scratch/declared"

echo "libtarn.so exports what tarn.h declares, as version TARN_0.1"
nm -D --defined-only "$shared" | awk '$2 != "A" { print $3 }' | sort >"$scratch/exported"
sed 's/$/@@TARN_0.1/' "$scratch/declared" | diff - "$scratch/exported"

echo "libtarn.a has no other global names"
nm -g --defined-only "$static" | awk 'NF == 3 { print $3 }' | sort | diff "$scratch/declared" -

echo "nothing but libc is needed"
if readelf -dW "$shared" | grep NEEDED | grep -vE '\[(libc\.so\.6|ld-linux[-a-z0-9_]*\.so\.[0-9])\]'; then
    die "libtarn.so needs the above"
fi
if grep -q "^TINFO_STATIC.*libtinfo.a" "$TARN_BUILD/CMakeCache.txt" &&
    readelf -dW "$TARN_BUILD/tarn" | grep NEEDED | grep -vE '\[(libc\.so\.6|ld-linux[-a-z0-9_]*\.so\.[0-9])\]'; then
    die "tarn needs the above"
fi
readelf -dW "$shared" | grep -q 'SONAME.*\[libtarn\.so\.0\]' || die "the soname is not libtarn.so.0"

echo "nothing runs on loading: the only initialiser is the compiler's frame_dummy"
readelf -SW "$shared" | sed 's/^ *\[ *[0-9]*\] *//' | awk '
    $1 == ".ctors" || $1 == ".dtors" || $1 == ".preinit_array" { print "section", $1; bad = 1 }
    ($1 == ".init_array" || $1 == ".fini_array") && $5 != "000008" { print $1, "has more than one entry"; bad = 1 }
    END { exit bad }'

echo "no memory is writable and executable, nothing relocates code"
if readelf -lW "$shared" | grep -E '^ .*RWE'; then
    die "the above is writable and executable"
fi
if readelf -dW "$shared" | grep TEXTREL; then
    die "code is relocated"
fi

echo "it is small"
strip -o "$scratch/stripped" "$shared"
bytes=$(stat -c %s "$scratch/stripped")
[ "$bytes" -lt $bytes_max ] || die "libtarn.so has $bytes bytes stripped, more than $bytes_max"
size "$scratch/stripped"
cat >"$scratch/messages.map" <<END
MESSAGES {
global: tarn_publisher_*; tarn_subscriber_*; tarn_loan_*; tarn_message_*; tarn_process_*; tarn_error; tarn_status_text;
local: *;
};
END
gcc -shared -O2 -fPIC -flto=auto -s -Wl,--gc-sections -Wl,--version-script="$scratch/messages.map" \
    -Wl,--whole-archive "$TARN_BUILD/libtarn_internal.a" -Wl,--no-whole-archive -o "$scratch/messages.so"
bytes=$(stat -c %s "$scratch/messages.so")
[ "$bytes" -lt $messages_bytes_max ] || die "publish and subscribe alone has $bytes bytes, more than $messages_bytes_max"
