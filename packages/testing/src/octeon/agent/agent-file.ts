import type { WireConfig } from '../rpc/agent-peer.ts'
import type { ConfigGroup, ConfigValue } from './libconfig.ts'

/** What the agent takes from its configuration. */
export interface AgentFile {
  /** Lines that it prints about entries that it does not like. */
  readonly notes: readonly string[]
  /** What the host gets to see; undefined if there is no PEM, and the agent runs for nothing. */
  readonly config: WireConfig | undefined
}

const HEARTBEAT_MS = 1_000
const MISS_COUNT = 20
const LIMIT = { pem: 8, pf: 128, vf: 64 } as const

/**
 * The agent's view of its configuration: entries without `idx` are passed over, addresses are cut to six bytes or filled with zeros, and
 * nothing is checked. Only the first PEM and its first physical function are used.
 *
 * @returns undefined where `soc` is missing, with which it does not run
 */
export function readAgentFile(file: ConfigGroup): AgentFile | undefined {
  const soc = file['soc']
  if (!isGroup(soc)) return undefined
  const notes: string[] = []
  const entries = (value: ConfigValue | undefined, limit: number, note: (idx: number) => string): readonly ConfigGroup[] =>
    (Array.isArray(value) ? (value as readonly ConfigValue[]) : []).filter(isGroup).filter(({ idx }) => {
      if (typeof idx !== 'number') return false
      if (idx >= 0 && idx < limit) return true
      notes.push(note(idx))
      return false
    })
  const [pem] = entries(soc['pems'], LIMIT.pem, (idx) => `APP: Skipping out of bounds pem[${idx}]`)
  const [pf] = entries(pem?.['pfs'], LIMIT.pf, (idx) => `APP: Skipping out of bounds pem[${Number(pem?.['idx'])}]pf[${idx}]`)
  if (pf === undefined) return { notes, config: undefined }
  const vfs = entries(pf['vfs'], LIMIT.vf, (idx) => `APP: Skipping out of bounds pf[${Number(pf['idx'])}]vf[${idx}]`)
  const config: WireConfig = {
    pf: { mac: macOf(pf) },
    vfs: vfs.map((vf) => [Number(vf['idx']), { mac: macOf(vf) }]),
    heartbeatMs: wordOf(pf['hb_interval'], HEARTBEAT_MS),
    missCount: wordOf(pf['hb_miss_count'], MISS_COUNT),
  }
  return { notes, config }
}

function isGroup(value: ConfigValue | undefined): value is ConfigGroup {
  return typeof value === 'object' && !Array.isArray(value)
}

/** Six bytes, whatever is written there. */
function macOf({ mac_addr: value }: ConfigGroup): string {
  const bytes = Array.isArray(value) ? (value as readonly ConfigValue[]).map(Number) : []
  return Array.from({ length: 6 }, (_, at) => ((bytes[at] ?? 0) & 0xff).toString(16).padStart(2, '0')).join(':')
}

/** Kept in 16 bits. */
const wordOf = (value: ConfigValue | undefined, fallback: number): number => (typeof value === 'number' ? value & 0xffff : fallback)
