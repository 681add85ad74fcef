/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * x86-TSO for Promela: each processor has a FIFO of stores that others do not see yet. Included after WORDS (of shared
 * memory) and PROCESSORS were defined.
 *
 *   memory[w]         a load. What a processor has stored itself must have been drained, or be known to it privately:
 *                     there is no forwarding, so no process here loads a word that it may have in its buffer.
 *   STORE(p, w, v)    a store, release or relaxed: TSO makes no difference
 *   FENCE(p)          full_fence(), a system call, or the front half of an atomic read-modify-write:
 *                     atomic { FENCE(p); memory[w] = ... }
 *   BARRIER(p)        what membarrier() does to the processor p: at one moment during the call its buffer is empty
 *   drain             the hardware: run it once per processor that stores
 */
#ifndef DEPTH
#define DEPTH 4 /* stores that a buffer holds: a full one makes its processor wait, as a real one does */
#endif

byte memory[WORDS];
chan buffer[PROCESSORS] = [DEPTH] of { byte, byte };
hidden byte drained_word, drained_value;

#define STORE(p, word, value) buffer[p]!word,value
#define FENCE(p) empty(buffer[p])
#define BARRIER(p) empty(buffer[p])

proctype drain(byte p)
{
end:
    do
    :: d_step {
        buffer[p]?drained_word,drained_value;
        memory[drained_word] = drained_value
    }
    od
}
