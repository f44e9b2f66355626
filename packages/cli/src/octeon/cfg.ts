import { readFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import {
  AGENT_CHIPS,
  type AgentChip,
  checkAgentConfig,
  formatAgentConfig,
  generateAgentConfig,
  heartbeatWindowMs,
  LIMITS,
  problemText,
} from '@cni-offload/hw-octeon'
import { OffloadError } from '@cni-offload/sdk'
import { Command, Option } from 'commander'
import { count } from '../commands/options.ts'

interface Options {
  readonly node: string
  readonly device: string
  readonly chip: AgentChip
  readonly vfs: number
  readonly hbInterval: number
  readonly hbMissCount: number
  readonly speed: number
  readonly check?: string
}

/** `offload octeon cfg`: prints a configuration of the control agent, or looks at one. */
export function cfgCommand(): Command {
  return new Command('cfg')
    .description("print a configuration for the card's control agent, octep_cp_agent, with addresses of this node; or look at one")
    .option('--node <name>', 'the node that the card is in, as Kubernetes names it: part of every MAC address', hostname())
    .option('--device <name>', 'name of the card, as in the options of the hardware backend', 'octeon0')
    .addOption(new Option('--chip <name>', 'chip').choices(Object.keys(AGENT_CHIPS)).default('CN106xx'))
    .option('--vfs <n>', `virtual functions, 1 to ${LIMITS.vfs}`, count, LIMITS.vfs)
    .option('--hb-interval <ms>', 'milliseconds between two heartbeats, 1000 to 15000', count, 1000)
    .option('--hb-miss-count <n>', 'heartbeats that may be missing before the host takes the interfaces down', count, 20)
    .option('--speed <Mb/s>', 'speed that ethtool shows; it limits nothing', count, 10_000)
    .option('--check <file>', 'look at this file instead, and say all that is wrong with it')
    .action(async (options: Options) => {
      process.stdout.write(options.check === undefined ? made(options) : await checked(options.check))
    })
}

function made({ node, device, chip, vfs, hbInterval, hbMissCount, speed }: Options): string {
  const heartbeat = { intervalMs: hbInterval, missCount: hbMissCount }
  const config = generateAgentConfig({ node, device, chip, vfs, heartbeat, speedMbps: speed })
  return formatAgentConfig(config, [
    `${AGENT_CHIPS[chip]}: the control agent of ${device} in ${node}`,
    `Without heartbeats the host takes its interfaces down after ${heartbeatWindowMs(heartbeat) / 1000} s.`,
    'Made by: offload octeon cfg. The agent reads it only when it starts.',
  ])
}

/** @throws OffloadError INVALID_CONFIG, with a line for each problem, if one of them is an error */
async function checked(file: string): Promise<string> {
  const { config, problems } = checkAgentConfig(await textOf(file))
  const lines = problems.map((problem) => problemText(file, problem))
  if (config === undefined)
    throw new OffloadError('INVALID_CONFIG', `the control agent cannot be given this file:\n${lines.join('\n')}`, {
      hint: 'correct the errors, or make a file: offload octeon cfg --node NAME',
    })
  const functions = config.pems.flatMap(({ pfs }, pem) =>
    pfs.map(({ mac, vfs, heartbeat: { intervalMs, missCount } }, pf) => {
      return `pem ${pem} pf ${pf}: ${mac}, ${vfs.length} VFs, a heartbeat each ${intervalMs} ms, ${missCount} may be missing`
    }),
  )
  return [...lines, ...functions].map((line) => `${line}\n`).join('')
}

async function textOf(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    throw OffloadError.from(error, 'IO_FAILURE', `--check = ${file}`)
  }
}
