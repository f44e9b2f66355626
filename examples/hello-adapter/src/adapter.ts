import { createHash } from 'node:crypto'
import type { LinuxNet, NetOp } from '@cni-offload/linux'
import {
  type AdapterCapabilities,
  type AttachmentKey,
  type AttachRequest,
  type AttachResult,
  type CheckRequest,
  type CniAdapter,
  type DetachRequest,
  formatAttachmentKey,
  type KnownAttachment,
  type Logger,
  macAddress,
  OffloadError,
  type OpContext,
  parseWith,
  type PortRef,
  type Route,
} from '@cni-offload/sdk'
import { addressAt, type Pool, wantedOffsets } from '@cni-offload/sdk/pool'
import type { Attachments } from './attachments.ts'
import type { HelloOptions } from './options.ts'
import { reached } from './steps.ts'

/** A pool whose gateway is the bridge. */
export interface HelloPool extends Pool {
  /** Distance of the bridge's address from the first one of the subnet. */
  readonly gatewayOffset: number
}

/** A Linux bridge on the DPU whose ports are the ports of the VFs; the bridge is the pods' gateway. */
export class HelloAdapter implements CniAdapter {
  readonly name = 'hello'
  readonly specVersion = 'v1'
  readonly capabilities: AdapterCapabilities
  readonly #net: LinuxNet
  readonly #attachments: Attachments
  readonly #pools: readonly HelloPool[]
  readonly #options: HelloOptions

  /** Takes over `net` and `attachments`: both are disposed with the adapter. */
  constructor(net: LinuxNet, attachments: Attachments, pools: readonly HelloPool[], options: HelloOptions) {
    this.#net = net
    this.#attachments = attachments
    this.#pools = pools
    this.#options = options
    const families = pools.map(({ subnet }) => familyOf(subnet.cidr))
    this.capabilities = { families: [...new Set(families)], runtimeConfig: ['mac', 'ips'], fixedMac: true }
  }

