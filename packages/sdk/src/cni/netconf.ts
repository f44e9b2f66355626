import { z } from 'zod'
import { cniName } from '../domain/attachment.ts'
import { OffloadError } from '../errors/offload-error.ts'
import { parseWith } from '../errors/parse.ts'
import { decodeJsonObject, isJsonObject, type JsonObject } from './json.ts'
import { CNI_VERSIONS, type CniVerb, type CniVersion, type Netconf } from './model.ts'
import { decodeResultFrom } from './result-decode.ts'
import { byDeclaration, runtimeConfig } from './runtime-config.ts'
import { isAtLeast, isCniVersion } from './version.ts'

/** Versions in which verbs came into the specification. */
const SINCE: Readonly<Partial<Record<CniVerb, CniVersion>>> = { CHECK: '0.4.0', GC: '1.1.0', STATUS: '1.1.0' }

const types = z.looseObject({
  name: z.string().nullish(),
  cniVersion: z.string().nullish(),
  type: z.string().nullish(),
})

const attachments = z.array(z.object({ containerID: z.string().min(1), ifname: z.string().min(1) }))

const optionalText = z.string().max(256).nullish()

const versionOf = (given: string, verb: CniVerb): CniVersion => {
  const version = given === '' ? '0.1.0' : given
  if (!isCniVersion(version))
    throw new OffloadError('INCOMPATIBLE_VERSION', `netconf: cniVersion = ${JSON.stringify(given.slice(0, 64))} is not supported`, {
      hint: `Supported are ${CNI_VERSIONS.join(', ')}.`,
    })
  const since = SINCE[verb]
  if (since !== undefined && !isAtLeast(version, since))
    throw new OffloadError('INCOMPATIBLE_VERSION', `netconf: cniVersion = "${version}" has no ${verb}; it needs ${since} or newer`)
  return version
}

const validAttachmentsOf = (raw: JsonObject): Pick<Netconf, 'validAttachments'> => {
  // The first draft of 1.1.0 called the list cni.dev/attachments; libcni sends both.
  const key = ['cni.dev/valid-attachments', 'cni.dev/attachments'].find((name) => raw[name] !== undefined && raw[name] !== null)
  if (key === undefined) return {}
  const list = parseWith(attachments, raw[key], `netconf: ${key}`, 'INVALID_NETCONF')
  return { validAttachments: list.map(({ containerID, ifname }) => ({ containerId: containerID, ifName: ifname })) }
}

const prevResultOf = (raw: JsonObject, version: CniVersion): Pick<Netconf, 'prevResult'> => {
  const given = raw['prevResult']
  if (given === undefined || given === null || (isJsonObject(given) && Object.keys(given).length === 0)) return {}
  return { prevResult: decodeResultFrom(given, version, 'netconf: prevResult', 'INVALID_NETCONF') }
}

const deviceIdOf = (raw: JsonObject, config: JsonObject): Pick<Netconf, 'deviceId'> => {
  const field = (name: string): string | undefined => parseWith(optionalText, raw[name], `netconf: ${name}`, 'INVALID_NETCONF') ?? undefined
  // Meta-plugins write the same id under both names; pciBusID alone is what host-device is configured with.
  const [deviceID, pciBusID] = [field('deviceID'), field('pciBusID')]
  const fromRuntime = config['deviceID']
  const deviceId = [typeof fromRuntime === 'string' ? fromRuntime : '', deviceID, pciBusID].find((id) => id !== undefined && id !== '')
  return deviceId === undefined ? {} : { deviceId }
}

/**
 * Parses what a runtime writes to a plugin's standard input. Fields that nobody here knows are tolerated everywhere.
 *
 * ADD and CHECK refuse a malformed `runtimeConfig`, `prevResult` or `deviceID`. For the other verbs such a field counts
 * as absent: a configuration that somebody broke meanwhile must not keep pods from being deleted.
 *
 * @throws OffloadError UNDECODABLE (not a JSON object, or `name`, `cniVersion`, `type` is not a text), INVALID_NETCONF
 * (`name` and the fields above, the list of a GC) or INCOMPATIBLE_VERSION, looked for in this order
 */
export function parseNetconf(stdin: string, verb: CniVerb): Netconf {
  const raw = decodeJsonObject(stdin, 'netconf')
  const texts = parseWith(types, raw, 'netconf', 'UNDECODABLE')
  const { name } = parseWith(z.object({ name: cniName }), { name: texts.name ?? undefined }, 'netconf', 'INVALID_NETCONF')
  const cniVersion = versionOf(texts.cniVersion ?? '', verb)
  const strict = verb === 'ADD' || verb === 'CHECK'
  const orAbsent = <T>(parse: () => T, absent: T): T => {
    if (strict) return parse()
    try {
      return parse()
    } catch {
      return absent
    }
  }
  const { declared, undeclared } = byDeclaration(raw['runtimeConfig'], raw['capabilities'])
  const config = orAbsent(() => parseWith(runtimeConfig, declared, 'netconf: runtimeConfig', 'INVALID_NETCONF'), {})
  return {
    cniVersion,
    name,
    type: texts.type ?? '',
    runtimeConfig: config,
    undeclared,
    ...orAbsent(() => prevResultOf(raw, cniVersion), {}),
    ...orAbsent(() => deviceIdOf(raw, config), {}),
    ...(verb === 'GC' ? validAttachmentsOf(raw) : {}),
    raw,
  }
}
