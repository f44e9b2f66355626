import { basename } from 'node:path'
import { OffloadError } from '@cni-offload/sdk'
import type { AgentGeneration } from './generation.ts'

/** Name of the control agent's program, which is also the name of its process. */
export const AGENT_PROGRAM = 'octep_cp_agent'

/** A choice of how the control agent is started. */
export interface AgentCommandChoice {
  /** What fits the firmware. */
  readonly generation: Pick<AgentGeneration, 'options'>
  /** Its configuration, an absolute path. */
  readonly cfg: string
  /** The program. @defaultValue `/usr/bin/octep_cp_agent` */
  readonly binary?: string
  /** Pause of its loop between two looks at the mailbox, in milliseconds, at least 1. @defaultValue the agent's own, 1 */
  readonly pollMs?: number
  /** Most messages that it takes in one turn of the loop, at least 1. @defaultValue the agent's own, 6 */
  readonly maxMessages?: number
  /** Path of `stdbuf`: without it half of what the agent says comes in blocks, long after it has happened. */
  readonly stdbuf?: string
}

/** The command that starts the control agent. @throws OffloadError INVALID_CONFIG for a path that is not absolute, or a number below 1 */
export function agentCommand(choice: AgentCommandChoice): [string, ...string[]] {
  const { generation, cfg, binary = `/usr/bin/${AGENT_PROGRAM}`, stdbuf } = choice
  for (const [field, path] of Object.entries({ cfg, binary, stdbuf: stdbuf ?? '/' }))
    if (!path.startsWith('/')) throw wrong(field, path, 'an absolute path is expected')
  const numbers = [...number('-y', 'pollMs', choice.pollMs), ...number('-m', 'maxMessages', choice.maxMessages)]
  const library = generation.options.length === 0 ? [] : ['--', ...generation.options]
  const agent = [binary, cfg, ...numbers, ...library] as const
  return stdbuf === undefined ? [...agent] : [stdbuf, '-oL', ...agent]
}

/** The agent takes its default for anything below 1, without a word. */
function number(option: string, field: string, value: number | undefined): string[] {
  if (value === undefined) return []
  if (!Number.isInteger(value) || value < 1) throw wrong(field, value, 'a whole number of at least 1 is expected')
  return [option, String(value)]
}

const wrong = (field: string, value: unknown, expected: string): OffloadError =>
  new OffloadError('INVALID_CONFIG', `control agent: ${field} = ${JSON.stringify(value)}: ${expected}`, { hint: `correct ${field}` })

/** What a command line says about a control agent. */
export interface AgentCommandLine {
  /** Its configuration. */
  readonly cfg: string
  /** PCI link; undefined of the oldest agents. */
  readonly pem: string | undefined
  /** DMA engine, where it has got one. */
  readonly dpi: string | undefined
  /** Packet interfaces of its own. */
  readonly sdpRvu: readonly string[]
  /** Pause of its loop in each turn, milliseconds, as the agent takes it: 1 for anything that is no number above 0. */
  readonly pollMs: number
}

/** Reads the command line of a process; undefined if it is none of a control agent. An interpreter or `stdbuf` may stand in front. */
export function parseAgentCommand(argv: readonly string[], program: string = AGENT_PROGRAM): AgentCommandLine | undefined {
  const at = argv.findIndex((argument) => basename(argument) === program)
  const cfg = argv[at + 1]
  if (at < 0 || cfg === undefined) return undefined
  const rest = argv.slice(at + 2)
  const library = rest.slice(rest.indexOf('--') + 1)
  const own = rest.slice(0, rest.includes('--') ? rest.indexOf('--') : undefined)
  const poll = Math.trunc(Number(own[own.indexOf('-y') + 1] ?? ''))
  const option = (name: string): string | undefined => {
    const index = library.indexOf(name)
    return index < 0 ? undefined : library[index + 1]
  }
  return {
    cfg,
    pem: option('--pem_dev'),
    dpi: option('--dpi_dev'),
    sdpRvu: option('--sdp_rvu_pf')?.split(',') ?? [],
    pollMs: own.includes('-y') && poll > 0 ? poll : 1,
  }
}
