/** Memory of a program: an array with one entry, all zero at first. */
export interface BpfMap {
  /** Bytes of the entry. */
  readonly bytes: number
}

/**
 * An eBPF program for frames, as plain data: it crosses a thread boundary. An instruction that loads a map names it by its place
 * in `maps`.
 */
export interface BpfProgram {
  /** Instructions in the byte order of a little-endian machine. */
  readonly instructions: Uint8Array
  /** Its maps. */
  readonly maps: readonly BpfMap[]
}
