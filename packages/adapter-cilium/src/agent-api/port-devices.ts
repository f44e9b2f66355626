import type { LinuxNet } from '@cni-offload/linux'
import { madeByPlugins, notedAttachment, PORT_IN_PROXY, ProxyNamespace, type ProxyOptions } from '@cni-offload/linux/splice'
import type { AttachmentKey, PortRef } from '@cni-offload/sdk'
import type { Connected, EndpointDevice, EndpointDevices } from './endpoint-device.ts'
import { PortDevice, portMissing } from './port-device.ts'
import { isNoteOf, parsePortNote } from './port-note.ts'

/** The ports themselves. They are never moved, so there is nothing to take or to give back. */
export class PortDevices implements EndpointDevices {
  readonly #net: LinuxNet
  readonly #options: ProxyOptions
  readonly #ports = new Map<string, PortRef>()

  /** Changes nothing yet. @param options - where proxy namespaces were made under an earlier configuration */
  constructor(net: LinuxNet, options: ProxyOptions) {
    this.#net = net
    this.#options = options
  }

  of(key: AttachmentKey, port: PortRef): EndpointDevice {
    this.#ports.set(port.name, port)
    return new PortDevice(this.#net, this.#options.home, port, key)
  }

  async meet(port: PortRef): Promise<void> {
    this.#ports.set(port.name, port)
    const proxy = new ProxyNamespace(this.#net, port, this.#options)
    if (!hasPort(await proxy.links())) return
    await proxy.giveBack()
    const links = await proxy.links()
    if (hasPort(links)) return
    const remains = madeByPlugins(links)
    if (remains.length > 0)
      await this.#net.apply(
        proxy.path,
        remains.map(({ name }) => ({ op: 'link.del', dev: name, absentOk: true })),
      )
  }

  async take(port: PortRef): Promise<void> {
    if ((await this.#net.link(this.#options.home, port.name)) === undefined) throw portMissing(port, this.#options.home)
  }

  giveBack(): Promise<void> {
    return Promise.resolve()
  }

  async holder(key: AttachmentKey, also: PortRef | undefined): Promise<PortRef | undefined> {
    if (also !== undefined) this.#ports.set(also.name, also)
    for (const { name, alias } of await this.#net.links(this.#options.home)) {
      const note = parsePortNote(alias)
      if (note !== undefined && isNoteOf(note, key)) return this.#ports.get(name)
    }
    return undefined
  }

  async connected(candidates: readonly AttachmentKey[]): Promise<Connected[]> {
    return (await this.#net.links(this.#options.home)).flatMap((link) => {
      const note = parsePortNote(link.alias)
      if (note === undefined || !link.up || link.mac !== note.mac || !this.#ports.has(link.name)) return []
      const key = notedAttachment(note.attachment, candidates)
      return key === undefined ? [] : [{ key, agentEnd: link }]
    })
  }
}

const hasPort = (links: readonly { readonly name: string }[] | undefined): boolean =>
  links?.some(({ name }) => name === PORT_IN_PROXY) === true
