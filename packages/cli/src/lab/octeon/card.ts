import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type FakeCardProcessConfig, installFakeOctepCpAgent } from '@cni-offload/testing/octeon'
import { stringify } from 'yaml'
import { ADDRESSES } from '../addresses.ts'
import type { DaemonRole, LabCard } from '../model.ts'

/** The host notices a control agent that hangs within seconds; twenty of them, as it is by default, would be long to watch. */
const HEARTBEAT = { intervalMs: 1_000, missCount: 8 }

/** A plugin as the configuration of a daemon names it. */
export interface PluginEntry {
  /** Module. */
  readonly plugin: string
  /** Its export. */
  readonly export: string
  /** Options. */
  readonly options: object
}

/** A fake card, and the control agent for it. */
export interface OcteonCard extends LabCard {
  /** The fake octep_cp_agent. */
  readonly binary: string
  /** Where its configuration is put. */
  readonly cfg: string
}

/** Folder of a node's control agent. */
export function controlAgentFolder(nodeDir: string): string {
  return join(nodeDir, 'octeon')
}

/** What the fake card of a node is made from. */
export interface OcteonInput {
  /** Folder of the node. */
  readonly dir: string
  /** Namespace of the host. */
  readonly hostNetns: string
  /** Namespace of the DPU. */
  readonly dpuNetns: string
  /** Name of the namespace that stands for the inside of the card. */
  readonly silicon: string
  /** VFs that it has. */
  readonly vfs: number
}

/** Writes the configuration of a node's fake card, which is as after the machines have booted, and puts its control agent into place. */
export async function prepareOcteon({ dir, hostNetns, dpuNetns, silicon, vfs }: OcteonInput): Promise<OcteonCard> {
  const folder = controlAgentFolder(dir)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const socket = join(dir, 'card.sock')
  const card: FakeCardProcessConfig = { socket, hostNetns, dpuNetns, siliconName: silicon, vfs, state: 'fresh', agent: 'none' }
  const config = join(dir, 'card.yaml')
  await writeFile(config, stringify(card))
  const binary = await installFakeOctepCpAgent(folder, { card: socket })
  return { pid: null, config, log: join(dir, 'card.log'), socket, binary, cfg: join(folder, 'octeon.cfg') }
}

/** The plugins of both daemons: the backend itself, over the fake card instead of the machine. */
export function octeonPlugins(
  { socket, binary, cfg }: OcteonCard,
  { device, vfs, name }: { readonly device: string; readonly vfs: number; readonly name: string },
): Record<DaemonRole, PluginEntry> {
  const plugin = fileURLToPath(new URL(`./plugins.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`, import.meta.url))
  const address = (end: 'host' | 'agent'): string => `${ADDRESSES.pf[end]}/${ADDRESSES.pf.prefix}`
  return {
    host: { plugin, export: 'fakeOcteonHost', options: { socket, octeon: { device, vfs, managementAddress: address('host') } } },
    agent: {
      plugin,
      export: 'fakeOcteonDpu',
      options: {
        socket,
        folder: dirname(cfg),
        octeon: { device, controlAgent: { binary, cfg, setup: { node: name, managementAddress: address('agent'), heartbeat: HEARTBEAT } } },
      },
    },
  }
}
