import { OffloadError } from '@cni-offload/sdk'
import { readIndexed } from './indexed.ts'
import { type MacRegister, readInterface } from './interface.ts'
import { parseLibconfig } from './libconfig-parser.ts'
import { LibconfigSyntaxError } from './libconfig-scanner.ts'
import type { ConfigGroup } from './libconfig-value.ts'
import { type AgentConfig, type AgentPf, LIMITS } from './model.ts'
import { type AgentConfigProblem, problemText } from './problem.ts'
import { GroupReader } from './reader.ts'

/** What {@link checkAgentConfig} has found. */
export interface AgentConfigCheck {
  /** The configuration; undefined if there is an error. */
  readonly config: AgentConfig | undefined
  /** Errors and warnings, in the order of the file. */
  readonly problems: readonly AgentConfigProblem[]
}

/** Larger than any configuration with all functions that the agent can hold would be, in characters. */
const LONGEST = 8 * 1024 * 1024

/** Messages that an error carries; the rest is counted. */
const SHOWN = 5

/** Looks at a configuration of the control agent more closely than the agent does, which takes nearly anything. */
export function checkAgentConfig(text: string): AgentConfigCheck {
  const problems: AgentConfigProblem[] = []
  const config = read(text, problems)
  const sorted = problems.toSorted((a, b) => a.at.line - b.at.line || a.at.column - b.at.column)
  return { config: sorted.some(({ severity }) => severity === 'error') ? undefined : config, problems: sorted }
}

/**
 * Reads a configuration of the control agent.
 *
 * @param file - its name, for messages
 * @throws OffloadError INVALID_CONFIG that says of each error where it is
 */
export function parseAgentConfig(text: string, file: string): AgentConfig {
  const { config, problems } = checkAgentConfig(text)
  if (config !== undefined) return config
  const errors = problems.filter(({ severity }) => severity === 'error').map((problem) => problemText(file, problem))
  const more = errors.length > SHOWN ? [`and ${errors.length - SHOWN} more`] : []
  throw new OffloadError('INVALID_CONFIG', [...errors.slice(0, SHOWN), ...more].join('; '), {
    hint: 'correct them, or make a configuration: offload octeon cfg --node NAME',
  })
}

function read(text: string, problems: AgentConfigProblem[]): AgentConfig | undefined {
  const root = parsed(text, problems)
  if (root === undefined) return undefined
  const file = new GroupReader(root, '', problems)
  const soc = file.setting('soc')
  file.leftovers()
  if (soc === undefined) return void file.problem('soc', 'is missing; the agent ends without it: soc = { pems = ( … ); };')
  if (soc.value.kind !== 'group') return void file.problem('soc', 'is no group: soc = { pems = ( … ); };')
  const reader = new GroupReader(soc.value, 'soc', problems)
  const macs: MacRegister = new Map()
  const pems = readIndexed(reader, 'pems', LIMITS.pems, (pem) => {
    const pfs = readIndexed(pem, 'pfs', LIMITS.pfs, (pf) => readPf(pf, macs))
    if (pfs.length === 0) pem.problem('pfs', 'has no function: the host would find none')
    pem.leftovers()
    return { pfs }
  })
  if (pems.length === 0) reader.problem('pems', 'has no PCI link: the agent would run and do nothing')
  reader.leftovers()
  return { pems }
}

function parsed(text: string, problems: AgentConfigProblem[]): ConfigGroup | undefined {
  try {
    if (text.length > LONGEST) throw new LibconfigSyntaxError({ line: 1, column: 1 }, `more than ${LONGEST} characters`)
    return parseLibconfig(text)
  } catch (error) {
    if (!(error instanceof LibconfigSyntaxError)) throw error
    problems.push({ severity: 'error', at: error.at, path: '', message: error.message })
    return undefined
  }
}

function readPf(pf: GroupReader, macs: MacRegister): AgentPf {
  const own = readInterface(pf, macs)
  const heartbeat = {
    intervalMs: pf.whole('hb_interval', LIMITS.intervalMs, 1000),
    missCount: pf.whole('hb_miss_count', LIMITS.missCount, 20),
  }
  const vfs = readIndexed(pf, 'vfs', LIMITS.vfs, (vf) => {
    const of = readInterface(vf, macs)
    for (const name of ['hb_interval', 'hb_miss_count'])
      if (vf.setting(name) !== undefined) vf.problem(name, 'is that of the physical function: this one has no effect', 'warning')
    vf.leftovers()
    return of
  })
  pf.leftovers()
  return { ...own, heartbeat, vfs }
}
