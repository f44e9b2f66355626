import type { CniResult, CniVersion } from '@cni-offload/sdk/cni'

/** Versions of the specification, oldest first. */
export const VERSIONS: readonly CniVersion[] = ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0']

/** The version in which is answered what has none. */
export const NEWEST: CniVersion = '1.1.0'

/** The version of a configuration. @throws Error if it is not one of {@link VERSIONS} */
export function versionOf(text: string): CniVersion {
  const version = VERSIONS.find((one) => one === (text === '' ? '0.2.0' : text))
  if (version === undefined) throw new Error(`incompatible CNI versions; config is "${text}", plugin supports ${JSON.stringify(VERSIONS)}`)
  return version
}

const isSix = (address: string): boolean => address.includes(':')

const isBefore = (version: CniVersion, other: CniVersion): boolean => VERSIONS.indexOf(version) < VERSIONS.indexOf(other)

/** A result as JSON, with as much of it as the version has a place for. */
export function encode({ interfaces, ips, routes: all, dns }: CniResult, version: CniVersion): string {
  const routes = isBefore(version, '1.1.0') ? all.map(({ dst, gw }) => ({ dst, gw })) : all
  const family = (six: boolean): object | undefined => {
    const ip = ips.find(({ address }) => isSix(address) === six)
    return ip && { ip: ip.address, gateway: ip.gateway, routes: routes.filter(({ dst }) => isSix(dst) === six) }
  }
  const numbered = isBefore(version, '1.0.0') ? ips.map((ip) => ({ version: isSix(ip.address) ? '6' : '4', ...ip })) : ips
  const shape = isBefore(version, '0.3.0') ? { ip4: family(false), ip6: family(true) } : { interfaces, ips: numbered, routes }
  return JSON.stringify({ cniVersion: version, ...shape, dns })
}
