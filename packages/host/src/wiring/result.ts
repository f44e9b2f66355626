import type { AttachResult } from '@cni-offload/sdk'
import type { CniInterface, CniResult } from '@cni-offload/sdk/cni'
import { appendResult } from './append-result.ts'

/** What a result is made from. */
export interface ResultParts {
  /** CNI_IFNAME. */
  readonly ifName: string
  /** CNI_NETNS exactly as given: other plugins compare it literally. */
  readonly netns: string
  /** PCI address of the VF, where it has one. */
  readonly pciAddress?: string
  /** What the agent decided and the pod has. */
  readonly attached: AttachResult
  /** Result of the previous plugin of the list. */
  readonly previous?: CniResult
}

/** The result of an ADD: what the previous plugin left, with ours behind it. */
export function cniResult(parts: ResultParts): CniResult {
  const { attached, previous } = parts
  const own: CniInterface = {
    name: parts.ifName,
    mac: attached.mac,
    mtu: attached.mtu,
    sandbox: parts.netns,
    ...(parts.pciAddress === undefined ? {} : { pciId: parts.pciAddress }),
  }
  return appendResult(previous, {
    interfaces: [own],
    ips: attached.ips.map((ip) => ({ ...ip, interface: 0 })),
    routes: attached.routes,
    dns: attached.dns,
  })
}
