import type { Dns, Route } from '@cni-offload/sdk'

/** What the interface has, by which its result is judged. */
export interface Truth {
  readonly ifName: string
  readonly sandbox: string
  readonly mac: string
  readonly mtu: number
  /** In the order of the result. */
  readonly ips: readonly { readonly address: string; readonly gateway?: string }[]
  readonly routes: readonly Route[]
  readonly dns: Dns
}

const six = (address: string): boolean => address.includes(':')
const short = ({ dst, gw }: Route): Route => (gw === undefined ? { dst } : { dst, gw })
const unlessEmpty = <T>(name: string, list: readonly T[]): object => (list.length === 0 ? {} : { [name]: list })

/** The result that a version of the specification wants of an interface. Routes are to be compared whatever their order. */
export function expectedResult(cniVersion: string, truth: Truth): Record<string, any> {
  const { ifName: name, sandbox, mac, mtu, ips, routes, dns } = truth
  if (cniVersion < '0.3.0') {
    const family = (v6: boolean): object | undefined => {
      const first = ips.find(({ address }) => six(address) === v6)
      if (first === undefined) return undefined
      const { address, ...gateway } = first
      return { ip: address, ...gateway, ...unlessEmpty('routes', routes.filter(({ dst }) => six(dst) === v6).map(short)) }
    }
    return JSON.parse(JSON.stringify({ cniVersion, ip4: family(false), ip6: family(true), dns })) as Record<string, any>
  }
  const ancient = cniVersion < '1.0.0'
  const newest = cniVersion >= '1.1.0'
  return {
    cniVersion,
    interfaces: [{ name, mac, sandbox, ...(newest ? { mtu } : {}) }],
    ...unlessEmpty(
      'ips',
      ips.map((ip) => ({ ...(ancient ? { version: six(ip.address) ? '6' : '4' } : {}), ...ip, interface: 0 })),
    ),
    ...unlessEmpty('routes', newest ? routes : routes.map(short)),
    ...(ancient || Object.keys(dns).length > 0 ? { dns } : {}),
  }
}
