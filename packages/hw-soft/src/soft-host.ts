import { isDeepStrictEqual } from 'node:util'
import { type Link, type LinuxNet, type NetnsPath, type NetOp, PRISTINE_TRAITS } from '@cni-offload/linux'
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
import { aborted } from '@cni-offload/sdk/runtime'
import { type Card, type EndSpec, endOf, functionsOf, pciAddresses } from './card.ts'
import { type Found, linksIfPresent, searchEverywhere } from './find.ts'
import { endKey, formatNote, isEnd, isUnfinished, linkKey } from './note.ts'
import { plugFunction, removeUnfinished } from './plug.ts'
import { refuseIfAborted } from './refuse-if-aborted.ts'

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

  /** Makes the device; nothing is touched before its first call. */
  constructor(deps: SoftHostDeps) {
    this.#net = deps.net
    this.#clock = deps.clock
    this.#card = deps.card
    this.#netns = deps.netns
    this.#dpuNetns = deps.dpuNetns
    this.#maxMtu = deps.maxMtu ?? 65_535
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
    const spec = endOf(this.#card, vf, 'vf')
    refuseIfAborted(ctx.signal)
    if ((want.mtu ?? 0) > this.#maxMtu)
      throw new OffloadError('HARDWARE_FAILURE', `mtu = ${want.mtu}: function ${formatVfId(vf)} carries ${this.#maxMtu} at most`)
    if (want.mac === undefined && want.mtu === undefined && (await this.#isPristine(spec)))
      return { name: spec.name, mac: spec.mac, mtu: spec.mtu, maxMtu: this.#maxMtu }
    const link = await this.#inOwnNetns(spec)
    if (link === undefined)
      throw new OffloadError(
        'HARDWARE_FAILURE',
        `function ${formatVfId(vf)} is not in the host's network namespace: there is no link "${spec.name}"`,
        {
          hint: 'if it was never made, plug the card in; if it is in a pod, release it first',
        },
      )
    await this.#apply(vf, this.#netns, [
      { op: 'link.set', dev: link.name, up: false, traits: PRISTINE_TRAITS, altNames: false },
      ...(link.name === spec.name ? [] : [rename(link.name, spec)]),
      {
        op: 'link.set',
        dev: spec.name,
        ...(want.mac === undefined ? {} : { mac: want.mac }),
        ...(want.mtu === undefined ? {} : { mtu: want.mtu }),
      },
      { op: 'addr.flush', dev: spec.name },
    ])
    return this.#readBack(spec, { mac: want.mac ?? link.mac, mtu: want.mtu ?? link.mtu })
  }

  async release(vf: VfId, from: { readonly netns?: string; readonly ifName?: string }, ctx: OpContext): Promise<void> {
    const spec = endOf(this.#card, vf, 'vf')
    refuseIfAborted(ctx.signal)
    if (await this.#comesHome(spec, from)) return
    refuseIfAborted(ctx.signal)
    const found = (await this.#inPod(spec, from)) ?? (await this.#atHome(spec)) ?? (await this.#recover(spec, ctx.signal))
    refuseIfAborted(ctx.signal)
    const { name } = found.link
    const reset = resetOp(name, spec)
    // What is reset is reset where the function lies, so that it comes home silent; the kernel drops addresses on a move.
    const home: NetOp[] =
      found.netns !== this.#netns
        ? [{ op: 'link.move', dev: name, netns: this.#netns, name: spec.name }]
        : [...(name === spec.name ? [] : [rename(name, spec)]), { op: 'addr.flush', dev: spec.name }]
    await this.#apply(vf, found.netns, [reset, ...home, this.#pristineOp(spec)])
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

  /** One look tells whether a function lies at home as it should: the common case of a lease. */
  async #isPristine(spec: EndSpec): Promise<boolean> {
    return await succeeds(this.#net.apply(this.#netns, [this.#pristineOp(spec)]))
  }

  /**
   * The common case of a release in one request: the function is in the pod under the name that it was given, and comes
   * home pristine. Whatever is otherwise, also half-way through, is left to the careful way.
   */
  async #comesHome(spec: EndSpec, { netns, ifName }: { readonly netns?: string; readonly ifName?: string }): Promise<boolean> {
    if (netns === undefined || netns === '' || ifName === undefined) return false
    const [there, here] = await Promise.all([this.#net.netnsIdentity(netns), this.#net.netnsIdentity(this.#netns)])
    if (there === undefined || there === here) return false
    return await succeeds(
      this.#net.apply(netns, [
        { op: 'link.expect', dev: ifName, alias: formatNote(spec) },
        resetOp(ifName, spec),
        { op: 'link.move', dev: ifName, netns: this.#netns, name: spec.name },
        this.#pristineOp(spec),
      ]),
    )
  }

  /** Down, at home, with its own name, MAC, MTU, note and traits, and without addresses and alternative names. */
  #pristineOp(spec: EndSpec): NetOp {
    return {
      op: 'link.expect',
      dev: spec.name,
      netns: this.#netns,
      mac: spec.mac,
      mtu: spec.mtu,
      up: false,
      alias: formatNote(spec),
      traits: PRISTINE_TRAITS,
      altNames: false,
      addresses: false,
    }
  }

  /** By the name in the pod first, then by note: a pod may rename its interface and give the name to another one. */
  async #inPod(spec: EndSpec, from: { readonly netns?: string; readonly ifName?: string }): Promise<Found | undefined> {
    const { netns, ifName } = from
    if (netns === undefined || netns === '') return undefined
    const [all, there, here] = await Promise.all([
      linksIfPresent(this.#net, netns),
      this.#net.netnsIdentity(netns),
      this.#net.netnsIdentity(this.#netns),
    ])
    const links = (all ?? []).filter((link) => isEnd(link, spec))
    const link = links.find((candidate) => candidate.name === ifName) ?? links[0]
    // The path may be another name of the host's own namespace, and a link cannot be moved to where it is.
    return link === undefined ? undefined : { netns: there === here ? this.#netns : netns, link }
  }

  async #atHome(spec: EndSpec): Promise<Found | undefined> {
    const link = await this.#inOwnNetns(spec)
    return link === undefined ? undefined : { netns: this.#netns, link }
  }

  /** One look-up when all is well; the dump finds a function that came back under another name. */
  async #inOwnNetns(spec: EndSpec): Promise<Link | undefined> {
    const named = await this.#net.link(this.#netns, spec.name)
    if (named !== undefined && isEnd(named, spec)) return named
    return (await this.#net.links(this.#netns)).find((link) => isEnd(link, spec))
  }

  /**
   * A function that is neither where it should be nor at home: it is in another named namespace, or its namespace was
   * destroyed and took the pair along. A real function would then come back to the host by itself, so the pair is made anew.
   */
  async #recover(spec: EndSpec, signal: AbortSignal): Promise<Found> {
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

  /** Kernel refusals are hardware failures to the caller, but say why. */
  async #apply(vf: VfId, netns: NetnsPath, ops: readonly NetOp[]): Promise<void> {
    try {
      await this.#net.apply(netns, ops)
    } catch (error) {
      const known = OffloadError.from(error)
      throw new OffloadError('HARDWARE_FAILURE', `function ${formatVfId(vf)} could not be set up: ${known.message}`, {
        cause: error,
        ...(known.code === 'ALREADY_EXISTS'
          ? { hint: 'remove or rename the link that took the name of the function' }
          : known.hint === undefined
            ? {}
            : { hint: known.hint }),
      })
    }
  }

  async #readBack(spec: EndSpec, want: { readonly mac: string; readonly mtu: number }): Promise<NetdevRef> {
    const link = await this.#net.link(this.#netns, spec.name)
    const id = formatVfId(spec.vf)
    if (link === undefined || !isEnd(link, spec))
      throw new OffloadError('HARDWARE_FAILURE', `function ${id}: "${spec.name}" in the host's namespace is not it`)
    const wrong = [
      ...(link.mac === want.mac ? [] : [`mac is ${link.mac}, not ${want.mac}`]),
      ...(link.mtu === want.mtu ? [] : [`mtu is ${link.mtu}, not ${want.mtu}`]),
      ...(link.up ? ['it is up'] : []),
      ...(isDeepStrictEqual(link.traits, PRISTINE_TRAITS) ? [] : [`its traits are ${JSON.stringify(link.traits)}`]),
      ...(link.altNames.length === 0 ? [] : [`it has ${link.altNames.length} alternative names`]),
    ]
    if (wrong.length > 0) throw new OffloadError('HARDWARE_FAILURE', `function ${id} did not take its settings: ${wrong.join('; ')}`)
    return { name: link.name, mac: link.mac, mtu: link.mtu, maxMtu: this.#maxMtu }
  }
}

/** Resets what the kernel would keep over the move; an alternative name that is taken at home would prevent it. */
function resetOp(dev: string, spec: EndSpec): NetOp {
  return { op: 'link.set', dev, up: false, master: null, mac: spec.mac, mtu: spec.mtu, traits: PRISTINE_TRAITS, altNames: false }
}

async function succeeds(request: Promise<void>): Promise<boolean> {
  return await request.then(
    () => true,
    () => false,
  )
}

function rename(dev: string, spec: EndSpec): NetOp {
  return { op: 'link.set', dev, name: spec.name }
}
