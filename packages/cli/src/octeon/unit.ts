import {
  agentCommand,
  agentConfigPath,
  agentDevices,
  agentGeneration,
  AGENT_SDKS,
  type AgentSdk,
  agentUnit,
  OUT_OF_TREE_MODULE,
  readInventory,
} from '@cni-offload/hw-octeon'
import { ifPresent, type Machine } from '@cni-offload/linux/machine'
import { Command, Option } from 'commander'
import { count } from '../commands/options.ts'
import type { OcteonSite } from './site.ts'

/** Options of `offload octeon unit`. */
export interface UnitOptions {
  /** Release of the agent. */
  readonly sdk: AgentSdk | 'auto'
  /** Its configuration; that of the chip by default. */
  readonly cfg?: string
  /** Its program. */
  readonly binary: string
  /** Program that is run before. */
  readonly prepare?: string
  /** Pause between two looks, in milliseconds. */
  readonly poll?: number
  /** Most messages per look. */
  readonly maxMessages?: number
}

/** `offload octeon unit`: prints a unit for systemd that runs the control agent. */
export function unitCommand({ machine }: OcteonSite): Command {
  return new Command('unit')
    .description("print a unit for systemd that runs the card's control agent, octep_cp_agent, on this DPU")
    .addOption(new Option('--sdk <version>', 'release of the agent, as its SDK').choices(['auto', ...AGENT_SDKS]).default('auto'))
    .option('--cfg <file>', 'its configuration (/etc/cni-offload/cn106xx.cfg, by chip)')
    .option('--binary <file>', 'its program', '/usr/bin/octep_cp_agent')
    .option('--prepare <file>', 'program that is run before, without arguments')
    .option('--poll <ms>', 'pause between two looks at the mailbox', count)
    .option('--max-messages <n>', 'most messages per look', count)
    .option('--root <folder>', 'where the files of the DPU are', '/')
    .action(async (options: UnitOptions & { readonly root: string }) => {
      process.stdout.write(await unitFor(options, machine(options.root)))
    })
}

/** A unit for what a machine has. @throws OffloadError as of `agentGeneration` and `agentCommand` */
export async function unitFor({ sdk, cfg, binary, prepare, poll, maxMessages }: UnitOptions, machine: Machine): Promise<string> {
  const modules = await ifPresent(machine.read('/proc/modules'))
  const outOfTree = modules === undefined ? undefined : modules.split('\n').some((line) => line.startsWith(`${OUT_OF_TREE_MODULE} `))
  const inventory = await readInventory(machine)
  const generation = agentGeneration(agentDevices(inventory, outOfTree), sdk)
  const found = (await ifPresent(machine.list('/usr/bin')))?.includes('stdbuf') === true
  const argv = agentCommand({
    generation,
    cfg: cfg ?? agentConfigPath(inventory),
    binary,
    ...(poll === undefined ? {} : { pollMs: poll }),
    ...(maxMessages === undefined ? {} : { maxMessages }),
    ...(found ? { stdbuf: '/usr/bin/stdbuf' } : {}),
  })
  return agentUnit({ argv, module: generation.module, ...(prepare === undefined ? {} : { prepare: [prepare] }) })
}
