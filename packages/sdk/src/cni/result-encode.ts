import type { Dns, Route } from '../domain/network.ts'
import { OffloadError } from '../errors/offload-error.ts'
import type { CniInterface, CniIp, CniResult, CniVersion } from './model.ts'
import { isAtLeast } from './version.ts'

const isV6 = (address: string): boolean => address.includes(':')

const plainRoute = ({ dst, gw }: Route): Route => (gw === undefined ? { dst } : { dst, gw })

/** Left out of the JSON when there are none, as the reference library does. */
const unlessEmpty = <T>(list: readonly T[]): readonly T[] | undefined => (list.length === 0 ? undefined : list)

const legacyFamily = (result: CniResult, v6: boolean): object | undefined => {
  const ip = result.ips.find(({ address }) => isV6(address) === v6)
  if (ip === undefined) return undefined
  const routes = result.routes.filter(({ dst }) => isV6(dst) === v6).map(plainRoute)
  return { ip: ip.address, gateway: ip.gateway, routes: unlessEmpty(routes) }
}

const legacy = (result: CniResult): object => ({ ip4: legacyFamily(result, false), ip6: legacyFamily(result, true), dns: result.dns })

const interfaceOf = ({ pciId, ...rest }: CniInterface, version: CniVersion): object =>
  isAtLeast(version, '1.1.0') ? { ...rest, pciID: pciId } : { name: rest.name, mac: rest.mac, sandbox: rest.sandbox }

const ipOf = (ip: CniIp, version: CniVersion): object =>
  isAtLeast(version, '1.0.0') ? ip : { version: isV6(ip.address) ? '6' : '4', ...ip }

const dnsOf = (dns: Dns, version: CniVersion): Dns | undefined =>
  isAtLeast(version, '1.0.0') && Object.keys(dns).length === 0 ? undefined : dns

const modern = (result: CniResult, version: CniVersion): object => ({
  interfaces: unlessEmpty(result.interfaces.map((one) => interfaceOf(one, version))),
  ips: unlessEmpty(result.ips.map((ip) => ipOf(ip, version))),
  routes: unlessEmpty(isAtLeast(version, '1.1.0') ? result.routes : result.routes.map(plainRoute)),
  dns: dnsOf(result.dns, version),
})

/**
 * Encodes an ADD result in a version's shape, as JSON. What the version has no place for is left out: before 0.3.0 that
 * is all but the first address of each family, before 1.1.0 the MTU, PCI address and socket of interfaces and the
 * metrics of routes.
 *
 * @throws OffloadError INTERNAL if an address names an interface that is not there, which would crash the runtime
 */
export function encodeResult(result: CniResult, version: CniVersion): string {
  const stray = result.ips.find(({ interface: at }) => at !== undefined && result.interfaces[at] === undefined)
  if (stray !== undefined)
    throw new OffloadError(
      'INTERNAL',
      `result: address ${stray.address} is of interface ${stray.interface}, there are ${result.interfaces.length}`,
    )
  return JSON.stringify({ cniVersion: version, ...(isAtLeast(version, '0.3.0') ? modern(result, version) : legacy(result)) })
}
