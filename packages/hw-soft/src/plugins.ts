import { hostname } from 'node:os'
import { createLinuxNet, OWN_NETNS } from '@cni-offload/linux'
import { deviceName, netnsPath, owning } from '@cni-offload/linux/function'
import { definePlugin, type DpuDevice, type HostDevice, type Plugin } from '@cni-offload/sdk'
import { z } from 'zod'
import { type Card, cardMtu, pciBus, vfCount } from './card.ts'
import { SoftDpu } from './soft-dpu.ts'
import { SoftHost } from './soft-host.ts'

/** Options of {@link softHost}. */
export interface SoftHostOptions {
  /** Name of the device, 1 to 8 lower-case letters and digits. @defaultValue 'soft0' */
  readonly device?: string | undefined
  /** How many functions the card has, 1 to 1024. @defaultValue 8 */
  readonly vfs?: number | undefined
  /** Node that the card belongs to, the same as it was plugged with. @defaultValue the machine's host name */
  readonly node?: string | undefined
  /** MTU of free functions in bytes, 1280 to 65535. @defaultValue 1500 */
  readonly mtu?: number | undefined
  /**
   * Domain and bus, `0000:00` to `ffff:ef`, of PCI addresses that are made up for the functions. They make `deviceID`, device
   * plugins and device information files work as on a card; no such PCI device exists. @defaultValue none: functions have no PCI address
   */
  readonly pciBus?: string | undefined
  /** Largest MTU that the card is to carry, in bytes, 1280 to 65535: networks with a larger one are refused. @defaultValue 65535 */
  readonly maxMtu?: number | undefined
  /** Namespace that free functions lie in. @defaultValue the process's own */
  readonly netns?: string | undefined
  /** Namespace of the DPU's agent; with it a function that was destroyed together with its pod is plugged anew. */
  readonly dpuNetns?: string | undefined
}

/** Options of {@link softDpu}. */
export interface SoftDpuOptions {
  /** Name of the device, the same as on the host. @defaultValue 'soft0' */
  readonly device?: string | undefined
  /** How many functions the card has, the same as on the host. @defaultValue 8 */
  readonly vfs?: number | undefined
  /**
   * Node that the card belongs to. Give it where the cards of several nodes are on one machine, as in a lab; without it a
   * card of this device name is taken for the agent's whatever its node.
   */
  readonly node?: string | undefined
  /** Namespace that the ports lie in. @defaultValue the process's own */
  readonly netns?: string | undefined
}

interface HostConfig extends Card {
  readonly maxMtu: number
  readonly netns: string
  readonly dpuNetns?: string | undefined
}

interface DpuConfig extends Pick<Card, 'device' | 'vfs'> {
  readonly node?: string | undefined
  readonly netns: string
}

const hostOptions: z.ZodType<HostConfig, SoftHostOptions> = z
  .strictObject({
    device: deviceName.default('soft0'),
    vfs: vfCount.default(8),
    node: z.string().min(1).default(hostname),
    mtu: cardMtu.default(1500),
    maxMtu: cardMtu.default(65_535),
    pciBus: pciBus.optional(),
    netns: netnsPath.default(OWN_NETNS),
    dpuNetns: netnsPath.optional(),
  })
  .refine(({ mtu, maxMtu }) => mtu <= maxMtu, { path: ['mtu'], message: 'at most maxMtu' })

const dpuOptions: z.ZodType<DpuConfig, SoftDpuOptions> = z.strictObject({
  device: deviceName.default('soft0'),
  vfs: vfCount.default(8),
  node: z.string().min(1).optional(),
  netns: netnsPath.default(OWN_NETNS),
})

/** The host half of the software card. The card must have been plugged in, see {@link plugCard}. */
export const softHost: Plugin<'host-device', z.ZodType<HostConfig, SoftHostOptions>> = definePlugin({
  kind: 'host-device',
  name: 'soft',
  specVersion: 'v1',
  options: hostOptions,
  create(deps, { netns, dpuNetns, maxMtu, ...card }): HostDevice {
    const net = createLinuxNet()
    return owning(net, new SoftHost({ net, clock: deps.clock, card, netns, maxMtu, ...(dpuNetns === undefined ? {} : { dpuNetns }) }))
  },
})

/** The DPU half of the software card. The card must have been plugged in, see {@link plugCard}. */
export const softDpu: Plugin<'dpu-device', z.ZodType<DpuConfig, SoftDpuOptions>> = definePlugin({
  kind: 'dpu-device',
  name: 'soft',
  specVersion: 'v1',
  options: dpuOptions,
  create(deps, { node, ...card }): DpuDevice {
    const net = createLinuxNet()
    return owning(net, new SoftDpu({ net, log: deps.log, ...card, ...(node === undefined ? {} : { node }) }))
  },
})
