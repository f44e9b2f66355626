import type { Clock } from '@cni-offload/sdk'
import type { LinuxNet, NetnsPath } from '@cni-offload/linux'
import type { Machine } from '@cni-offload/linux/machine'

/** Where a set-up is made: one side of the card, and what it is changed through. */
export interface SetupSite {
  /** Its files and commands. */
  readonly machine: Machine
  /** Its network. */
  readonly net: Pick<LinuxNet, 'link' | 'addresses' | 'apply'>
  /** The network namespace that the interfaces of the card lie in. */
  readonly netns: NetnsPath
  /** Time. */
  readonly clock: Clock
  /** Ends waits and commands. */
  readonly signal: AbortSignal
}
