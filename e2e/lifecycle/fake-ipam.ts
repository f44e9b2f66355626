import { OffloadError } from '@cni-offload/sdk'
import type { IpamRunner } from '@cni-offload/host'

/** Pods whose addresses are given on the host. */
const ON_HOST: ReadonlySet<string> = new Set(['a', 'b'])

/** What the configuration of a pod's network says of its addresses. */
export const ipamOf = (pod: string): object => (ON_HOST.has(pod) ? { hostIPAM: true, ipam: { type: 'fake' } } : {})

/** An IPAM plugin of the host: what it has given outlives the daemon. The lowest address that nobody has is given next. */
export class FakeIpam {
  /** Addresses by container. */
  readonly held = new Map<string, string>()

  /** @param usedBy - who uses an address, if anybody; @param wrong - what must never happen, and did */
  constructor(usedBy: (address: string) => string | undefined, wrong: string[]) {
    const giveBack = (containerId: string, why: string): void => {
      const address = this.held.get(containerId)
      const user = address === undefined ? undefined : usedBy(address)
      if (user !== undefined) wrong.push(`${why} gives ${address} back while ${user} uses it`)
      this.held.delete(containerId)
    }
    this.runner = {
      requirePlugin: async () => {},
      add: async ({ containerId, netns }) => {
        if (this.held.has(containerId)) wrong.push(`ADD of ${containerId}, which has ${this.held.get(containerId)}`)
        if (netns === '') wrong.push(`ADD of ${containerId} without a namespace`)
        const given = new Set(this.held.values())
        let host = 1
        while (given.has(`10.1.0.${host}/24`)) host++
        this.held.set(containerId, `10.1.0.${host}/24`)
        return { cniVersion: '1.1.0', ips: [{ address: `10.1.0.${host}/24` }] }
      },
      del: async ({ containerId }) => giveBack(containerId, 'DEL'),
      check: async ({ containerId }) => {
        if (!this.held.has(containerId)) throw new OffloadError('CHECK_FAILED', `${containerId} has no address`)
      },
      status: async () => {},
      gc: async ({ netconf }) => {
        const valid = JSON.stringify(netconf['cni.dev/valid-attachments'])
        for (const containerId of this.held.keys()) if (!valid.includes(`"containerID":"${containerId}"`)) giveBack(containerId, 'GC')
      },
    }
  }

  /** The plugin. */
  readonly runner: IpamRunner
}
