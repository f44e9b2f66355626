import { OffloadError, parseWith } from '@cni-offload/sdk'
import { encryptionStatus } from '../api/schemas.ts'
import { type ClusterStatus, nodeStatus, type NodeStatus, parseSequence } from './status.ts'

/** What a command for the encryption's status has printed: of single nodes, or of all of them added up. */
export type PrintedStatus =
  | { readonly scope: 'nodes'; readonly nodes: readonly NodeStatus[] }
  | { readonly scope: 'cluster'; readonly cluster: ClusterStatus }

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/** Takes the value of a known line; undefined if the line is not meant for it. */
type Reader<T> = (into: Mutable<T>, value: string, at: string) => void

const wrong = (at: string, value: string, expected: string): OffloadError =>
  new OffloadError('UNDECODABLE', `encryption status, ${at} = ${JSON.stringify(value)}: ${expected} is expected`)

function whole(value: string, at: string): number {
  if (!/^\d{1,15}$/.test(value)) throw wrong(at, value, 'a whole number')
  return Number(value)
}

function flag(value: string, at: string): boolean {
  if (value !== 'true' && value !== 'false') throw wrong(at, value, 'true or false')
  return value === 'true'
}

const list = (value: string): string[] => (value === '' ? [] : value.split(/,\s*/))

const keysInUse: Reader<NodeStatus> = (into, value, at) => void (into.keysInUse = whole(value, at))
const sequence: Reader<NodeStatus> = (into, value, at) => void (into.sequence = parseSequence(value, `encryption status, ${at}`))
const errors: Reader<NodeStatus> = (into, value, at) => void (into.errors = whole(value, at))

/** Lines of a node: by `cilium-dbg encrypt status`, and with "IPsec" in front by `cilium encrypt status --node-details`. */
const NODE_LINES: Readonly<Record<string, Reader<NodeStatus>>> = {
  Msg: (into, value) => void (into.message = value),
  Encryption: (into, value) => void (value === '' || (into.mode = value)),
  'Decryption interface(s)': (into, value) => void (into.interfaces = list(value)),
  'Keys in use': keysInUse,
  'Max Seq. Number': sequence,
  Errors: errors,
  'IPsec keys in use': keysInUse,
  'IPsec highest Seq. Number': sequence,
  'IPsec errors': errors,
  'IPsec expected key count': (into, value, at) => void (into.expectedKeys = whole(value, at)),
  'IPsec key rotation in progress': (into, value, at) => void (into.rotating = flag(value, at)),
}

const acrossAllNodes = (value: string, at: string): string => {
  const found = /^(.*?)\s*across all nodes$/.exec(value)?.[1]
  if (found === undefined) throw wrong(at, value, 'a value "across all nodes"')
  return found
}

const CLUSTER_LINES: Readonly<Record<string, Reader<ClusterStatus>>> = {
  Encryption: (into, value, at) => {
    const { mode = '', some, all } = /^(?<mode>\S+) \((?<some>\d+)\/(?<all>\d+) nodes\)$/.exec(value)?.groups ?? {}
    if (some === undefined || all === undefined || Number(some) > Number(all)) throw wrong(at, value, '"MODE (some/all nodes)"')
    if (into.nodes !== 0 && into.nodes !== Number(all)) throw wrong(at, value, `${into.nodes} nodes, as in the line before,`)
    into.nodes = Number(all)
    into.modes = { ...into.modes, [mode]: Number(some) }
  },
  'IPsec keys in use': (into, value, at) => {
    into.keysInUse = list(value).map((part) => {
      const [, keys, nodes] = /^(\d+) on (\d+)\/\d+$/.exec(part) ?? []
      if (keys === undefined || nodes === undefined) throw wrong(at, part, '"KEYS on some/all"')
      return { keys: Number(keys), nodes: Number(nodes) }
    })
  },
  'IPsec highest Seq. Number': (into, value, at) =>
    void (into.sequence = parseSequence(acrossAllNodes(value, at), `encryption status, ${at}`)),
  'IPsec errors': (into, value, at) => void (into.errors = whole(acrossAllNodes(value, at), at)),
  'IPsec expected key count': (into, value, at) => void (into.expectedKeys = whole(value, at)),
  'IPsec key rotation in progress': (into, value, at) => void (into.rotating = flag(value, at)),
}

