/** What a program for frames can use of the kernel: linux/bpf.h and linux/pkt_cls.h. */
export const HELPER = { mapLookup: 1, monotonicNs: 5, vlanPush: 18, vlanPop: 19, loadBytes: 26 } as const

/** Places in the context that a program gets in register 1, 32 bits each. */
export const CONTEXT = { length: 0, vlanPresent: 20, vlanTci: 24, vlanProtocol: 28 } as const

/** Answers: what happens to the frame. */
export const VERDICT = { pass: 0, drop: 2 } as const

/** A 16-bit number as it lies in a frame, read by a little-endian machine. */
export const networkOrder16 = (value: number): number => ((value & 0xff) << 8) | (value >> 8)
