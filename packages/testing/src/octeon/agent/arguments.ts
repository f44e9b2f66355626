/** Generations of the control agent: they differ in what they work with, and in their arguments. */
export const AGENT_GENERATIONS = ['gen0', 'gen1', 'gen2', 'gen3'] as const

/** A generation of the control agent. */
export type AgentGeneration = (typeof AGENT_GENERATIONS)[number]

/** Functions that an agent was told to work with. */
export interface AgentDevices {
  readonly pem?: string
  readonly dpi?: string
  /** One of them, or two, by generation. */
  readonly sdp: readonly string[]
}

/** What an agent was told. */
export interface AgentArguments {
  /** Path of its configuration. */
  readonly config: string
  /** Milliseconds between two polls. */
  readonly yieldMs: number
  /** Messages and events in one poll. */
  readonly messages: number
  /** What it complains about and goes on. */
  readonly complaints: readonly string[]
  /** Functions, or why it ends. */
  readonly devices: AgentDevices | AgentExit
}

/** How an agent ends. */
export interface AgentExit {
  /** Exit code. */
  readonly code: number
  /** What it says about that. */
  readonly text: string
}

/** Names of options behind `--` that a generation knows. */
const OPTIONS: Readonly<Record<AgentGeneration, readonly string[]>> = {
  gen0: [],
  gen1: ['--dpi_dev', '--pem_dev'],
  gen2: ['--sdp_rvu_pf', '--pem_dev', '--dpi_dev'],
  gen3: ['--sdp_rvu_pf', '--pem_dev'],
}

const BDF = /^[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/i
const NO_DEVICE = 237
const INVALID_OPTION: AgentExit = { code: 255, text: 'CNXK: Invalid option.' }

/** Reads the arguments behind the program's name. @returns undefined where there are none */
export function readArguments(argv: readonly string[], generation: AgentGeneration): AgentArguments | undefined {
  const [config, ...rest] = argv
  if (config === undefined) return undefined
  const at = rest.indexOf('--')
  const own = at < 0 ? rest : rest.slice(0, at)
  const app = appOptions(own)
  return { config, ...app, devices: devicesOf(at < 0 ? [] : rest.slice(at + 1), generation) }
}

/** `-y` and `-m`; what is not positive counts as the default, and what is not known is complained about only. */
function appOptions(args: readonly string[]): Pick<AgentArguments, 'yieldMs' | 'messages' | 'complaints'> {
  const found = { yieldMs: 1, messages: 6 }
  const complaints: string[] = []
  for (let at = 0; at < args.length; at += 1) {
    const key = args[at] === '-y' ? 'yieldMs' : args[at] === '-m' ? 'messages' : undefined
    if (key === undefined) complaints.push(`APP: Usage: octep_cp_agent <config file> [-y <ms>] [-m <count>] [-- <library options>]`)
    else {
      const value = Math.trunc(Number(args[(at += 1)]))
      if (value > 0) found[key] = value
    }
  }
  return { ...found, complaints }
}

function devicesOf(args: readonly string[], generation: AgentGeneration): AgentDevices | AgentExit {
  const values = new Map<string, string>()
  for (let at = 0; at < args.length; at += 2) {
    const [name = '', value] = args.slice(at, at + 2)
    if (!OPTIONS[generation].includes(name) || value === undefined) return INVALID_OPTION
    values.set(name, value)
  }
  const pem = values.get('--pem_dev')
  const dpi = values.get('--dpi_dev')
  const sdp = values.get('--sdp_rvu_pf')
  if (generation === 'gen0') return { sdp: [] }
  if (pem !== undefined && !BDF.test(pem)) return { code: NO_DEVICE, text: 'CNXK: Invalid PEM device BDF' }
  if (dpi !== undefined && !BDF.test(dpi)) return { code: NO_DEVICE, text: 'CNXK: Invalid DPI device BDF' }
  // Group 0, which nobody has, is what it tries where it was told none.
  if (pem === undefined) return { code: NO_DEVICE, text: 'CNXK: failed to open PEM VFIO group at /dev/vfio/0' }
  if (generation === 'gen1')
    return dpi === undefined ? { code: NO_DEVICE, text: 'CNXK: failed to open DPI VFIO group at /dev/vfio/0' } : { pem, dpi, sdp: [] }
  const functions = (sdp ?? '').split(',').filter((part) => part !== '')
  if (generation === 'gen2') {
    if (functions.length !== 1 || !BDF.test(functions[0] ?? '')) return { code: NO_DEVICE, text: 'CNXK: Invalid DPI device BDF' }
    return { pem, sdp: functions, ...(dpi === undefined ? {} : { dpi }) }
  }
  if (functions.length < 2 || !functions.every((part) => BDF.test(part)))
    return {
      code: NO_DEVICE,
      text: `CNXK: Unable to parse SDP RVU PF BDFs from ${sdp ?? '(null)'}. Requires at least 2 comma separated BDFs`,
    }
  return { pem, sdp: functions }
}
