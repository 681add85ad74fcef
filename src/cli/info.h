/* SPDX-License-Identifier: Apache-2.0 OR MIT */
#ifndef TARN_CLI_INFO_H
#define TARN_CLI_INFO_H

#include "cli/look.h"

/* info_json.c: all that 'tarn info --json' says. */
void info_print_json(const struct inspect_topic *topic, const char *path);

#endif
