import type { Link, LinuxNet, NetnsPath } from '@cni-offload/linux'
import { parseNote, searchEverywhere } from '@cni-offload/linux/function'
import {
  type DeviceEvent,
  type DpuDevice,
  formatVfId,
  type Logger,
  OffloadError,
  type OpContext,
  type PortRef,
  type VfId,
} from '@cni-offload/sdk'
import { aborted, refuseIfAborted } from '@cni-offload/sdk/runtime'
import { endOf } from './card.ts'

/** What a {@link SoftDpu} is made of. */
export interface SoftDpuDeps {
  /** Kernel access; not disposed by the device. */
  readonly net: LinuxNet
  /** Logger. */
  readonly log: Logger
  /** Name of the device. */
  readonly device: string
  /** How many functions it has. */
  readonly vfs: number
  /** Node that the card belongs to; where it is not given, a card of this device name is taken for it whatever its node. */
  readonly node?: string
  /** Namespace of the agent: where ports lie before an adapter moves them. */
  readonly netns: NetnsPath
}

/** The DPU half of the software card: an explicit map from function to port, verified by the notes on the links. */
export class SoftDpu implements DpuDevice {
  readonly name: string = 'soft'
  readonly specVersion = 'v1'
  readonly #net: LinuxNet
  readonly #log: Logger
  readonly #device: string
  readonly #vfs: number
  readonly #node: string | undefined
  readonly #netns: NetnsPath
  #ports: ReadonlyMap<string, PortRef> = new Map()

  /** Makes the device; the map is made by `start`. */
  constructor(deps: SoftDpuDeps) {
    this.#net = deps.net
    this.#log = deps.log
    this.#device = deps.device
    this.#vfs = deps.vfs
    this.#node = deps.node
    this.#netns = deps.netns
  }

  /**
   * Maps every function to its port. A port that an adapter already holds elsewhere, in a proxy namespace for example,
   * keeps its place in the map; one that exists nowhere is logged and stays in the map too, since it comes back under the
   * same name when its function is plugged anew.
   *
   * @throws OffloadError HARDWARE_FAILURE if something else has a port's name, or if no port exists at all
   */
  async start(signal: AbortSignal): Promise<void> {
    refuseIfAborted(signal)
    const ports = Array.from({ length: this.#vfs }, (_, index): PortRef => ({
      vf: { device: this.#device, index },
      name: `${this.#device}p${index}`,
    }))
    const links = await this.#net.links(this.#netns)
    for (const port of ports) {
      const link = links.find(({ name }) => name === port.name)
      // One without a note goes away when the host plugs its function anew: somebody was killed while making it.
      if (link !== undefined && !this.#isPort(link, port) && !(link.kind === 'veth' && link.alias === ''))
        throw new OffloadError(
          'HARDWARE_FAILURE',
          `link "${port.name}" is not the port of function ${formatVfId(port.vf)}: its alias is "${link.alias}"`,
          {
            hint: 'remove or rename that link, or choose another device name',
          },
        )
    }
    const everywhere = await searchEverywhere(this.#net, [this.#netns])
    const missing = ports.filter((port) => !everywhere.some(({ link }) => this.#isPort(link, port)))
    if (missing.length === ports.length)
      throw new OffloadError(
        'HARDWARE_FAILURE',
        `the software card "${this.#device}" has no port here: expected "${this.#device}p0" to "${this.#device}p${this.#vfs - 1}"`,
        {
          hint: 'plug the card in first, and run the agent in the namespace that holds its ports',
        },
      )
    if (missing.length > 0)
      this.#log.warn(
        { device: this.#device, missing: missing.map(({ name }) => name) },
        'some ports of the software card do not exist at the moment',
      )
    this.#ports = new Map(ports.map((port) => [formatVfId(port.vf), port]))
  }

  async ports(ctx: OpContext): Promise<PortRef[]> {
    refuseIfAborted(ctx.signal)
    return [...this.#ports.values()]
  }

  async port(vf: VfId, ctx: OpContext): Promise<PortRef> {
    refuseIfAborted(ctx.signal)
    const port = this.#ports.get(formatVfId(vf))
    if (port === undefined)
      throw new OffloadError(
        'HARDWARE_FAILURE',
        `function ${formatVfId(vf)} has no port: the software card "${this.#device}" has ${this.#ports.size} of them`,
        {
          hint: this.#ports.size === 0 ? 'start the device first' : 'compare the options device and vfs of the host and of the agent',
        },
      )
    return port
  }

  /** Nothing until the signal aborts: a veth pair has no firmware that could fail. */
  async *watch(signal: AbortSignal): AsyncIterable<DeviceEvent> {
    await aborted(signal)
  }

  #isPort(link: Link, port: PortRef): boolean {
    const note = parseNote(link.alias)
    if (note?.end !== 'port' || note.name !== port.name || formatVfId(note.vf) !== formatVfId(port.vf)) return false
    return (
      this.#node === undefined ||
      note.mac === endOf({ device: this.#device, vfs: this.#vfs, node: this.#node, mtu: note.mtu }, port.vf, 'port').mac
    )
  }
}
