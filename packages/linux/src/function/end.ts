import type { VfId } from '@cni-offload/sdk'

/** Which end of a function: the VF on the host or its port on the DPU. */
export type End = 'vf' | 'port'

/** One end of a function in its pristine state. */
export interface FunctionEnd {
  /** The function. */
  readonly vf: VfId
  /** Which end. */
  readonly end: End
  /** PCI address where it is a PCI device. */
  readonly pciAddress?: string
  /** Interface name. */
  readonly name: string
  /** MAC address. */
  readonly mac: string
  /** MTU in bytes. */
  readonly mtu: number
}
