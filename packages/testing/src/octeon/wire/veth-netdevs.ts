import type { Link, LinuxNet, NetnsPath, NetOp } from '@cni-offload/linux'
import type { Turnstile } from '../turnstile.ts'
import { LinkMonitor } from './link-monitor.ts'
import { type CardSide, isOfFunction, type Netdevs, type NetdevSpec } from './netdevs.ts'

/** More than either side can ask for: what lies inside the card limits nothing. */
const INNER_MTU = 65_535

/** What {@link VethNetdevs} need. */
export interface VethNetdevsOptions {
  /** Kernel access. */
  readonly net: LinuxNet
  /** Network namespaces of the two sides. */
  readonly netns: Readonly<Record<CardSide, NetnsPath>>
  /** Name of the namespace that stands for the inside of the card; it is made, or emptied if it is there, and removed. */
  readonly silicon: string
  /** Lets one change at a time through. */
  readonly turnstile: Turnstile
}

/**
 * Interfaces that are real: each is one end of a veth pair whose other end lies in a namespace of its own, the inside of the card. Two
 * inner ends of the same wire are joined frame by frame (tc redirect), as soon as both exist.
 *
 * So the ends of the two sides live and die independently, an interface has carrier whatever the other side does with its own, and one
 * that was moved into a pod and renamed is still found to be removed: by its inner end. What differs from a card: the MTU of a function
 * may be set to 65535, where `octeon_ep_vf` refuses more than 9982; checksums are really offloaded; the interface has no parent device
 * in the real sysfs; and carrier comes with the interface instead of with the answer of the control agent.
 */
export class VethNetdevs implements Netdevs {
  readonly #options: VethNetdevsOptions
  readonly #inside: NetnsPath
  readonly #ends = new Map<string, NetdevSpec>()
  readonly #monitor: LinkMonitor

  private constructor(options: VethNetdevsOptions, inside: NetnsPath) {
    this.#options = options
    this.#inside = inside
    // What cannot be made again because a namespace ends meanwhile is missing, and is seen to be.
    this.#monitor = new LinkMonitor(inside, (dev) => void options.turnstile.run(() => this.#gone(dev)).catch(() => {}))
  }

  /** Makes the inside of the card. */
  static async create(options: VethNetdevsOptions): Promise<VethNetdevs> {
    const inside = await options.net.createNetns(options.silicon)
    const quiet: NetOp[] = [
      { op: 'sysctl', key: 'net.ipv6.conf.default.disable_ipv6', value: '1' },
      { op: 'sysctl', key: 'net.ipv6.conf.all.disable_ipv6', value: '1' },
    ]
    // Where the kernel has no IPv6, nothing speaks it.
    await options.net.apply(inside, quiet).catch(() => {})
    // A card whose process was killed has left its own.
    const left = (await options.net.links(inside)).filter(({ kind }) => kind === 'veth')
    await options.net.apply(
      inside,
      left.map(({ name }): NetOp => ({ op: 'link.del', dev: name })),
    )
    const netdevs = new VethNetdevs(options, inside)
    let up = false
    await netdevs.#monitor.started(() => options.net.apply(inside, [{ op: 'link.set', dev: 'lo', up: (up = !up) }]))
    return netdevs
  }

  async create(spec: NetdevSpec): Promise<void> {
    const { side, wire, name, mac, pci } = spec
    const { net, netns } = this.#options
    const inner = endName(side, wire)
    const other = endName(side === 'host' ? 'dpu' : 'host', wire)
    const links = await net.links(netns[side])
    const free = freeName(name, new Set(links.flatMap((link) => [link.name, ...link.altNames])))
    await net.apply(this.#inside, [
      {
        op: 'link.add-veth',
        dev: inner,
        mtu: INNER_MTU,
        peer: { name: free, netns: netns[side], mac, alias: `pci=${pci}` },
      },
      { op: 'link.set', dev: inner, up: true, traits: { arp: false } },
    ])
    this.#ends.set(inner, spec)
    if (!this.#ends.has(other)) return
    await net.apply(this.#inside, [
      { op: 'redirect.set', from: inner, to: other },
      { op: 'redirect.set', from: other, to: inner },
    ])
  }

  async remove(side: CardSide, wire: string): Promise<void> {
    const inner = endName(side, wire)
    if (!this.#ends.delete(inner)) return
    const other = endName(side === 'host' ? 'dpu' : 'host', wire)
    await this.#options.net.apply(this.#inside, [
      { op: 'redirect.clear', dev: other },
      { op: 'link.del', dev: inner, absentOk: true },
    ])
  }

  async setCarrier(side: CardSide, wire: string, on: boolean): Promise<void> {
    const dev = endName(side, wire)
    if (this.#ends.has(dev)) await this.#options.net.apply(this.#inside, [{ op: 'link.set', dev, up: on }])
  }

  async setUp(side: CardSide, pci: string, up: boolean): Promise<void> {
    const { net, netns } = this.#options
    const found = (await net.links(netns[side])).find((link) => isOfFunction(link, pci))
    if (found !== undefined) await net.apply(netns[side], [{ op: 'link.set', dev: found.name, up }])
  }

  async links(side: CardSide): Promise<readonly Link[]> {
    return await this.#options.net.links(this.#options.netns[side])
  }

  /** Removes the inside of the card, and with it all interfaces. */
  async [Symbol.asyncDispose](): Promise<void> {
    const { net, silicon } = this.#options
    // One by one: with the namespace they would go later, in the background, while others already look for what was left behind.
    await this.#monitor[Symbol.asyncDispose]()
    const ops = [...this.#ends.keys()].map((dev): NetOp => ({ op: 'link.del', dev, absentOk: true }))
    this.#ends.clear()
    if ((await net.netnsIdentity(this.#inside)) !== undefined) await net.apply(this.#inside, ops)
    await net.deleteNetns(silicon)
  }

  /** An inner end has gone with its outer one, which somebody else has removed. */
  async #gone(dev: string): Promise<void> {
    const spec = this.#ends.get(dev)
    const { net, netns } = this.#options
    if (spec === undefined || (await net.link(this.#inside, dev)) !== undefined) return
    this.#ends.delete(dev)
    // With the machine's own namespace everything ends.
    if ((await net.netnsIdentity(netns[spec.side])) !== undefined) await this.create(spec)
  }
}

const endName = (side: CardSide, wire: string): string => `${side === 'host' ? 'h' : 'd'}-${wire}`

/** What the kernel calls an interface whose name is taken: the next free `eth<n>`. */
export function freeName(wanted: string, taken: ReadonlySet<string>): string {
  if (!taken.has(wanted)) return wanted
  let number = 0
  while (taken.has(`eth${number}`)) number += 1
  return `eth${number}`
}
