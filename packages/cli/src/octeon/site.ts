import { createLinuxNet, type LinuxNet } from '@cni-offload/linux'
import { type SecurityAssociation, securityAssociations } from '@cni-offload/linux/ipsec'
import { localMachine, type Machine } from '@cni-offload/linux/machine'

/** What the commands of a card work on. */
export interface OcteonSite {
  /** The machine whose files lie in a folder. */
  readonly machine: (root: string) => Machine
  /** Its network; disposed by who asks for it. */
  readonly net: () => Pick<LinuxNet, 'link' | 'addresses' | 'apply'> & AsyncDisposable
  /** Its associations of IPsec. */
  readonly associations: () => readonly SecurityAssociation[]
  /** Name of the lock of its set-up. @defaultValue that of the machine */
  readonly lock?: string
}

/** The machine that this runs on. */
export const THIS_MACHINE: OcteonSite = { machine: localMachine, net: createLinuxNet, associations: securityAssociations }
