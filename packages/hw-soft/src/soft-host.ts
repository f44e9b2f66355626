import type { LinuxNet, NetnsPath } from '@cni-offload/linux'
import {
  endKey,
  type Found,
  type FunctionEnd,
  FunctionNetdevs,
  isEnd,
  linkKey,
  searchEverywhere,
  type Whereabouts,
} from '@cni-offload/linux/function'
import {
  type Clock,
  type DeviceEvent,
  formatVfId,
  type HostDevice,
  type NetdevRef,
  OffloadError,
  type OpContext,
  type VfId,
  type VfSettings,
  type VirtualFunction,
} from '@cni-offload/sdk'
import { aborted, refuseIfAborted } from '@cni-offload/sdk/runtime'
import { type Card, endOf, functionsOf, pciAddresses } from './card.ts'
import { plugFunction, removeUnfinished } from './plug.ts'
import { isUnfinished } from './unfinished.ts'

/** How long the kernel may take to clean up a namespace that was deleted with a function inside, in milliseconds. */
const CLEANUP_MS = 3_000

/** Between two looks at a namespace that is being cleaned up: the kernel has no event for its end. */
const LOOK_AGAIN_MS = 20

/** What a {@link SoftHost} is made of. */
export interface SoftHostDeps {
  /** Kernel access; not disposed by the device. */
  readonly net: LinuxNet
  /** Time. */
  readonly clock: Clock
  /** The card. */
  readonly card: Card
  /** Namespace of the host: where free VFs lie. */
  readonly netns: NetnsPath
  /** Namespace of the DPU's agent where it is known: then a function whose pair was destroyed is plugged anew. */
  readonly dpuNetns?: NetnsPath
  /** Largest MTU that functions are said to carry, in bytes. @defaultValue 65535, what the kernel allows */
  readonly maxMtu?: number
}

/** The host half of the software card. Every VF is one end of a veth pair and carries a note (`ifalias`) of what it is. */
export class SoftHost implements HostDevice {
  readonly name: string = 'soft'
  readonly specVersion = 'v1'
  readonly #net: LinuxNet
  readonly #clock: Clock
  readonly #card: Card
  readonly #netns: NetnsPath
  readonly #dpuNetns: NetnsPath | undefined
  readonly #maxMtu: number
  readonly #netdevs: FunctionNetdevs

  /** Makes the device; nothing is touched before its first call. */
  constructor(deps: SoftHostDeps) {
    this.#net = deps.net
    this.#clock = deps.clock
    this.#card = deps.card
    this.#netns = deps.netns
    this.#dpuNetns = deps.dpuNetns
    this.#maxMtu = deps.maxMtu ?? 65_535
    this.#netdevs = new FunctionNetdevs(deps.net, deps.netns)
  }

  /** All functions of the card. One whose own name is taken by a stranger is unhealthy: it could not come back. */
  async discover(ctx: OpContext): Promise<VirtualFunction[]> {
    refuseIfAborted(ctx.signal)
    const links = await this.#net.links(this.#netns)
    const byName = new Map(links.flatMap((link) => [link.name, ...link.altNames].map((name) => [name, link])))
    const byKey = new Map(links.map((link) => [linkKey(link), link]))
    return functionsOf(this.#card).map((id) => {
      const spec = endOf(this.#card, id, 'vf')
      const named = byName.get(spec.name)
      const own = byKey.get(endKey(spec))
      const taken = named !== undefined && named !== own && !isUnfinished(named, spec)
      return {
        id,
        ...pciAddresses(this.#card, id.index),
        ...(own === undefined ? {} : { netdev: own.name }),
        mac: spec.mac,
        health: taken ? 'unhealthy' : 'healthy',
        capabilities: { setMac: true, maxMtu: this.#maxMtu },
      }
    })
  }

  async acquire(vf: VfId, want: VfSettings, ctx: OpContext): Promise<NetdevRef> {
    return await this.#netdevs.acquire(endOf(this.#card, vf, 'vf'), want, this.#maxMtu, ctx.signal)
  }

  async release(vf: VfId, from: Whereabouts, ctx: OpContext): Promise<void> {
    const spec = endOf(this.#card, vf, 'vf')
    await this.#netdevs.release(spec, from, (signal) => this.#recover(spec, signal), ctx.signal)
  }

  /**
   * Reports `device-lost` if no end of any function can be found at the time of the call, which only a device that knows
   * the DPU's namespace can tell from all functions being in pods; then nothing until the signal aborts: a veth pair has
   * no firmware that could fail later.
   */
  async *watch(signal: AbortSignal): AsyncIterable<DeviceEvent> {
    if (this.#dpuNetns !== undefined && !signal.aborted) {
      const links = await searchEverywhere(this.#net, [this.#netns, this.#dpuNetns])
      const present = new Set(links.map(({ link }) => linkKey(link)))
      const keys = functionsOf(this.#card).flatMap((vf) => [endKey(endOf(this.#card, vf, 'vf')), endKey(endOf(this.#card, vf, 'port'))])
      if (!keys.some((key) => present.has(key)))
        yield { kind: 'device-lost', device: this.#card.device, reason: `none of its ${this.#card.vfs} veth pairs exists` }
    }
    await aborted(signal)
  }

  /**
   * A function that is neither where it should be nor at home: it is in another named namespace, or its namespace was
   * destroyed and took the pair along. A real function would then come back to the host by itself, so the pair is made anew.
   */
  async #recover(spec: FunctionEnd, signal: AbortSignal): Promise<Found> {
    const dpuNetns = this.#dpuNetns
    const id = formatVfId(spec.vf)
    if (dpuNetns === undefined)
      throw new OffloadError(
        'HARDWARE_FAILURE',
        `function ${id} is gone: no link carries its note, neither in the pod's namespace nor in the host's`,
        {
          hint: 'set the option dpuNetns, so that a lost pair is plugged anew, or plug the card in again',
        },
      )
    await removeUnfinished({ net: this.#net, hostNetns: this.#netns }, this.#card, spec.vf)
    const port = endOf(this.#card, spec.vf, 'port')
    const deadline = this.#clock.monotonic() + CLEANUP_MS
    for (;;) {
      refuseIfAborted(signal)
      const links = await searchEverywhere(this.#net, [this.#netns, dpuNetns])
      const itself = links.find(({ link }) => isEnd(link, spec))
      if (itself !== undefined) return itself
      const other = links.find(({ link }) => isEnd(link, port))
      if (other === undefined) break
      if (this.#clock.monotonic() > deadline)
        throw new OffloadError(
          'HARDWARE_FAILURE',
          `function ${id} is in a namespace that has no name: its port "${other.link.name}" in ${other.netns} is alive, but no link with its note was found`,
          {
            hint: 'end the processes that keep the namespace of the former pod alive, then release it again',
          },
        )
      await this.#clock.sleep(LOOK_AGAIN_MS, signal).catch(() => refuseIfAborted(signal))
    }
    await plugFunction({ net: this.#net, hostNetns: this.#netns, dpuNetns }, this.#card, spec.vf).catch((error: unknown) => {
      throw new OffloadError(
        'HARDWARE_FAILURE',
        `function ${id} is gone and could not be plugged anew: ${OffloadError.from(error).message}`,
        { cause: error },
      )
    })
    const link = await this.#net.link(this.#netns, spec.name)
    if (link === undefined) throw new OffloadError('HARDWARE_FAILURE', `function ${id} vanished right after it was plugged anew`)
    return { netns: this.#netns, link }
  }
}
