import { z } from 'zod'
import { macAddress } from '../domain/mac-address.ts'
import { ipAddress, ipCidr } from '../domain/network.ts'
import { asksNothing } from './capability-demands.ts'
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
const normalised = (input: JsonObject): JsonObject => {
  const given = Object.entries(input).filter(([, value]) => value !== null && value !== '')
  return Object.fromEntries(
    given.map(([name, value]) => {
      const keys = Object.hasOwn(STRUCTURES, name) ? STRUCTURES[name] : undefined
      return [name, keys === undefined ? value : inConventionalCase(value, keys)]
    }),
  )
}

const port = z.number().int().min(1).max(65_535)

/** Runtimes write what is not set as null, "" or not at all. */
const orUnset = <S extends z.ZodType>(schema: S): z.ZodType<z.output<S> | '' | null | undefined> =>
  z.union([schema, z.literal('')]).nullish()

const protocol = z.preprocess(
  (given) => (given === undefined || given === null || given === '' ? 'tcp' : typeof given === 'string' ? given.toLowerCase() : given),
  z.enum(['tcp', 'udp', 'sctp'], 'tcp, udp or sctp'),
)

const portMapping = z.looseObject({ hostPort: port, containerPort: port, protocol, hostIP: orUnset(ipAddress) })

/** Bits per second, or bits; beyond 2^53 they are not exact any more, and nobody has such links. */
const bits = z.number().min(0).refine(Number.isInteger, 'a whole number').nullish()

const bandwidth = z
  .looseObject({ ingressRate: bits, ingressBurst: bits, egressRate: bits, egressBurst: bits })
  .superRefine((limits, ctx) => {
    for (const way of ['ingress', 'egress'] as const) {
      const [rate, burst] = [limits[`${way}Rate`] ?? 0, limits[`${way}Burst`] ?? 0]
      if (rate > 0 === burst > 0) continue
      const missing = rate > 0 ? `${way}Burst` : `${way}Rate`
      ctx.addIssue({ code: 'custom', path: [missing], message: `rate and burst go together, ${way} has only one of them` })
    }
  })
  // A limit of zero is none: what asks for nothing must look like it.
  .transform((limits) => Object.fromEntries(Object.entries(limits).filter(([, limit]) => limit !== 0 && limit !== null)))

const texts = z.array(z.string()).nullish()

const ipRange = z.looseObject({ subnet: ipCidr, rangeStart: orUnset(ipAddress), rangeEnd: orUnset(ipAddress), gateway: orUnset(ipAddress) })

/**
 * Schema of `runtimeConfig`: values of the capabilities that the conventions define are validated, all others are passed on.
 *
 * @see https://github.com/containernetworking/cni/blob/main/CONVENTIONS.md#dynamic-plugin-specific-fields-capabilities--runtime-configuration
 */
export const runtimeConfig: z.ZodType<JsonObject> = z.looseObject({
  portMappings: z.array(portMapping).max(1024).optional(),
  bandwidth: bandwidth.optional(),
  mac: macAddress.optional(),
  ips: z
    .array(z.union([ipCidr, ipAddress], 'an address with or without prefix length'))
    .max(64)
    .optional(),
  // The convention has sets of ranges, containerd one flat list.
  ipRanges: z
    .array(z.union([z.array(ipRange), ipRange], 'a range of addresses, or a set of them'))
    .max(64)
    .optional(),
  dns: z.looseObject({ servers: texts, searches: texts, options: texts }).optional(),
  deviceID: z.string().max(256).optional(),
  infinibandGUID: z
    .string()
    .regex(/^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){7}$/, 'eight octets such as c2:11:22:33:44:55:66:77')
    .optional(),
  aliases: z.array(z.string()).max(64).optional(),
  cgroupPath: z.string().max(4096).optional(),
})

/**
 * The capability that counts although the configuration does not declare it: it names the device that the scheduler has
 * counted for this pod, and another one would be given to two pods.
 */
const ALWAYS = 'deviceID'

/** `runtimeConfig` parted by what the configuration asks runtimes for. */
export interface DeclaredConfig {
  /** What counts, with the keys of structures in the case of the conventions; not validated. */
  readonly declared: unknown
  /** Names of what does not: it was meant for other plugins. */
  readonly undeclared: readonly string[]
}

/**
 * Parts `runtimeConfig` by `capabilities` of the same configuration. Runtimes fill in what a configuration declares; what
 * stands there undeclared is not for us. What is no object is left to the schema to refuse.
 */
export function byDeclaration(config: unknown, capabilities: unknown): DeclaredConfig {
  if (!isJsonObject(config)) return { declared: config ?? {}, undeclared: [] }
  const wanted = isJsonObject(capabilities) ? capabilities : {}
  const counts = (name: string): boolean => name === ALWAYS || (Object.hasOwn(wanted, name) && wanted[name] === true)
  const entries = Object.entries(config)
  return {
    declared: normalised(Object.fromEntries(entries.filter(([name]) => counts(name)))),
    undeclared: entries.flatMap(([name, value]) => (counts(name) || asksNothing(value) ? [] : [name])),
  }
}