/** Name, value, and whether it stands under another line; undefined for an empty line or one without a colon. */
function parts(line: string): { readonly name: string; readonly value: string; readonly inner: boolean } | undefined {
  const at = line.indexOf(':')
  if (at < 0) return undefined
  return { name: line.slice(0, at).trim(), value: line.slice(at + 1).trim(), inner: /^\s/.test(line) }
}

/** Error counters stand under the sum of all, named as in `/proc/net/xfrm_stat`; 5 or `5 on 2/3 nodes`. */
function xfrmError(into: { xfrmErrors?: Readonly<Record<string, number>> }, name: string, value: string): void {
  if (!/^Xfrm[A-Za-z]+$/.test(name)) return
  into.xfrmErrors = { ...into.xfrmErrors, [name]: whole(value.replace(/ on \d+\/\d+ nodes$/, ''), name) }
}

function parseNodes(lines: readonly string[]): PrintedStatus {
  const nodes: Mutable<NodeStatus>[] = []
  let current: Mutable<NodeStatus> = {}
  const seen = new Set<string>()
  for (const { name, value, inner } of lines.flatMap((line) => parts(line) ?? [])) {
    if (inner) {
      xfrmError(current, name, value)
      continue
    }
    if (name === 'Node') {
      current = { node: value }
      nodes.push(current)
      seen.clear()
      continue
    }
    const read = Object.hasOwn(NODE_LINES, name) ? NODE_LINES[name] : undefined
    if (read === undefined) continue
    if (seen.has(name)) throw wrong(name, value, 'one such line of each node')
    seen.add(name)
    if (nodes.length === 0) nodes.push(current)
    read(current, value, name)
  }
  return { scope: 'nodes', nodes }
}

function parseCluster(lines: readonly string[]): PrintedStatus {
  const cluster: Mutable<ClusterStatus> = { nodes: 0, modes: {}, keysInUse: [], xfrmErrors: {} }
  for (const { name, value, inner } of lines.flatMap((line) => parts(line) ?? [])) {
    if (inner) xfrmError(cluster, name, value)
    else if (Object.hasOwn(CLUSTER_LINES, name)) CLUSTER_LINES[name]?.(cluster, value, name)
  }
  return { scope: 'cluster', cluster }
}

/**
 * Reads what `cilium-dbg encrypt status` (in an agent's container, also `cilium encrypt status` there) and `cilium encrypt status` (of
 * cilium-cli, with and without `--node-details`) of 1.16 to 1.20 print, the former also with `-o json`. Lines that are not known are passed
 * over; known ones have to be as they should.
 *
 * @throws OffloadError UNDECODABLE that names the line and its value
 */
export function parseEncryptStatus(text: string): PrintedStatus {
  if (/^\s*\{/.test(text)) return { scope: 'nodes', nodes: [parseJson(text)] }
  const lines = text.split(/\r?\n/)
  const modes = lines.filter((line) => line.startsWith('Encryption:'))
  if (modes.length === 0)
    throw new OffloadError('UNDECODABLE', 'encryption status: there is no line "Encryption: …"', {
      hint: 'Give what "cilium-dbg encrypt status" prints in the agent\'s container.',
    })
  return modes.some((line) => /\(\d+\/\d+ nodes\)/.test(line)) ? parseCluster(lines) : parseNodes(lines)
}

function parseJson(text: string): NodeStatus {
  let decoded: unknown
  try {
    decoded = JSON.parse(text)
  } catch (error) {
    throw new OffloadError('UNDECODABLE', 'encryption status: it begins as JSON but is none', { cause: error })
  }
  const status = parseWith(encryptionStatus, decoded, 'encryption status', 'UNDECODABLE')
  if (status.mode === undefined && status.ipsec === undefined && status.msg === undefined)
    throw new OffloadError('UNDECODABLE', 'encryption status: neither mode nor ipsec stands in it', {
      hint: 'Give what "cilium-dbg encrypt status -o json" prints in the agent\'s container.',
    })
  return nodeStatus(status)
}