  /** All that is slow or done once: the bridge, its addresses, forwarding. Per pod only the port joins. */
  async start(_ports: readonly PortRef[], { log }: OpContext, known: readonly KnownAttachment[] = []): Promise<void> {
    // Its own first: they hold what they have also where the pools were configured otherwise before.
    for (const attachment of [...this.#attachments.all(), ...known]) this.#hold(attachment, log)
    const { bridge, mtu, netns } = this.#options
    const ops: NetOp[] = []
    // A bridge without a MAC of its own takes that of its lowest port: the gateway's MAC would change as pods come and go.
    if ((await this.#net.link(netns, bridge)) === undefined) ops.push({ op: 'link.add-bridge', dev: bridge, mac: stableMac(bridge), mtu })
    ops.push({ op: 'link.set', dev: bridge, mtu })
    // Where pods have no IPv6 the bridge must not speak it either.
    if (!this.capabilities.families.includes('ipv6')) ops.push(...withoutIpv6(bridge, mtu))
    ops.push({ op: 'link.set', dev: bridge, up: true })
    await this.#net.apply(netns, ops)

    const present = await this.#net.addresses(netns, bridge)
    const missing = this.#pools.map(gatewayCidr).filter((address) => !present.includes(address))
    await this.#net.apply(netns, [
      ...missing.map((address): NetOp => ({ op: 'addr.add', dev: bridge, address })),
      { op: 'sysctl', key: 'net.ipv4.ip_forward', value: '1' },
      { op: 'sysctl', key: 'net.ipv6.conf.all.forwarding', value: '1' },
    ])
  }

  async attach(req: AttachRequest, ctx: OpContext): Promise<AttachResult> {
    refuseUnsupported(req)
    cancelled(ctx)
    const known = this.#attachments.get(req.key)
    const held = known?.request.port.name
    if (known !== undefined && held === req.port.name && (req.had === undefined || sameToPod(known.result, req.had))) {
      await this.#plug(held)
      return known.result
    }
    if (held !== undefined) await this.#unplug(held)
    if (known !== undefined) this.#attachments.release(req.key)
    // The row comes first: whatever crashes from here on, detach finds what to undo.
    const wanted = wantedOffsets(this.#pools, ...wishOf(req))
    const made = this.#attachments.assign(req, (addresses) => asBefore(this.#describe(addresses, podMac(req)), req.had), wanted)
    reached('hello.attach.address-leased')
    try {
      await this.#plug(req.port.name)
      reached('hello.attach.port-bridged')
      cancelled(ctx)
      return made.result
    } catch (error) {
      await this.#unplug(req.port.name)
      // What a running pod uses is nobody else's, whether it is connected or not.
      if (req.had === undefined) this.#attachments.release(req.key)
      throw error
    }
  }

  async detach(req: DetachRequest): Promise<void> {
    const port = this.#attachments.get(req.key)?.request.port ?? req.port
    // The port first: an address must not be free while its last owner can still send.
    if (port !== undefined) await this.#unplug(port.name)
    reached('hello.detach.port-unplugged')
    this.#attachments.release(req.key)
    reached('hello.detach.address-released')
  }

  async check(req: CheckRequest): Promise<void> {
    const known = this.#attachments.get(req.key)
    if (known === undefined) throw new OffloadError('CHECK_FAILED', `attachment ${formatAttachmentKey(req.key)} has no address`)
    const [has, should] = [addressList(known.result), addressList(req.expected)]
    if (has !== should) throw new OffloadError('CHECK_FAILED', `addresses are ${has}, expected ${should}`)
    const problem = await this.#portProblem(known)
    if (problem !== undefined) throw new OffloadError('CHECK_FAILED', problem)
  }

  async status(): Promise<void> {
    const { bridge, netns } = this.#options
    const link = await this.#net.link(netns, bridge)
    if (link === undefined || !link.up)
      throw new OffloadError('NOT_READY', `bridge ${bridge} is ${link === undefined ? 'missing' : 'down'}`, {
        hint: 'Restart the agent: it makes the bridge when it starts.',
      })
    const exhausted = this.#attachments.exhausted()
    if (exhausted.length > 0)
      throw new OffloadError('NOT_READY', `no address of ${exhausted.join(' and ')} is free`, { hint: 'Give the pool a larger subnet.' })
  }

  /** What is remembered and really forwards: an attachment whose port left the bridge is left out, so that resync repairs it. */
  async list(): Promise<AttachmentKey[]> {
    const links = new Map((await this.#net.links(this.#options.netns)).map((link) => [link.name, link]))
    const bridge = links.get(this.#options.bridge)
    return this.#attachments
      .all()
      .map(({ request }) => ({ key: request.key, port: links.get(request.port.name) }))
      .filter(({ port }) => bridge !== undefined && port?.up === true && port.master === bridge.index)
      .map(({ key }) => key)
  }

  async remembered(): Promise<KnownAttachment[]> {
    return this.#attachments.all()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#attachments[Symbol.dispose]()
    await this.#net[Symbol.asyncDispose]()
  }

  #describe(addresses: readonly string[], mac: string): AttachResult {
    const { mtu, dns, routes } = this.#options
    const ips = this.#pools.map(({ subnet, gatewayOffset }, i) => ({
      address: `${addresses[i]}/${subnet.length}`,
      gateway: addressAt(subnet, gatewayOffset),
    }))
    return { mac, mtu, ips, routes: [...(routes ?? defaultRoutes(ips))], neighbours: [], dns, sysctls: {} }
  }

  async #plug(port: string): Promise<void> {
    const { bridge, mtu, netns } = this.#options
    await this.#net.apply(netns, [
      { op: 'link.set', dev: port, mtu },
      // The port must not speak by itself: a link-local address of its own would send router solicitations into the pod.
      ...withoutIpv6(port, mtu),
      { op: 'link.set', dev: port, master: bridge, up: true },
    ])
  }

  /** Leaving the bridge also forgets the MAC addresses that it learned there. A port that is gone is unplugged. */
  async #unplug(port: string): Promise<void> {
    try {
      await this.#net.apply(this.#options.netns, [{ op: 'link.set', dev: port, up: false, master: null }])
    } catch (error) {
      if (!OffloadError.is(error) || error.code !== 'NOT_FOUND') throw error
    }
  }

  #hold(attachment: KnownAttachment, log: Logger): void {
    try {
      this.#attachments.hold(attachment)
    } catch (error) {
      if (!OffloadError.is(error) || error.code !== 'ALREADY_EXISTS') throw error
      log.error({ err: error, key: formatAttachmentKey(attachment.request.key) }, 'an attachment cannot be taken over')
    }
  }

  async #portProblem({ request, result }: KnownAttachment): Promise<string | undefined> {
    const { bridge, netns } = this.#options
    const port = request.port.name
    const [link, master] = await Promise.all([this.#net.link(netns, port), this.#net.link(netns, bridge)])
    if (link === undefined) return `port ${port} is gone`
    if (master === undefined || link.master !== master.index) return `port ${port} is not in bridge ${bridge}`
    if (!link.up) return `port ${port} is down`
    return link.mtu === result.mtu ? undefined : `port ${port} has MTU ${link.mtu}, expected ${result.mtu}`
  }
}

