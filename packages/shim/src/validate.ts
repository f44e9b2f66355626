import { decodeObject, INCOMPATIBLE_VERSION, INVALID_NETCONF, SUPPORTED_VERSIONS, UNDECODABLE } from './answers.ts'

// The daemon checks all of this, and more, with the SDK's schemas. It is here for the time when there is no daemon: a call
// that can never succeed must not be told to try again later. A test holds both to the same verdict.

/** What is wrong, as a CNI error code and a message. */
export interface Problem {
  readonly code: number
  readonly msg: string
}

const isLetterOrDigit = (code: number): boolean => (code >= 48 && code <= 57) || (code >= 65 && code <= 90) || (code >= 97 && code <= 122)

/** White space of Unicode, as the kernel's and Go's rules for interface names see it. */
const isSpace = (code: number): boolean =>
  (code >= 9 && code <= 13) ||
  code === 32 ||
  code === 0x85 ||
  code === 0xa0 ||
  code === 0x1680 ||
  (code >= 0x2000 && code <= 0x200a) ||
  [0x2028, 0x2029, 0x202f, 0x205f, 0x3000, 0xfeff].includes(code)

/** Whether a text may be a container id or a network's name. */
export function isName(text: string): boolean {
  if (text === '' || text.length > 1024) return false
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (isLetterOrDigit(code)) continue
    if (at === 0 || (text.charAt(at) !== '_' && text.charAt(at) !== '.' && text.charAt(at) !== '-')) return false
  }
  return true
}

/** Whether a text may be an interface's name. */
export function isInterfaceName(text: string): boolean {
  if (text === '' || text === '.' || text === '..' || new TextEncoder().encode(text).length > 15) return false
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code === 0 || isSpace(code) || text.charAt(at) === '/' || text.charAt(at) === ':' || text.charAt(at) === '%') return false
  }
  return true
}

const quoted = (text: string): string => JSON.stringify(text.slice(0, 64))

const sinceOf = (verb: string): string => {
  if (verb === 'CHECK') return '0.4.0'
  return verb === 'GC' || verb === 'STATUS' ? '1.1.0' : '0.1.0'
}

const versionProblem = (verb: string, given: string): Problem | null => {
  const version = given === '' ? '0.1.0' : given
  if (!SUPPORTED_VERSIONS.includes(version))
    return {
      code: INCOMPATIBLE_VERSION,
      msg: `netconf: cniVersion = ${quoted(given)} is not supported; supported are ${SUPPORTED_VERSIONS.join(', ')}`,
    }
  const since = sinceOf(verb)
  if (SUPPORTED_VERSIONS.indexOf(version) < SUPPORTED_VERSIONS.indexOf(since))
    return { code: INCOMPATIBLE_VERSION, msg: `netconf: cniVersion = "${version}" has no ${verb}; it needs ${since} or newer` }
  return null
}

/** What makes a network configuration useless whoever looks at it, or null. */
export function netconfProblem(verb: string, stdin: string): Problem | null {
  const config = decodeObject(stdin)
  if (config === null) return { code: UNDECODABLE, msg: 'netconf: is not a JSON object' }
  const name: unknown = 'name' in config ? config.name : null
  const version: unknown = 'cniVersion' in config ? config.cniVersion : null
  const type: unknown = 'type' in config ? config.type : null
  if (name !== null && typeof name !== 'string') return { code: UNDECODABLE, msg: 'netconf: name is not a text' }
  if (version !== null && typeof version !== 'string') return { code: UNDECODABLE, msg: 'netconf: cniVersion is not a text' }
  if (type !== null && typeof type !== 'string') return { code: UNDECODABLE, msg: 'netconf: type is not a text' }
  if (name === null) return { code: INVALID_NETCONF, msg: 'netconf: name is missing' }
  if (!isName(name))
    return {
      code: INVALID_NETCONF,
      msg: `netconf: name = ${quoted(name)}: letters, digits, "_", "." and "-" only, starting with a letter or digit`,
    }
  return versionProblem(verb, version === null ? '' : version)
}

/** What is wrong with the variables of an attachment, or "". */
export function attachmentProblem(verb: string, containerId: string, ifName: string, netns: string): string {
  if (verb !== 'ADD' && verb !== 'CHECK' && verb !== 'DEL') return ''
  if (!isName(containerId))
    return `environment: CNI_CONTAINERID = ${quoted(containerId)}: letters, digits, "_", "." and "-" only, starting with a letter or digit`
  if (!isInterfaceName(ifName))
    return `environment: CNI_IFNAME = ${quoted(ifName)}: at most 15 bytes, no white space, "/", ":" or "%", and not "." or ".."`
  if (verb !== 'DEL' && (netns.charAt(0) !== '/' || netns.length > 4096))
    return `environment: CNI_NETNS = ${quoted(netns)}: an absolute path`
  return ''
}
