import type { Link, LinuxNet, NetnsPath, NetOp } from '@cni-offload/linux'
import { type AttachmentKey, formatVfId, OffloadError, type PortRef } from '@cni-offload/sdk'
import type { AgentEnd, EndpointDevice } from './endpoint-device.ts'
import { portTaken } from './pod-device.ts'
import { formatPortNote, isNoteOf, parsePortNote, type PortNote } from './port-note.ts'

/**
 * The port itself as the device of an endpoint: no veth pair, no proxy namespace and no splice. It stays in the agent's namespace, and
 * carries a note that says whose it is and how it was.
 *
 * Nothing but the agent's programs separates a port in that namespace from the network stack of the DPU. So it is down unless there is an
 * endpoint with its programs in place. The agent is content with that: it attaches programs to a device that is down. What it
 * cannot do is make a route over it, as with `endpointRoutes.enabled`.
 */
export class PortDevice implements EndpointDevice {
  readonly #net: LinuxNet
  readonly #home: NetnsPath
  readonly #port: PortRef
  readonly #key: AttachmentKey

  /** Changes nothing yet. @param home - namespace of the agent and of the port */
  constructor(net: LinuxNet, home: NetnsPath, port: PortRef, key: AttachmentKey) {
    this.#net = net
    this.#home = home
    this.#port = port
    this.#key = key
  }

  async assertFree(): Promise<void> {
    await this.#free()
  }

  async make(_mac: string, mtu: number): Promise<AgentEnd> {
    await this.remove()
    const { name, index, mac, mtu: before, alias } = await this.#free()
    await this.#net.apply(this.#home, [
      // First: whoever is killed after it has left what puts the rest right.
      { op: 'link.set', dev: name, alias: formatPortNote(name, this.#key, { alias, mac, mtu: before }) },
      { op: 'link.set', dev: name, up: false },
      { op: 'redirect.clear', dev: name },
      { op: 'link.set', dev: name, mtu },
      ...settings(name),
    ])
    return { name, index, mac }
  }

  async agentEnd(): Promise<AgentEnd | undefined> {
    return (await this.#held())?.link
  }

  async open(): Promise<void> {
    const { name } = this.#port
    if ((await this.#held()) !== undefined) await this.#net.apply(this.#home, [{ op: 'link.set', dev: name, up: true }])
    if ((await this.#held())?.link.up === true) return
    throw new OffloadError('KERNEL_REFUSED', `port ${name} in ${this.#home} does not come up: it is gone, or another attachment has it`)
  }

  /** What was down has lost the routes and neighbours that the agent made over it. */
  reopen(): Promise<boolean> {
    return Promise.resolve(false)
  }

  async close(): Promise<void> {
    if ((await this.#held()) !== undefined) await this.#net.apply(this.#home, [{ op: 'link.set', dev: this.#port.name, up: false }])
  }

  async remove(): Promise<void> {
    const held = await this.#held()
    if (held !== undefined) await neutral(this.#net, this.#home, this.#port.name, held.note)
  }

  async problem(expected: { readonly mtu: number }): Promise<string | undefined> {
    const held = await this.#held()
    const { name } = this.#port
    if (held === undefined) return `port ${name} in ${this.#home} is gone, or another attachment has it`
    const { link, note } = held
    if (!link.up) return `port ${name} is down`
    if (link.mtu !== expected.mtu) return `port ${name} has MTU ${link.mtu}, expected ${expected.mtu}`
    return link.mac === note.mac ? undefined : `port ${name} has MAC ${link.mac}, but the pod knows its gateway by ${note.mac}`
  }

  /** The port if nobody else has it. */
  async #free(): Promise<Link> {
    const { name, vf } = this.#port
    const link = await this.#net.link(this.#home, name)
    if (link === undefined) throw portMissing(this.#port, this.#home)
    const note = parsePortNote(link.alias)
    if (note !== undefined && !isNoteOf(note, this.#key)) throw portTaken({ port: this.#port }, note.attachment)
    if (link.master !== undefined)
      throw new OffloadError('ALREADY_EXISTS', `port ${name} of VF ${formatVfId(vf)} belongs to the device with index ${link.master}`, {
        hint: 'Another adapter has it: end that attachment first.',
      })
    return link
  }

  /** The port if this attachment has it. */
  async #held(): Promise<{ readonly link: Link; readonly note: PortNote } | undefined> {
    const link = await this.#net.link(this.#home, this.#port.name)
    const note = parsePortNote(link?.alias ?? '')
    return link !== undefined && note !== undefined && isNoteOf(note, this.#key) ? { link, note } : undefined
  }
}

/** The error for a port that is not where it has to be. */
export function portMissing({ name, vf }: PortRef, home: NetnsPath): OffloadError {
  return new OffloadError('HARDWARE_FAILURE', `port ${name} of VF ${formatVfId(vf)} is not in ${home}`, {
    hint: 'Look where the device is; another adapter may still hold it.',
  })
}

async function neutral(net: LinuxNet, home: NetnsPath, dev: string, { alias, mtu }: PortNote): Promise<void> {
  await net.apply(home, [
    { op: 'link.set', dev, up: false },
    // With a veth pair the agent's programs go with the device; a port would keep them.
    { op: 'redirect.clear', dev },
    { op: 'addr.flush', dev },
    { op: 'link.set', dev, mtu },
    // Last: until then a process that is killed leaves a port that is known to be not yet neutral.
    { op: 'link.set', dev, alias },
  ])
}

/**
 * What a port in the agent's namespace must not do of its own accord: say anything by IPv6 that the agent has not asked for, or learn
 * routes from the pod. IPv6 stays on: without BPF host routing packets of the pod pass the network stack.
 */
function settings(dev: string): NetOp[] {
  const name = dev.replaceAll('.', '/')
  const values = {
    // What the pod sends comes from addresses that the main table knows only when the agent has made their routes.
    [`net.ipv4.conf.${name}.rp_filter`]: '0',
    [`net.ipv6.conf.${name}.addr_gen_mode`]: '1',
    [`net.ipv6.conf.${name}.accept_dad`]: '0',
    [`net.ipv6.conf.${name}.dad_transmits`]: '0',
    [`net.ipv6.conf.${name}.accept_ra`]: '0',
    [`net.ipv6.conf.${name}.autoconf`]: '0',
    [`net.ipv6.conf.${name}.router_solicitations`]: '0',
  }
  return Object.entries(values).map(([key, value]) => ({ op: 'sysctl', key, value }))
}
