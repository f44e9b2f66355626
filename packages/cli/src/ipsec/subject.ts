import type { Sample } from '@cni-offload/adapter-cilium/ipsec'

/** A node that can be looked at, any number of times. */
export interface Subject {
  /** Name of the node. */
  readonly name: string
  /** Looks at it. Does not reject for what cannot be read: that is missing in the sample. */
  readonly read: (signal: AbortSignal) => Promise<Sample>
}
