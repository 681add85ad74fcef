/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * What closing a handle has to do with waitsets. The kernel forgets a descriptor that is closed only when no child has
 * it either, so a handle's has to be taken out of the sets that it may be in.
 */
#ifndef TARN_CORE_WAITSET_H
#define TARN_CORE_WAITSET_H

/* Takes a descriptor that is about to be closed out of all sets of this process. Under process_lock(). */
void waitset_forget(int fd);

#endif
