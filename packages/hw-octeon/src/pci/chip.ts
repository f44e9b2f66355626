import type { PciDevice } from '@cni-offload/linux/pci'

/** A chip of the family and its stepping. */
export interface Chip {
  /** Number of the part, two hexadecimal digits: upper half of the subsystem's id. */
  readonly id: string
  /** Name of the part, undefined for one that is not known. */
  readonly part: string | undefined
  /** Generation that the part is of, undefined for one that is not known. */
  readonly family: 'CN9K' | 'CN10K' | undefined
  /** Stepping: letter of the major pass and number of the minor one, `A0`, `A1`, `B0`. */
  readonly stepping: string
}

const PARTS: Readonly<Record<string, readonly [part: string, family: 'CN9K' | 'CN10K']>> = {
  b1: ['CN98xx', 'CN9K'],
  b2: ['CN96xx', 'CN9K'],
  b3: ['CN95xx', 'CN9K'],
  b4: ['CN95xxN', 'CN9K'],
  b5: ['CN95xxMM', 'CN9K'],
  b6: ['CNF95O', 'CN9K'],
  b9: ['CN106xx', 'CN10K'],
  ba: ['CNF105xx', 'CN10K'],
  bc: ['CNF105xxN', 'CN10K'],
  bd: ['CN103xx', 'CN10K'],
}

/** Which chip a function is of. Its own ids say only what it is; the subsystem's and the revision are those of the chip. */
export function chipOf({ subsystemDevice, revision }: Pick<PciDevice, 'subsystemDevice' | 'revision'>): Chip {
  const id = subsystemDevice.slice(0, 2)
  const [part, family] = PARTS[id] ?? [undefined, undefined]
  // Bits 3:2 are the major pass, bits 1:0 the minor one.
  const major = String.fromCharCode('A'.charCodeAt(0) + ((revision >> 2) & 0x3))
  return { id, part, family, stepping: `${major}${revision & 0x3}` }
}
