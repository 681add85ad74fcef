/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Included by the compiler before every file of the library (-include), never by a file itself. The library is
 * compiled with -fvisibility=hidden; functions that the public header declares are meant to be seen, so they are
 * declared here first, as visible. Thus the header needs no macro on each function, and nobody can forget one.
 */
#pragma GCC visibility push(default)
#include "tarn.h"
#pragma GCC visibility pop
