import { type AttachmentKey, formatVfId, type PortRef } from '@cni-offload/sdk'
import type { Link, LinuxNet } from '../net/model.ts'
import { isAttachmentNote, notedAttachment } from './note.ts'
import { PORT_IN_PROXY, ProxyNamespace, type ProxyOptions } from './proxy-namespace.ts'
import { Splice } from './splice.ts'

/** Namespaces that are looked at at a time. */
const CONCURRENCY = 4

/** The proxy namespaces of all ports that were seen, and what their notes say. */
export class Proxies {
  readonly #net: LinuxNet
  readonly #options: ProxyOptions
  readonly #byVf = new Map<string, ProxyNamespace>()

  /** Makes nothing yet. */
  constructor(net: LinuxNet, options: ProxyOptions) {
    this.#net = net
    this.#options = options
  }

  /** The proxy namespace of a port; it need not exist yet. */
  of(port: PortRef): ProxyNamespace {
    const id = formatVfId(port.vf)
    const proxy = this.#byVf.get(id) ?? new ProxyNamespace(this.#net, port, this.#options)
    this.#byVf.set(id, proxy)
    return proxy
  }

  /** The one whose interface carries a note. */
  async noted(note: string): Promise<ProxyNamespace | undefined> {
    const found = await Promise.all(
      [...this.#byVf.values()].map(async (proxy) =>
        (await proxy.links())?.some(({ alias }) => alias === note) === true ? proxy : undefined,
      ),
    )
    return found.find((proxy) => proxy !== undefined)
  }

  /**
   * Whose interfaces are really spliced, by their notes. A broken splice is left out.
   *
   * @param candidates - keys that a note may stand for by its hash
   */
  async spliced(candidates: readonly AttachmentKey[]): Promise<AttachmentKey[]> {
    const found: AttachmentKey[] = []
    const proxies = this.#byVf.values()
    // A few at a time: the requests of a pod's attach must not queue up behind those for all ports.
    const look = async (): Promise<void> => {
      for (const proxy of proxies) {
        const key = await this.#holder(proxy, candidates)
        if (key !== undefined) found.push(key)
      }
    }
    await Promise.all(Array.from({ length: CONCURRENCY }, look))
    return found
  }

  async #holder(proxy: ProxyNamespace, candidates: readonly AttachmentKey[]): Promise<AttachmentKey | undefined> {
    const inside = (await proxy.links())?.find(({ alias }) => isAttachmentNote(alias))
    if (inside === undefined) return undefined
    const problem = await new Splice(this.#net, proxy.path, inside.name).problem(inside)
    return problem === undefined ? notedAttachment(inside.alias, candidates) : undefined
  }
}

/** Links of a proxy namespace that are not ours. */
export function madeByPlugins(links: readonly Link[] = []): Link[] {
  return links.filter(({ name }) => name !== 'lo' && name !== PORT_IN_PROXY)
}
