import type { LinuxNet } from '@cni-offload/linux'
import { attachmentNote, isAttachmentNote, Proxies, type ProxyOptions } from '@cni-offload/linux/splice'
import type { AttachmentKey, PortRef } from '@cni-offload/sdk'
import type { Connected, EndpointDevice, EndpointDevices } from './endpoint-device.ts'
import { lxcName } from './identity.ts'
import { PodDevice } from './pod-device.ts'
import { PortDevice } from './port-device.ts'

/** Veth pairs as cilium-cni makes them, spliced to ports in proxy namespaces. */
export class VethDevices implements EndpointDevices {
  readonly #net: LinuxNet
  readonly #options: ProxyOptions
  readonly #proxies: Proxies

  /** Makes nothing yet. */
  constructor(net: LinuxNet, options: ProxyOptions) {
    this.#net = net
    this.#options = options
    this.#proxies = new Proxies(net, options)
  }

  of(key: AttachmentKey, port: PortRef): EndpointDevice {
    return new PodDevice(this.#net, this.#options.home, this.#proxies.of(port), key)
  }

  async meet(port: PortRef, holders: readonly AttachmentKey[]): Promise<void> {
    this.#proxies.of(port)
    for (const key of holders) await new PortDevice(this.#net, this.#options.home, port, key).remove()
  }

  async take(port: PortRef): Promise<void> {
    await this.#proxies.of(port).ready()
  }

  async giveBack(port: PortRef): Promise<void> {
    const proxy = this.#proxies.of(port)
    const links = await proxy.links()
    if (links === undefined || links.some(({ alias }) => isAttachmentNote(alias))) return
    await proxy.giveBack()
  }

  async holder(key: AttachmentKey, also: PortRef | undefined): Promise<PortRef | undefined> {
    if (also !== undefined) this.#proxies.of(also)
    return (await this.#proxies.noted(attachmentNote(key)))?.port
  }

  async connected(candidates: readonly AttachmentKey[]): Promise<Connected[]> {
    return await withVethEnds(this.#net, this.#options.home, await this.#proxies.spliced(candidates))
  }
}

/** Attachments with the agent's ends of their veth pairs. @param home - namespace of the agent */
export async function withVethEnds(net: LinuxNet, home: string, keys: readonly AttachmentKey[]): Promise<Connected[]> {
  const links = new Map((await net.links(home)).map((link) => [link.name, link] as const))
  return keys.map((key) => ({ key, agentEnd: links.get(lxcName(key)) }))
}
