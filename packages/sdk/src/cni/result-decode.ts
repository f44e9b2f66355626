import { z } from 'zod'
import { dns, ipAddress, ipCidr, type Route, route } from '../domain/network.ts'
import type { ErrorCode } from '../errors/codes.ts'
import { OffloadError } from '../errors/offload-error.ts'
import { parseWith } from '../errors/parse.ts'
import { isJsonObject } from './json.ts'
import type { CniInterface, CniIp, CniResult, CniVersion } from './model.ts'
import { isAtLeast, isCniVersion } from './version.ts'

/** Plugins write absent fields as null or "" too, and Go reads them as absent. */
const withoutEmpty = (value: unknown): unknown =>
  isJsonObject(value) ? Object.fromEntries(Object.entries(value).filter(([, field]) => field !== null && field !== '')) : value

const lenient = <S extends z.ZodType>(schema: S): z.ZodPreprocess<S> => z.preprocess(withoutEmpty, schema)

const listOf = <S extends z.ZodType>(item: S): z.ZodType<z.output<S>[]> =>
  z.preprocess((value) => value ?? [], z.array(lenient(item)).max(1024)) as z.ZodType<z.output<S>[]>

const dnsOrNone = z.preprocess((value) => withoutEmpty(value ?? {}), dns)

const index = z.number().int().min(0)

const modern = z.object({
  interfaces: listOf(
    z
      .object({
        name: z.string(),
        mac: z.string().exactOptional(),
        mtu: z.number().int().min(0).max(0xffff_ffff).exactOptional(),
        sandbox: z.string().exactOptional(),
        socketPath: z.string().exactOptional(),
        pciID: z.string().exactOptional(),
      })
      .transform(({ pciID, ...rest }): CniInterface => (pciID === undefined ? rest : { ...rest, pciId: pciID })),
  ),
  ips: listOf(z.object({ address: ipCidr, gateway: ipAddress.exactOptional(), interface: index.exactOptional() })),
  routes: listOf(route),
  dns: dnsOrNone,
})

const family = z
  .object({ ip: ipCidr, gateway: ipAddress.exactOptional(), routes: listOf(route) })
  .transform(({ ip, ...rest }) => ({ address: ip, ...rest }))

const legacy = z.preprocess(
  withoutEmpty,
  z.object({ ip4: lenient(family).exactOptional(), ip6: lenient(family).exactOptional(), dns: dnsOrNone }),
)

const fromLegacy = (value: unknown, what: string, code: ErrorCode): CniResult => {
  const { ip4, ip6, dns: resolver } = parseWith(legacy, value, what, code)
  const ips: CniIp[] = []
  const routes: Route[] = []
  for (const found of [ip4, ip6]) {
    if (found === undefined) continue
    const { routes: ofFamily, ...ip } = found
    ips.push(ip)
    routes.push(...ofFamily)
  }
  return { interfaces: [], ips, routes, dns: resolver }
}

/**
 * As {@link decodeResult}, for callers that know a better name and code for what is wrong.
 *
 * @throws OffloadError with `code`, or INCOMPATIBLE_VERSION
 */
export function decodeResultFrom(value: unknown, version: CniVersion, what: string, code: ErrorCode): CniResult {
  if (!isJsonObject(value)) throw new OffloadError(code, `${what}: is not a JSON object`)
  const own = value['cniVersion'] ?? ''
  const spoken = own === '' ? version : own
  if (!isCniVersion(spoken))
    throw new OffloadError('INCOMPATIBLE_VERSION', `${what}: cniVersion = ${JSON.stringify(own)?.slice(0, 64)} is not supported`)
  if (!isAtLeast(spoken, '0.3.0')) return fromLegacy(value, what, code)
  const result = parseWith(modern, value, what, code)
  const stray = result.ips.findIndex((ip) => (ip.interface ?? -1) >= result.interfaces.length)
  // An index that points nowhere crashes container runtimes when it is passed on to them.
  if (stray >= 0)
    throw new OffloadError(
      code,
      `${what}: ips.${stray}.interface = ${result.ips[stray]?.interface}: there are ${result.interfaces.length} interfaces`,
    )
  return result
}

/**
 * Decodes the result of a plugin, or a `prevResult`, whatever its version.
 *
 * @param value - decoded JSON
 * @param version - version of the configuration; counts where the result does not name its own
 * @throws OffloadError UNDECODABLE, or INCOMPATIBLE_VERSION for a version that is not supported
 */
export function decodeResult(value: unknown, version: CniVersion): CniResult {
  return decodeResultFrom(value, version, 'result', 'UNDECODABLE')
}
