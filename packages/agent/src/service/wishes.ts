import { type CniAdapter, ipAddress, ipCidr, macAddress, parseWith } from '@cni-offload/sdk'
import { asksNothing } from '@cni-offload/sdk/cni'
import type { AttachCall } from '@cni-offload/protocol'
import { z } from 'zod'
import { honoured } from './capabilities.ts'

type Json = Readonly<Record<string, unknown>>

const isJson = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value)

const ips = z.array(z.union([ipCidr, ipAddress], 'an address with or without prefix length')).max(64)

/** What can be asked for in three places: by capability, in `args.cni` of the configuration, and in CNI_ARGS. */
const WISHES = [
  { capability: 'mac', arg: 'MAC', schema: macAddress, fromArg: (text: string): unknown => text },
  { capability: 'ips', arg: 'IP', schema: ips, fromArg: (text: string): unknown => text.split(',') },
] as const

/** Fields of a call in which wishes stand. */
interface Places {
  runtimeConfig: Json
  cniArgs: Readonly<Record<string, string>>
  /** `args.cni` of the configuration. */
  args: Json
}

/** The very record where it has no such key, so that what is not touched stays as it was written. */
const without = <T>(record: Readonly<Record<string, T>>, name: string): Readonly<Record<string, T>> =>
  Object.hasOwn(record, name) ? Object.fromEntries(Object.entries(record).filter(([key]) => key !== name)) : record

/**
 * Leaves each wish in one place, the one that counts: a capability argument overrules `args.cni`, which overrules CNI_ARGS.
 * Where the adapter honours the capability, the wish becomes its argument wherever it stood; where not, a wish in `args.cni` or
 * CNI_ARGS stays for whom it was meant, since configurations may carry arguments for others.
 *
 * @throws OffloadError INVALID_NETCONF or INVALID_ENVIRONMENT naming a wish that is malformed and would be honoured
 */
export function resolveWishes(call: AttachCall, adapter: CniAdapter): AttachCall {
  const known = honoured(adapter)
  const before = isJson(call.netconf['args']) ? call.netconf['args'] : {}
  const cni = isJson(before['cni']) ? before['cni'] : {}
  const places: Places = { runtimeConfig: call.runtimeConfig, cniArgs: call.cniArgs, args: cni }
  for (const { capability, arg, schema, fromArg } of WISHES) {
    const [inArgs, inCniArgs] = [places.args[capability], places.cniArgs[arg]]
    const overruled = !asksNothing(places.runtimeConfig[capability])
    const asked = known.has(capability)
    if (!asksNothing(inArgs)) {
      if (asked && !overruled) grant(places, capability, parseWith(schema, inArgs, `netconf: args.cni.${capability}`, 'INVALID_NETCONF'))
      places.cniArgs = without(places.cniArgs, arg)
    } else if (asked && !overruled && inCniArgs !== undefined && inCniArgs !== '')
      grant(places, capability, parseWith(schema, fromArg(inCniArgs), `CNI_ARGS: ${arg}`, 'INVALID_ENVIRONMENT'))
    if (!overruled && !asked) continue
    places.cniArgs = without(places.cniArgs, arg)
    places.args = without(places.args, capability)
  }
  const { runtimeConfig, cniArgs, args } = places
  return { ...call, runtimeConfig, cniArgs, ...(args === cni ? {} : { netconf: { ...call.netconf, args: { ...before, cni: args } } }) }
}

function grant(places: Places, capability: string, value: unknown): void {
  places.runtimeConfig = { ...places.runtimeConfig, [capability]: value }
}
