import type { PciDevice } from '@cni-offload/linux/pci'
import { chipOf } from '../pci/chip.ts'

/** Which silicon a CPT is of, as its driver tells it apart. */
export interface CptSilicon {
  /** Generation: the CPTs of both have different functions. */
  readonly family: 'CN9K' | 'CN10K'
  /** Such as `CN106xx A1`. */
  readonly name: string
  /** Revision of the function. */
  readonly revision: number
  /** Whether it is one of the first steppings of CN106xx, A0 and A1, which take other microcode and can do less. */
  readonly early: boolean
}

const CN9K_PF = 'a0fd'
const CN106XX = 'b9'

/** Revisions of A0 and A1; parts before these say 4, which would be B0 elsewhere. */
const EARLY: ReadonlySet<number> = new Set([0x04, 0x50, 0x51])

/** Which silicon a physical CPT function is of. */
export function cptSilicon({ device, subsystemDevice, revision }: Pick<PciDevice, 'device' | 'subsystemDevice' | 'revision'>): CptSilicon {
  const { id, part, stepping } = chipOf({ subsystemDevice, revision })
  const early = device !== CN9K_PF && id === CN106XX && EARLY.has(revision)
  return {
    family: device === CN9K_PF ? 'CN9K' : 'CN10K',
    name: `${part ?? `a chip with subsystem ${subsystemDevice}`} ${revision === 0x04 && early ? 'Ax' : stepping}`,
    revision,
    early,
  }
}
