import type { CniEnvironment, CniVerb } from '@cni-offload/sdk/cni'

const REQUIRED: Readonly<Record<CniVerb, readonly string[]>> = {
  ADD: ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME'],
  CHECK: ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME'],
  DEL: ['CNI_CONTAINERID', 'CNI_IFNAME'],
  GC: [],
  STATUS: [],
  VERSION: [],
}

/** Reads what the runtime says of a call. @throws Error that names what is missing */
export function environmentOf(variables: NodeJS.ProcessEnv): Omit<CniEnvironment, 'path'> {
  const verb = variables['CNI_COMMAND'] ?? ''
  if (!isVerb(verb)) throw new Error(`unknown CNI_COMMAND: ${verb}`)
  const missing = REQUIRED[verb].filter((name) => (variables[name] ?? '') === '')
  if (missing.length > 0) throw new Error(`required env variables [${missing.join(',')}] missing`)
  const args = (variables['CNI_ARGS'] ?? '').split(';').map((pair) => /^(?<key>[^=]+)=(?<value>.*)$/s.exec(pair)?.groups)
  return {
    verb,
    containerId: variables['CNI_CONTAINERID'] ?? '',
    netns: variables['CNI_NETNS'] ?? '',
    ifName: variables['CNI_IFNAME'] ?? '',
    args: Object.fromEntries(args.flatMap((pair) => (pair === undefined ? [] : [[pair['key'], pair['value']]]))),
  }
}

const isVerb = (text: string): text is CniVerb => Object.hasOwn(REQUIRED, text)
