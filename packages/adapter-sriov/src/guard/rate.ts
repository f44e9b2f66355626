import { HELPER } from '@cni-offload/linux/bpf'
import type { FrameProgramBuilder } from './frame.ts'

/** How much earlier than its time a frame may come: bursts of senders, and what the kernel hands on at once. */
const BURST_NS = 100_000_000
/** Other processors may be in between; one that never gets its turn is too much for the limit. */
const ATTEMPTS = 8
const BYTE_BITS = 8
const NS_PER_US = 1_000

/**
 * Drops what comes faster than so many Mbit/s on average. Each frame has a time at which it is due, one after the other by their lengths
 * (GCRA); the memory is the time of the next one.
 */
export function limitRate(program: FrameProgramBuilder, mbit: number): void {
  const { code } = program
  const kept = program.label('kept')
  code.storeConstant(4, 10, -4, 0)
  code
    .map(1, { bytes: 8 })
    .compute('mov', 2, { register: 10 })
    .compute('add', 2, -4)
    .call(HELPER.mapLookup)
    .jumpIf(0, '==', 0, program.drop)
  code.compute('mov', 7, { register: 0 }).call(HELPER.monotonicNs).compute('mov', 8, { register: 0 })
  // Nanoseconds that the frame takes: bits / (Mbit/s) are microseconds.
  program.context(9, 'length')
  code.compute('mul', 9, BYTE_BITS * NS_PER_US).compute('div', 9, mbit)
  code.load(8, 0, 7, 0)
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const late = program.label('late')
    const due = program.label('due')
    code.compute('mov', 2, { register: 0 }).jumpIf(2, '<', { register: 8 }, late)
    code.compute('mov', 3, { register: 2 }).compute('sub', 3, { register: 8 }).jumpIf(3, '>', BURST_NS, program.drop).jump(due)
    code.place(late).compute('mov', 2, { register: 8 }).place(due).compute('add', 2, { register: 9 })
    // The comparison is with register 0; afterwards that is what was there.
    code.compute('mov', 4, { register: 0 }).compareAndExchange(7, 2).jumpIf(0, '==', { register: 4 }, kept)
  }
  code.jump(program.drop).place(kept)
}
