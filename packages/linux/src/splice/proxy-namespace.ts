import { createHash } from 'node:crypto'
import { formatVfId, OffloadError, type PortRef } from '@cni-offload/sdk'
import type { Link, LinuxNet, NetnsPath, NetOp } from '../net/model.ts'
import { reached } from './steps.ts'

/** Name of the VF's port inside its proxy namespace. */
export const PORT_IN_PROXY = 'vf0'

/** Where and how proxy namespaces are made. */
export interface ProxyOptions {
  /** Begin of the names of the namespaces. */
  readonly prefix: string
  /** Network namespace in which ports appear; `/proc/self/ns/net` for the agent's own. */
  readonly home: NetnsPath
  /** Who takes the ports, without white space: what several adapters on one machine tell their ports apart by. */
  readonly owner: string
}

/**
 * Kernel settings of a proxy namespace. What a CNI puts there keeps its addresses, so that the CNI's own CHECK finds them,
 * but must not speak: the pod on the host speaks for them. Frames that arrive are all redirected; these settings stop what
 * IPv6 says without being asked (link-local address, duplicate address detection, router solicitations).
 */
const SILENT: Readonly<Record<string, string>> = {
  'net.ipv6.conf.default.addr_gen_mode': '1',
  'net.ipv6.conf.default.accept_dad': '0',
  'net.ipv6.conf.default.dad_transmits': '0',
  'net.ipv6.conf.default.accept_ra': '0',
  'net.ipv6.conf.default.autoconf': '0',
  'net.ipv6.conf.default.router_solicitations': '0',
}

const NOTE = /^cni-offload port=(?<name>[^ ]+) mtu=(?<mtu>\d+) owner=(?<owner>[^ ]+)$/

/**
 * The namespace on the DPU that a CNI takes for the pod's, with the port of one VF inside.
 *
 * Its name follows from the VF, so a restarted agent finds it again. What the port was before is noted as the alias of the
 * namespace's loopback device: the note lives exactly as long as what it describes.
 */
export class ProxyNamespace {
  /** The port that it is for. */
  readonly port: PortRef
  /** Name below `/run/netns`. */
  readonly name: string
  /** Path of the namespace. */
  readonly path: NetnsPath
  readonly #net: LinuxNet
  readonly #home: NetnsPath
  readonly #owner: string

  /** Makes nothing yet. */
  constructor(net: LinuxNet, port: PortRef, options: ProxyOptions) {
    this.port = port
    this.name = proxyName(options.prefix, formatVfId(port.vf))
    this.path = `/run/netns/${this.name}`
    this.#net = net
    this.#home = options.home
    this.#owner = options.owner
  }

  /**
   * Makes sure that the namespace is there and has the port inside, and returns its links. Cheap when nothing has to be
   * done; otherwise it costs one move of a device between namespaces.
   *
   * @throws OffloadError HARDWARE_FAILURE when the port is nowhere
   */
  async ready(): Promise<Link[]> {
    const links = await this.links()
    if (links?.some(({ name }) => name === PORT_IN_PROXY) !== true) return await this.#adopt(links === undefined)
    const note = noteOf(links)
    // Taken by the adapter of an earlier configuration: from now on it is ours to give back.
    if (note !== undefined && note.owner !== this.#owner) await this.#net.apply(this.path, [this.#noteOp(note)])
    return links
  }

  /** All links of the namespace; undefined when there is no namespace. */
  async links(): Promise<Link[] | undefined> {
    try {
      return await this.#net.links(this.path)
    } catch (error) {
      if (OffloadError.is(error) && error.code === 'NOT_FOUND') return undefined
      throw error
    }
  }

  /** Cuts the port off and sets it back to what it was, inside the namespace. A port or namespace that is gone is success. */
  async neutral(): Promise<void> {
    const links = await this.links()
    if (links?.some(({ name }) => name === PORT_IN_PROXY) !== true) return
    const mtu = noteOf(links)?.mtu
    await this.#net.apply(this.path, [
      { op: 'link.set', dev: PORT_IN_PROXY, up: false },
      { op: 'redirect.clear', dev: PORT_IN_PROXY },
      ...(mtu === undefined ? [] : [{ op: 'link.set', dev: PORT_IN_PROXY, mtu } as const]),
    ])
  }

  /**
   * Gives the port back to where it came from, as it was. The namespace stays for the next time. A port that is not inside, or
   * that somebody else has put there, is left alone.
   */
  async giveBack(): Promise<void> {
    if (noteOf((await this.links()) ?? [])?.owner === this.#owner) await this.#takeOut()
  }

  /**
   * Gives the port back and removes the namespace: for an adapter that is being replaced by another. What a CNI still has in
   * it is destroyed.
   */
  async dismantle(): Promise<void> {
    await this.#takeOut()
    await this.#net.deleteNetns(this.name)
  }

  #noteOp({ name, mtu }: Pick<Link, 'name' | 'mtu'>): NetOp {
    return { op: 'link.set', dev: 'lo', alias: `cni-offload port=${name} mtu=${mtu} owner=${this.#owner}` }
  }

  async #takeOut(): Promise<void> {
    await this.neutral()
    const links = await this.links()
    if (links?.some(({ name }) => name === PORT_IN_PROXY) !== true) return
    const name = noteOf(links)?.name ?? this.port.name
    await this.#net.apply(this.path, [{ op: 'link.move', dev: PORT_IN_PROXY, netns: this.#home, name }])
    reached('splice.port.returned')
  }

  async #adopt(absent: boolean): Promise<Link[]> {
    if (absent) await this.#net.createNetns(this.name)
    const outside = await this.#net.link(this.#home, this.port.name)
    if (outside === undefined)
      throw new OffloadError(
        'HARDWARE_FAILURE',
        `port ${this.port.name} of VF ${formatVfId(this.port.vf)} is neither in ${this.#home} nor in ${this.path}`,
        {
          hint: 'Look where the device is; another adapter or another proxyPrefix may still hold it.',
        },
      )
    await this.#net.apply(this.path, [
      this.#noteOp(outside),
      ...Object.entries(SILENT).map(([key, value]) => ({ op: 'sysctl', key, value }) as const),
    ])
    await this.#net.apply(this.#home, [{ op: 'link.move', dev: outside.name, netns: this.path, name: PORT_IN_PROXY }])
    reached('splice.port.taken')
    // Before it is ever up: a link-local address of its own would send router solicitations into the pod.
    await this.#net.apply(this.path, [{ op: 'sysctl', key: `net.ipv6.conf.${PORT_IN_PROXY}.disable_ipv6`, value: '1' }])
    return await this.#net.links(this.path)
  }
}

function noteOf(links: readonly Link[]): { readonly name: string; readonly mtu: number; readonly owner: string } | undefined {
  const { name, mtu, owner } = NOTE.exec(links.find((link) => link.name === 'lo')?.alias ?? '')?.groups ?? {}
  return name === undefined || mtu === undefined || owner === undefined ? undefined : { name, mtu: Number(mtu), owner }
}

/** VF ids are mostly usable as file names; where one is not, a hash keeps it unique. */
function proxyName(prefix: string, vf: string): string {
  const plain = vf.replaceAll('/', '-')
  const device = vf.slice(0, vf.lastIndexOf('/'))
  if (/^[A-Za-z0-9_.:]+$/.test(device) && plain.length <= 64) return `${prefix}-${plain}`
  return `${prefix}-${createHash('sha256').update(vf).digest('hex').slice(0, 32)}`
}
