import { OffloadError } from '@cni-offload/sdk'
import type { Link, LinuxNet, NetnsPath } from '../net/model.ts'
import { PORT_IN_PROXY } from './proxy-namespace.ts'

/**
 * The connection between what a CNI made in a proxy namespace and the port of the VF: each frame that one receives leaves
 * through the other, unchanged, before the namespace's own network stack sees it.
 */
export class Splice {
  readonly #net: LinuxNet
  readonly #netns: NetnsPath
  readonly #ifName: string

  /**
   * @param netns - the proxy namespace, with the port inside
   * @param ifName - the CNI's interface in it
   */
  constructor(net: LinuxNet, netns: NetnsPath, ifName: string) {
    this.#net = net
    this.#netns = netns
    this.#ifName = ifName
  }

  /**
   * Connects both ways and brings both ends up; idempotent. The port gets the MTU of the CNI's interface: a larger one
   * would let frames in that the CNI's path drops silently.
   *
   * @param note - kept as the alias of the CNI's interface
   * @returns the CNI's interface
   * @throws OffloadError NOT_FOUND, KERNEL_REFUSED
   */
  async open(note: string): Promise<Link> {
    const [ifName, port] = [this.#ifName, PORT_IN_PROXY]
    const inside = await this.#net.link(this.#netns, ifName)
    if (inside === undefined) throw new OffloadError('NOT_FOUND', `the CNI made no interface ${ifName} in ${this.#netns}`)
    await this.#net.apply(this.#netns, [
      { op: 'link.set', dev: ifName, alias: note },
      { op: 'link.set', dev: port, mtu: inside.mtu },
      { op: 'redirect.set', from: ifName, to: port },
      { op: 'redirect.set', from: port, to: ifName },
      { op: 'link.set', dev: ifName, up: true },
      // Last, so that no frame of the pod is ever answered by the proxy itself.
      { op: 'link.set', dev: port, up: true },
    ])
    const problem = await this.problem({ mac: inside.mac, mtu: inside.mtu })
    if (problem !== undefined)
      throw new OffloadError('KERNEL_REFUSED', `the splice of ${ifName} in ${this.#netns} does not hold: ${problem}`)
    return inside
  }

  /** What keeps frames from flowing, or differs from what the pod was told; undefined if nothing does. */
  async problem(expected: { readonly mac: string; readonly mtu: number }): Promise<string | undefined> {
    const links = await this.#net.links(this.#netns)
    for (const name of [this.#ifName, PORT_IN_PROXY]) {
      const link = links.find((candidate) => candidate.name === name)
      if (link === undefined) return `${name} is gone`
      if (!link.up) return `${name} is down`
      if (link.mtu !== expected.mtu) return `${name} has MTU ${link.mtu}, expected ${expected.mtu}`
      if (name === this.#ifName && link.mac !== expected.mac) return `${name} has MAC ${link.mac}, expected ${expected.mac}`
    }
    const [out, back] = await Promise.all([
      this.#net.redirectTarget(this.#netns, this.#ifName),
      this.#net.redirectTarget(this.#netns, PORT_IN_PROXY),
    ])
    if (out !== PORT_IN_PROXY) return `frames of ${this.#ifName} are not redirected to ${PORT_IN_PROXY}`
    return back === this.#ifName ? undefined : `frames of ${PORT_IN_PROXY} are not redirected to ${this.#ifName}`
  }
}
