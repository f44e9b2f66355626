import type { Link, LinuxNet, NetnsPath } from '@cni-offload/linux'
import { attachmentNote, isAttachmentNote, madeByPlugins, type ProxyNamespace, Splice } from '@cni-offload/linux/splice'
import { type AttachmentKey, formatVfId, OffloadError } from '@cni-offload/sdk'
import type { AgentEnd, EndpointDevice } from './endpoint-device.ts'
import { gatewayMac, lxcName } from './identity.ts'

/** Name of the pod's end of the device inside the proxy namespace, where nobody else has a say in it. */
export const POD_END = 'pod0'

/**
 * The device of an endpoint: a veth pair as cilium-cni makes it, with the pod's end in the proxy namespace of the port instead of in
 * the pod, where it is spliced to the port. For Cilium the pod is local.
 */
export class PodDevice implements EndpointDevice {
  /** Name of the agent's end. */
  readonly name: string
  readonly #net: LinuxNet
  readonly #home: NetnsPath
  readonly #proxy: ProxyNamespace
  readonly #note: string
  readonly #mac: string
  readonly #podEnd: string
  readonly #splice: Splice

  /**
   * Makes nothing yet.
   *
   * @param home - namespace of the agent
   * @param podEnd - name of the pod's end inside the proxy namespace
   */
  constructor(net: LinuxNet, home: NetnsPath, proxy: ProxyNamespace, key: AttachmentKey, podEnd: string = POD_END) {
    this.name = lxcName(key)
    this.#net = net
    this.#home = home
    this.#proxy = proxy
    this.#note = attachmentNote(key)
    this.#mac = gatewayMac(key)
    this.#podEnd = podEnd
    this.#splice = new Splice(net, proxy.path, podEnd)
  }

  /** Makes sure that the port is there and that no other attachment has it. @throws OffloadError ALREADY_EXISTS, HARDWARE_FAILURE */
  async assertFree(): Promise<void> {
    const foreign = (await this.#proxy.ready()).find(({ alias }) => isAttachmentNote(alias) && alias !== this.#note)
    if (foreign !== undefined) throw portTaken(this.#proxy, foreign.alias)
  }

  /** Makes the pair anew, up and not yet spliced: nothing of the pod gets to the agent before it has its programs in place. */
  async make(mac: string, mtu: number): Promise<AgentEnd> {
    await this.remove()
    await this.#net.apply(this.#home, [
      {
        op: 'link.add-veth',
        dev: this.name,
        mac: this.#mac,
        mtu,
        peer: { name: this.#podEnd, netns: this.#proxy.path, mac, mtu, alias: this.#note },
      },
      // What the pod sends comes from addresses that the main table knows only when the agent has made their routes.
      { op: 'sysctl', key: `net.ipv4.conf.${this.name}.rp_filter`, value: '0' },
      { op: 'link.set', dev: this.name, up: true },
    ])
    await this.#net.apply(this.#proxy.path, [{ op: 'link.set', dev: this.#podEnd, up: true }])
    const end = await this.agentEnd()
    if (end === undefined) throw new OffloadError('KERNEL_REFUSED', `device ${this.name} is gone right after it was made`)
    return end
  }

  /** The agent's end; undefined if there is none. */
  async agentEnd(): Promise<AgentEnd | undefined> {
    return await this.#net.link(this.#home, this.name)
  }

  /** The pod's end; undefined if there is none. */
  async podEnd(): Promise<Link | undefined> {
    return (await this.#proxy.links())?.find(({ name }) => name === this.#podEnd)
  }

  /** Connects the port. @param mac - that the pod has in the end */
  async open(mac: string): Promise<void> {
    if ((await this.podEnd())?.mac !== mac) await this.#net.apply(this.#proxy.path, [{ op: 'link.set', dev: this.#podEnd, mac }])
    await this.#splice.open(this.#note)
  }

  async reopen(mac: string): Promise<boolean> {
    await this.open(mac)
    return true
  }

  /** Cuts the port off and puts it back into its neutral state. */
  async close(): Promise<void> {
    if (await this.#isForeign()) return
    await this.#proxy.neutral()
  }

  /** Removes the pair, cutting the port off first. A pair that is gone is success. */
  async remove(): Promise<void> {
    const foreign = await this.#isForeign()
    if (!foreign) await this.#proxy.neutral()
    await this.#net.apply(this.#home, [{ op: 'link.del', dev: this.name, absentOk: true }])
    const remains = foreign ? [] : madeByPlugins(await this.#proxy.links())
    if (remains.length > 0)
      await this.#net.apply(
        this.#proxy.path,
        remains.map(({ name }) => ({ op: 'link.del', dev: name, absentOk: true })),
      )
  }

  /** What keeps frames from flowing, or differs from what the pod was told; undefined if nothing does. */
  async problem(expected: { readonly mac: string; readonly mtu: number }): Promise<string | undefined> {
    if ((await this.#proxy.links()) === undefined) return `${this.#proxy.path} is gone`
    const link = await this.#net.link(this.#home, this.name)
    if (link === undefined) return `${this.name} is gone`
    if (!link.up) return `${this.name} is down`
    const problem = await this.#splice.problem(expected)
    return problem === undefined ? undefined : `in ${this.#proxy.path}: ${problem}`
  }

  /** Whether the proxy namespace serves another attachment by now. */
  async #isForeign(): Promise<boolean> {
    return (await this.#proxy.links())?.some(({ alias }) => isAttachmentNote(alias) && alias !== this.#note) === true
  }
}

/** The error for a port that another attachment has. */
export function portTaken({ port }: Pick<ProxyNamespace, 'port'>, holder: string): OffloadError {
  return new OffloadError('ALREADY_EXISTS', `port ${port.name} of VF ${formatVfId(port.vf)} is held by ${holder}`)
}
