import { join } from 'node:path'
import { createLinuxNet, type LinuxNet, OWN_NETNS } from '@cni-offload/linux'
import { deviceName, netnsPath, owning } from '@cni-offload/linux/function'
import { localMachine, type Machine } from '@cni-offload/linux/machine'
import { definePlugin, type DpuDevice, type Plugin, type PluginDeps } from '@cni-offload/sdk'
import { z } from 'zod'
import type { AgentHeartbeat } from '../cfg/model.ts'
import { AGENT_SDKS, type AgentSdk } from '../control-agent/generation.ts'
import { CptEngine } from '../crypto/cpt.ts'
import type { PortTable } from '../map/ports.ts'
import { managementAddress, pciAddress, rootFolder, type WithDefaults } from '../options.ts'
import type { OcteonInventory } from '../pci/inventory.ts'
import { planSetup } from '../setup/plan.ts'
import { Receipt } from '../setup/receipt.ts'
import { takeSetupLock } from '../setup/lock.ts'
import { applySetup } from '../setup/setup.ts'
import { setupWish } from '../setup/wish.ts'
import type { ControlPlane } from './control-plane.ts'
import { OcteonDpu } from './octeon-dpu.ts'
import { SupervisedAgent } from './supervised-agent.ts'
import { WatchedAgent } from './watched-agent.ts'

/** Options of {@link octeonDpu}. */
export interface OcteonDpuOptions {
  /** Name of the card, 1 to 8 lower-case letters and digits, the same on the host. @defaultValue 'octeon0' */
  readonly device?: string | undefined
  /** Who runs octep_cp_agent, and how. */
  readonly controlAgent?: ControlAgentOptions | undefined
  /** Which function belongs to which VF, by PCI address, for firmware with more than one physical function. @defaultValue by number */
  readonly ports?: PortTable | undefined
  /** Namespace that the ports lie in. @defaultValue the process's own */
  readonly netns?: string | undefined
  /** Where the machine's file system is mounted, for an agent in a container. @defaultValue '/' */
  readonly root?: string | undefined
}

/** Options of the control agent. */
export interface ControlAgentOptions {
  /** `supervise` runs it as a child and keeps it alive; `external` leaves it to somebody else, such as systemd. @defaultValue 'supervise' */
  readonly run?: 'supervise' | 'external' | undefined
  /** With `external`, the unit of systemd that runs it. @defaultValue 'octep-cp-agent.service' */
  readonly unit?: string | undefined
  /** The program. @defaultValue '/usr/bin/octep_cp_agent' */
  readonly binary?: string | undefined
  /** Its configuration. @defaultValue by chip, as `offload octeon setup` has it: '/etc/cni-offload/cn106xx.cfg' */
  readonly cfg?: string | undefined
  /** Its release. @defaultValue 'auto', the one that fits the firmware */
  readonly sdk?: AgentSdk | 'auto' | undefined
  /**
   * With it, what `offload octeon setup` makes is made before the control agent is started: modules, huge pages, vfio, and a configuration for
   * the node, its chip and as many VFs as it has ports for.
   */
  readonly setup?: SetupOptions | undefined
}

/** What is made for the control agent. */
export interface SetupOptions {
  /** The node, from whose name the MAC addresses of the host's functions are made. */
  readonly node: string
  /** Address with prefix length of the DPU's end of the management link. @defaultValue none is set */
  readonly managementAddress?: string | undefined
  /** Heartbeats: their distance, 1000 to 15000 ms, and after how many that are missed the host gives the card up. @defaultValue 20 of 1000 ms */
  readonly heartbeat?: Partial<AgentHeartbeat> | undefined
  /** Whether the kernel gets a function of the crypto engine, for associations of IPsec that are made from then on. @defaultValue false */
  readonly crypto?: boolean | undefined
}

/** {@link ControlAgentOptions} with their defaults. */
export type ControlAgentConfig = WithDefaults<ControlAgentOptions, 'run' | 'unit' | 'binary' | 'sdk'>

/** {@link OcteonDpuOptions} with their defaults. */
export interface OcteonDpuConfig extends WithDefaults<Omit<OcteonDpuOptions, 'controlAgent'>, 'device' | 'netns' | 'root'> {
  /** Who runs octep_cp_agent, and how. */
  readonly controlAgent: ControlAgentConfig
}

