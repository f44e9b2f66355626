import { z } from 'zod'
import { ipAddress, ipCidr, macAddress } from '../domain/network.ts'
import { isJsonObject, type JsonObject } from './json.ts'

/**
 * Keys of the capability structures. containerd's have no JSON names, so they arrive as `HostPort`; Go plugins never
 * notice because Go matches keys in any case.
 */
const STRUCTURES: Readonly<Record<string, readonly string[]>> = {
  portMappings: ['hostPort', 'containerPort', 'protocol', 'hostIP'],
  bandwidth: ['ingressRate', 'ingressBurst', 'egressRate', 'egressBurst'],
  dns: ['servers', 'searches', 'options'],
  ipRanges: ['subnet', 'rangeStart', 'rangeEnd', 'gateway'],
}

const inConventionalCase = (value: unknown, keys: readonly string[]): unknown => {
  if (Array.isArray(value)) return value.map((item) => inConventionalCase(item, keys))
  if (!isJsonObject(value)) return value
  const known = new Map(keys.map((key) => [key.toLowerCase(), key]))
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [known.get(key.toLowerCase()) ?? key, item]))
}

/** Brings what runtimes send to one shape: structure keys as CONVENTIONS.md writes them, without null and empty texts. */
const normalised = (input: unknown): unknown => {
  if (!isJsonObject(input)) return input ?? {}
  const given = Object.entries(input).filter(([, value]) => value !== null && value !== '')
  return Object.fromEntries(
    given.map(([name, value]) => {
      const keys = Object.hasOwn(STRUCTURES, name) ? STRUCTURES[name] : undefined
      return [name, keys === undefined ? value : inConventionalCase(value, keys)]
    }),
  )
}

/** Schema of `runtimeConfig`: capabilities that we act on are validated, all others are passed on. */
export const runtimeConfig: z.ZodType<JsonObject> = z.preprocess(
  normalised,
  z.looseObject({
    mac: macAddress.optional(),
    ips: z
      .array(z.union([ipCidr, ipAddress], 'an address with or without prefix length'))
      .max(64)
      .optional(),
    deviceID: z.string().max(256).optional(),
  }),
)