/** What this adapter cannot honour is refused, never ignored. */
function refuseUnsupported(req: AttachRequest): void {
  const refused = { hostIpam: req.hostIpam, vlan: req.vlan, 'flags.ipsec': req.flags.ipsec || undefined }
  for (const [field, value] of Object.entries(refused))
    if (value !== undefined)
      throw new OffloadError('UNSUPPORTED_FIELD', `${field} = ${JSON.stringify(value)}: adapter "hello" cannot do it`)
}

/** What a running pod has counts more than what was once asked for; all of it has to be given again. */
function wishOf({ had, runtimeConfig }: AttachRequest): [asked: unknown, field: string] {
  return had === undefined ? [runtimeConfig['ips'], 'runtimeConfig.ips'] : [had.ips.map(({ address }) => address), 'had.ips']
}

/** A pool more or less than there was makes another result. @throws OffloadError ADAPTER_FAILED */
function asBefore(result: AttachResult, had: AttachResult | undefined): AttachResult {
  if (had === undefined || sameToPod(result, had)) return result
  throw new OffloadError('ADAPTER_FAILED', `the running pod has ${addressList(had)}, the pools make it ${addressList(result)}`, {
    hint: 'Restart the pod, or set the pools back.',
  })
}

function podMac({ had, runtimeConfig, vfMac }: AttachRequest): string {
  if (had !== undefined) return had.mac
  return runtimeConfig['mac'] === undefined ? vfMac : parseWith(macAddress, runtimeConfig['mac'], 'runtimeConfig.mac', 'INVALID_NETCONF')
}

function cancelled({ signal }: OpContext): void {
  if (signal.aborted) throw OffloadError.from(signal.reason, 'CANCELLED', 'attach')
}

/** The kernel has neither IPv6 nor settings of it on links with a smaller MTU. */
function withoutIpv6(dev: string, mtu: number): NetOp[] {
  return mtu < 1280 ? [] : [{ op: 'sysctl', key: `net.ipv6.conf.${dev.replaceAll('.', '/')}.disable_ipv6`, value: '1' }]
}

const familyOf = (address: string): 'ipv4' | 'ipv6' => (address.includes(':') ? 'ipv6' : 'ipv4')

/** A kernel has one default route per family. */
function defaultRoutes(ips: readonly { readonly address: string; readonly gateway: string }[]): Route[] {
  const firstOf = (family: string): typeof ips => ips.filter(({ address }) => familyOf(address) === family).slice(0, 1)
  return [
    ...firstOf('ipv4').map(({ gateway }) => ({ dst: '0.0.0.0/0', gw: gateway })),
    ...firstOf('ipv6').map(({ gateway }) => ({ dst: '::/0', gw: gateway })),
  ]
}

const sameToPod = (a: AttachResult, b: AttachResult): boolean => a.mac === b.mac && addressList(a) === addressList(b)

const addressList = ({ ips }: AttachResult): string => ips.map(({ address }) => address).join(', ')

const gatewayCidr = ({ subnet, gatewayOffset }: HelloPool): string => `${addressAt(subnet, gatewayOffset)}/${subnet.length}`

/** A locally administered MAC that is the same after every restart, so that pods' neighbour caches stay right. */
function stableMac(name: string): string {
  const octets = createHash('sha256').update(name).digest().subarray(0, 5)
  return ['02', ...Array.from(octets, (octet) => octet.toString(16).padStart(2, '0'))].join(':')
}