/** Name of the file, in the backend's folder, that notes the process of a control agent that this backend runs. */
export const AGENT_PID_FILE = 'octep_cp_agent.pid'

const absolute = z.string().startsWith('/', 'an absolute path')

const controlAgent: z.ZodType<ControlAgentConfig, ControlAgentOptions> = z.strictObject({
  run: z.enum(['supervise', 'external']).default('supervise'),
  unit: z.string().min(1).default('octep-cp-agent.service'),
  binary: absolute.default('/usr/bin/octep_cp_agent'),
  cfg: absolute.optional(),
  sdk: z.enum([...AGENT_SDKS, 'auto']).default('auto'),
  setup: z
    .strictObject({
      node: z.string().min(1).max(253),
      managementAddress: managementAddress.optional(),
      heartbeat: z.strictObject({ intervalMs: z.number().exactOptional(), missCount: z.number().exactOptional() }).optional(),
      crypto: z.boolean().optional(),
    })
    .optional(),
})

/** Schema of {@link OcteonDpuOptions}. */
export const octeonDpuOptions: z.ZodType<OcteonDpuConfig, OcteonDpuOptions> = z
  .strictObject({
    device: deviceName.default('octeon0'),
    controlAgent: controlAgent.prefault({}),
    ports: z.strictObject({ management: pciAddress, vfs: z.array(pciAddress).min(1) }).optional(),
    netns: netnsPath.default(OWN_NETNS),
    root: rootFolder.default('/'),
  })
  .refine(({ root, controlAgent: { run } }) => root === '/' || run === 'external', {
    path: ['controlAgent', 'run'],
    message: "'external' where root is not '/': a child would run in this container, not on the machine",
  })
  .refine(({ controlAgent: { run, setup } }) => run === 'supervise' || setup === undefined, {
    path: ['controlAgent', 'setup'],
    message:
      "no set-up where run is 'external': whoever starts the control agent does so before this agent comes; use `offload octeon setup`",
  })

/** Makes the DPU half on a machine: what {@link octeonDpu} does on the one that it runs on. */
export async function makeOcteonDpu(deps: PluginDeps, config: Omit<OcteonDpuConfig, 'root'>, machine: Machine): Promise<DpuDevice> {
  const { device, netns, ports: table } = config
  const net = createLinuxNet()
  const crypto = await CptEngine.open({ machine }).catch((error: unknown) => {
    deps.log.warn({ err: error }, 'the crypto engine of the card cannot be read')
    return undefined
  })
  const dpu = new OcteonDpu({
    machine,
    net,
    log: deps.log,
    controlPlane: controlPlaneOf(deps, config, machine, net),
    device,
    netns,
    ...(table === undefined ? {} : { table }),
    ...(crypto === undefined ? {} : { crypto }),
  })
  return owning(net, dpu)
}

function controlPlaneOf(
  { log, clock, stateDir }: PluginDeps,
  { device, netns, ports, controlAgent: { run, unit, setup, binary, cfg, sdk } }: Omit<OcteonDpuConfig, 'root'>,
  machine: Machine,
  net: LinuxNet,
): ControlPlane {
  if (run === 'external') return new WatchedAgent({ machine, clock, log }, { unit, sdk })
  const prepare = async (inventory: OcteonInventory, signal: AbortSignal): Promise<void> => {
    if (setup === undefined) return
    const { node, managementAddress: address, heartbeat, crypto } = setup
    const addresses = address === undefined ? [] : [address]
    const wish = await setupWish(machine, inventory, { sdk, addresses, cfg, node, device, heartbeat, ports, crypto })
    const site = { machine, net, netns, clock, signal }
    await using _lock = await takeSetupLock('DPU daemon', signal)
    const changes = await planSetup(inventory, wish, site)
    await applySetup(changes, await Receipt.open(machine), site, ({ change }) => log.info({ change }, 'the DPU is set up'))
  }
  return new SupervisedAgent({ machine, clock, log, prepare }, { binary, cfg, sdk, pidFile: join(stateDir, AGENT_PID_FILE) })
}

/** The DPU half of an OCTEON. */
export const octeonDpu: Plugin<'dpu-device', z.ZodType<OcteonDpuConfig, OcteonDpuOptions>> = definePlugin({
  kind: 'dpu-device',
  name: 'octeon',
  specVersion: 'v1',
  options: octeonDpuOptions,
  create: (deps, options) => makeOcteonDpu(deps, options, localMachine(options.root)),
})
