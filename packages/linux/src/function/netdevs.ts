import { isDeepStrictEqual } from 'node:util'
import { formatVfId, type NetdevRef, OffloadError, type VfId, type VfSettings } from '@cni-offload/sdk'
import { refuseIfAborted } from '@cni-offload/sdk/runtime'
import { type Link, type LinuxNet, type NetnsPath, type NetOp, PRISTINE_TRAITS } from '../net/model.ts'
import type { FunctionEnd } from './end.ts'
import { type Found, linksIfPresent } from './find.ts'
import { formatNote, isEnd } from './note.ts'

/** Where a function is believed to be. */
export interface Whereabouts {
  /** Namespace of the pod; it may be gone. */
  readonly netns?: string
  /** Name that it had there. */
  readonly ifName?: string
}

/** Finds a function that is neither where it should be nor at home, or makes its interface anew. @throws OffloadError HARDWARE_FAILURE */
export type Recover = (signal: AbortSignal) => Promise<Found>

/**
 * The interfaces of functions on a host, on their way into pods and back. What the contract of a host device says of `acquire` and
 * `release` is the same for every card; this is it.
 */
export class FunctionNetdevs {
  readonly #net: LinuxNet
  readonly #home: NetnsPath

  /** @param home - namespace that free functions lie in */
  constructor(net: LinuxNet, home: NetnsPath) {
    this.#net = net
    this.#home = home
  }

  /**
   * Makes a function's interface ready for a pod, as the contract of a host device says.
   *
   * @throws OffloadError HARDWARE_FAILURE if it is not at home, or a setting did not stick; CANCELLED
   */
  async acquire(spec: FunctionEnd, want: VfSettings, maxMtu: number, signal: AbortSignal): Promise<NetdevRef> {
    refuseIfAborted(signal)
    const id = formatVfId(spec.vf)
    if ((want.mtu ?? 0) > maxMtu) throw new OffloadError('HARDWARE_FAILURE', `mtu = ${want.mtu}: function ${id} carries ${maxMtu} at most`)
    if (want.mac === undefined && want.mtu === undefined && (await this.#isPristine(spec)))
      return { name: spec.name, mac: spec.mac, mtu: spec.mtu, maxMtu }
    const link = await this.#atHome(spec)
    if (link === undefined)
      throw new OffloadError('HARDWARE_FAILURE', `function ${id} is not in the host's network namespace: there is no link "${spec.name}"`, {
        hint: 'if it was never made, plug the card in; if it is in a pod, release it first',
      })
    await this.#apply(spec.vf, this.#home, [
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
    return { ...(await this.#readBack(spec, { mac: want.mac ?? link.mac, mtu: want.mtu ?? link.mtu })), maxMtu }
  }

  /**
   * Brings a function's interface home, pristine, as the contract of a host device says.
   *
   * @throws OffloadError HARDWARE_FAILURE if it could not be brought back; CANCELLED
   */
  async release(spec: FunctionEnd, from: Whereabouts, recover: Recover, signal: AbortSignal): Promise<void> {
    refuseIfAborted(signal)
    if (await this.#comesHome(spec, from)) return
    refuseIfAborted(signal)
    const found = (await this.#inPod(spec, from)) ?? (await this.#found(spec)) ?? (await recover(signal))
    refuseIfAborted(signal)
    const { name } = found.link
    const reset = resetOp(name, spec)
    // What is reset is reset where the function lies, so that it comes home silent; the kernel drops addresses on a move.
    const home: NetOp[] =
      found.netns !== this.#home
        ? [{ op: 'link.move', dev: name, netns: this.#home, name: spec.name }]
        : [...(name === spec.name ? [] : [rename(name, spec)]), { op: 'addr.flush', dev: spec.name }]
    await this.#apply(spec.vf, found.netns, [reset, ...home, this.#pristineOp(spec)])
  }

  /** One look tells whether a function lies at home as it should: the common case of a lease. */
  async #isPristine(spec: FunctionEnd): Promise<boolean> {
    return await succeeds(this.#net.apply(this.#home, [this.#pristineOp(spec)]))
  }

  /**
   * The common case of a release in one request: the function is in the pod under the name that it was given, and comes
   * home pristine. Whatever is otherwise, also half-way through, is left to the careful way.
   */
  async #comesHome(spec: FunctionEnd, { netns, ifName }: Whereabouts): Promise<boolean> {
    if (netns === undefined || netns === '' || ifName === undefined) return false
    const [there, here] = await Promise.all([this.#net.netnsIdentity(netns), this.#net.netnsIdentity(this.#home)])
    if (there === undefined || there === here) return false
    return await succeeds(
      this.#net.apply(netns, [
        { op: 'link.expect', dev: ifName, alias: formatNote(spec) },
        resetOp(ifName, spec),
        { op: 'link.move', dev: ifName, netns: this.#home, name: spec.name },
        this.#pristineOp(spec),
      ]),
    )
  }

  /** Down, at home, with its own name, MAC, MTU, note and traits, and without addresses and alternative names. */
  #pristineOp(spec: FunctionEnd): NetOp {
    return {
      op: 'link.expect',
      dev: spec.name,
      netns: this.#home,
      mac: spec.mac,
      mtu: spec.mtu,
      up: false,
      alias: formatNote(spec),
      traits: PRISTINE_TRAITS,
      altNames: false,
      addresses: false,
    }
  }

  /** By the name in the pod first, then by what it is: a pod may rename its interface and give the name to another one. */
  async #inPod(spec: FunctionEnd, { netns, ifName }: Whereabouts): Promise<Found | undefined> {
    if (netns === undefined || netns === '') return undefined
    const [all, there, here] = await Promise.all([
      linksIfPresent(this.#net, netns),
      this.#net.netnsIdentity(netns),
      this.#net.netnsIdentity(this.#home),
    ])
    const links = (all ?? []).filter((link) => isEnd(link, spec))
    const link = links.find((candidate) => candidate.name === ifName) ?? links[0]
    // The path may be another name of the host's own namespace, and a link cannot be moved to where it is.
    return link === undefined ? undefined : { netns: there === here ? this.#home : netns, link }
  }

  async #found(spec: FunctionEnd): Promise<Found | undefined> {
    const link = await this.#atHome(spec)
    return link === undefined ? undefined : { netns: this.#home, link }
  }

  /** One look-up when all is well; the dump finds a function that came back under another name. */
  async #atHome(spec: FunctionEnd): Promise<Link | undefined> {
    const named = await this.#net.link(this.#home, spec.name)
    if (named !== undefined && isEnd(named, spec)) return named
    return (await this.#net.links(this.#home)).find((link) => isEnd(link, spec))
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

  async #readBack(spec: FunctionEnd, want: { readonly mac: string; readonly mtu: number }): Promise<NetdevRef> {
    const link = await this.#net.link(this.#home, spec.name)
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
    return { name: link.name, mac: link.mac, mtu: link.mtu }
  }
}

/** Resets what the kernel would keep over the move; an alternative name that is taken at home would prevent it. */
function resetOp(dev: string, spec: FunctionEnd): NetOp {
  const { mac, mtu } = spec
  return { op: 'link.set', dev, up: false, master: null, mac, mtu, alias: formatNote(spec), traits: PRISTINE_TRAITS, altNames: false }
}

async function succeeds(request: Promise<void>): Promise<boolean> {
  return await request.then(
    () => true,
    () => false,
  )
}

function rename(dev: string, spec: FunctionEnd): NetOp {
  return { op: 'link.set', dev, name: spec.name }
}
