import { type AttachResult, type Dns, parseWith, UNKNOWN_MAC } from '@cni-offload/sdk'
import type { CniInterface, CniResult } from '@cni-offload/sdk/cni'
import { z } from 'zod'
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
  /** Capability arguments; `dns` goes into the result, where whoever writes the pod's resolver file looks for it. */
  readonly runtimeConfig?: Readonly<Record<string, unknown>>
}

const texts = z.preprocess((value) => value ?? [], z.array(z.string()))

const askedDns = z.object({ servers: texts, searches: texts, options: texts })

/** The resolver settings of the capability `dns`, as results have them; none where it has none. @throws OffloadError INVALID_NETCONF */
export function resolver(runtimeConfig: ResultParts['runtimeConfig'] = {}): Dns {
  if (runtimeConfig['dns'] === undefined) return {}
  const { servers, searches, options } = parseWith(askedDns, runtimeConfig['dns'], 'netconf: runtimeConfig.dns', 'INVALID_NETCONF')
  const settings = { nameservers: servers, search: searches, options }
  return Object.fromEntries(Object.entries(settings).filter(([, list]) => list.length > 0))
}

/** The result of an ADD: what the previous plugin left, with ours behind it. */
export function cniResult(parts: ResultParts): CniResult {
  const { attached, previous } = parts
  const own: CniInterface = {
    name: parts.ifName,
    ...(attached.mac === UNKNOWN_MAC ? {} : { mac: attached.mac }),
    mtu: attached.mtu,
    sandbox: parts.netns,
    ...(parts.pciAddress === undefined ? {} : { pciId: parts.pciAddress }),
  }
  return appendResult(previous, {
    interfaces: [own],
    ips: attached.ips.map((ip) => ({ ...ip, interface: 0 })),
    routes: attached.routes,
    dns: { ...attached.dns, ...resolver(parts.runtimeConfig) },
  })
}
