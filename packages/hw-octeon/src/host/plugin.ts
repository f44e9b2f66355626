import { join } from 'node:path'
import { createLinuxNet, type LinuxNet, OWN_NETNS } from '@cni-offload/linux'
import { deviceName, netnsPath, owning } from '@cni-offload/linux/function'
import { localMachine, type Machine } from '@cni-offload/linux/machine'
import { definePlugin, type HostDevice, OffloadError, type Plugin, type PluginDeps } from '@cni-offload/sdk'
import { z } from 'zod'
import { managementAddress, pciAddress, rootFolder, type WithDefaults } from '../options.ts'
import { FunctionBook } from './function-book.ts'
import { OcteonHost } from './octeon-host.ts'

/** Options of {@link octeonHost}. */
export interface OcteonHostOptions {
  /** Name of the card, 1 to 8 lower-case letters and digits, the same on the DPU. @defaultValue 'octeon0' */
  readonly device?: string | undefined
  /** PCI address of its physical function. @defaultValue the only one of this machine */
  readonly pf?: string | undefined
  /** How many virtual functions it is to have, 1 to 127. @defaultValue those that it has; where it has none, as many as it carries */
  readonly vfs?: number | undefined
  /** Address with prefix length for the physical function's interface, its end of the management link. @defaultValue none is set */
  readonly managementAddress?: string | undefined
  /** Longest wait for the firmware, milliseconds, 1000 to 600000. @defaultValue 20000 */
  readonly readyMs?: number | undefined
  /**
   * What may be done when a lost link does not come back by itself: `never` leaves the drivers alone, `idle` loads them anew while no pod has a
   * function. @defaultValue 'never'
   */
  readonly reloadDrivers?: 'never' | 'idle' | undefined
  /** Namespace that free functions lie in. @defaultValue the process's own */
  readonly netns?: string | undefined
  /** Where the machine's file system is mounted, for a daemon in a container. @defaultValue '/' */
  readonly root?: string | undefined
}

/** {@link OcteonHostOptions} with their defaults. */
export type OcteonHostConfig = WithDefaults<OcteonHostOptions, 'device' | 'readyMs' | 'reloadDrivers' | 'netns' | 'root'>

/** Schema of {@link OcteonHostOptions}. */
export const octeonHostOptions: z.ZodType<OcteonHostConfig, OcteonHostOptions> = z.strictObject({
  device: deviceName.default('octeon0'),
  pf: pciAddress.optional(),
  vfs: z.number().int().min(1).max(127).optional(),
  managementAddress: managementAddress.optional(),
  readyMs: z.number().int().min(1_000).max(600_000).default(20_000),
  reloadDrivers: z.enum(['never', 'idle']).default('never'),
  netns: netnsPath.default(OWN_NETNS),
  root: rootFolder.default('/'),
})

/**
 * Makes the host half on a machine: what {@link octeonHost} does on the one that it runs on.
 *
 * @param net - kernel access of that machine, disposed with the device. @defaultValue that of this process
 */
export async function makeOcteonHost(
  { log, clock, stateDir }: PluginDeps,
  { device, pf, vfs, managementAddress: address, readyMs, reloadDrivers, netns }: Omit<OcteonHostConfig, 'root'>,
  machine: Machine,
  net?: LinuxNet,
): Promise<HostDevice> {
  const boot = await machine.read('/proc/sys/kernel/random/boot_id').catch((error: unknown) => {
    throw OffloadError.from(error, 'IO_FAILURE', '/proc/sys/kernel/random/boot_id')
  })
  const book = await FunctionBook.open({ files: localMachine(), path: join(stateDir, 'functions.json'), boot: boot.trim(), log })
  const own = net ?? createLinuxNet()
  const options = { pf, vfs, managementAddress: address, readyMs }
  const mayReload = reloadDrivers === 'idle'
  return owning(own, new OcteonHost({ machine, net: own, clock, log, book, device, netns, options, mayReload }))
}

/** The host half of an OCTEON. */
export const octeonHost: Plugin<'host-device', z.ZodType<OcteonHostConfig, OcteonHostOptions>> = definePlugin({
  kind: 'host-device',
  name: 'octeon',
  specVersion: 'v1',
  options: octeonHostOptions,
  create: (deps, options) => makeOcteonHost(deps, options, localMachine(options.root)),
})
