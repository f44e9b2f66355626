import type { LinuxNet, NetnsPath, NetOp } from '@cni-offload/linux'
import { OffloadError } from '@cni-offload/sdk'
import { exec, inNetns } from '../net/exec.ts'
import type { PodRanges } from './ipam.ts'
import type { ProtectedAddress } from './policy.ts'

/** What an endpoint's device has to forward. */
export interface EndpointWiring {
  /** The agent's end of the endpoint's device. */
  readonly device: string
  /** MAC of the endpoint: all that goes to it is addressed to this one. */
  readonly mac: string
  /** Addresses of the endpoint. */
  readonly ips: readonly string[]
}

/** A network device as the agent sees it. */
export interface AgentLink {
  /** Kind, `veth` for example. */
  readonly kind: string
  /** Index. */
  readonly index: number
  /** MAC. */
  readonly mac: string
}

/** What moves the packets of a fake agent's endpoints. */
export interface FakeDatapath {
  /** Makes what all endpoints share. */
  start(routers: PodRanges): Promise<void>
  /** A device; undefined if there is none of that name. */
  link(device: string): Promise<AgentLink | undefined>
  /** Begins to forward; again is success. @throws OffloadError when the device is missing or refuses */
  connect(wiring: EndpointWiring): Promise<void>
  /** Stops forwarding; a device that is gone is success. */
  disconnect(wiring: EndpointWiring): Promise<void>
  /** From now on only these addresses are protected. */
  protect(addresses: readonly ProtectedAddress[]): Promise<void>
}

/** Moves nothing and finds every device in order: for tests of the API alone, which then need no root. */
export const noDatapath: FakeDatapath = {
  start: () => Promise.resolve(),
  link: () => Promise.resolve({ kind: 'veth', index: 1, mac: '02:00:00:00:00:01' }),
  connect: () => Promise.resolve(),
  disconnect: () => Promise.resolve(),
  protect: () => Promise.resolve(),
}

const HOST = 'cilium_host'
const TABLE = 'fake_cilium'

/**
 * A router in a network namespace instead of eBPF programs. As with Cilium, the router's addresses are those of `cilium_host`,
 * each endpoint is reached by a route to its device, what goes to it is addressed to the MAC that the agent was told, and the
 * device answers for the router's address.
 */
export class NetnsDatapath implements FakeDatapath {
  readonly #net: LinuxNet
  readonly #netns: NetnsPath
  #routers: PodRanges = {}
  /** Whether there are certainly no rules; an earlier run of the agent may have left some. */
  #bare = false

  /** Makes nothing yet. @param netns - the agent's namespace */
  constructor(net: LinuxNet, netns: NetnsPath) {
    this.#net = net
    this.#netns = netns
  }

  async start(routers: PodRanges): Promise<void> {
    this.#routers = routers
    const { ipv4, ipv6 } = routers
    if ((await this.#net.link(this.#netns, HOST)) === undefined)
      await this.#net.apply(this.#netns, [{ op: 'link.add-veth', dev: HOST, peer: { name: 'cilium_net' } }])
    const present = await this.#net.addresses(this.#netns, HOST)
    const wanted = [...(ipv4 === undefined ? [] : [`${ipv4}/32`]), ...(ipv6 === undefined ? [] : [`${ipv6}/128`])]
    await this.#net.apply(this.#netns, [
      { op: 'link.set', dev: 'cilium_net', up: true },
      { op: 'link.set', dev: HOST, up: true },
      { op: 'sysctl', key: 'net.ipv4.ip_forward', value: '1' },
      { op: 'sysctl', key: 'net.ipv6.conf.all.forwarding', value: '1' },
      { op: 'sysctl', key: 'net.ipv4.conf.all.rp_filter', value: '0' },
      ...wanted.filter((address) => !present.includes(address)).map((address): NetOp => ({ op: 'addr.add', dev: HOST, address })),
    ])
  }

  async link(device: string): Promise<AgentLink | undefined> {
    return await this.#net.link(this.#netns, device)
  }

  async connect({ device, mac, ips }: EndpointWiring): Promise<void> {
    const { ipv6 } = this.#routers
    // The kernel answers ARP for an address of any device, but neighbour solicitations only for those of the device itself.
    const own = ipv6 === undefined || (await this.#net.addresses(this.#netns, device)).includes(`${ipv6}/128`) ? [] : [`${ipv6}/128`]
    await this.#net.apply(this.#netns, [
      { op: 'sysctl', key: `net.ipv4.conf.${device}.rp_filter`, value: '0' },
      { op: 'link.set', dev: device, up: true },
      ...own.map((address): NetOp => ({ op: 'addr.add', dev: device, address, prefixRoute: false })),
      ...ips.flatMap((ip): NetOp[] => [
        { op: 'route.add', dev: device, route: ip.includes(':') ? { dst: `${ip}/128` } : { dst: `${ip}/32`, scope: 253 }, existsOk: true },
        { op: 'neigh.add', dev: device, ip, mac },
      ]),
    ])
  }

  /** The device goes down, and its routes with it. */
  async disconnect({ device }: EndpointWiring): Promise<void> {
    try {
      await this.#net.apply(this.#netns, [{ op: 'link.set', dev: device, up: false }])
    } catch (error) {
      if (!OffloadError.is(error) || error.code !== 'NOT_FOUND') throw error
    }
  }

  async protect(addresses: readonly ProtectedAddress[]): Promise<void> {
    if (addresses.length === 0 && this.#bare) return
    const { code, stderr } = await exec(inNetns(this.#netns, ['nft', '-f', '-']), { input: rulesFor(addresses) })
    if (code !== 0) throw new OffloadError('INTERNAL', `nft refused the rules of the fake agent's policies: ${stderr}`)
    this.#bare = addresses.length === 0
  }
}

/** Replaces the table as a whole, so that no packet ever meets half of the rules. */
function rulesFor(addresses: readonly ProtectedAddress[]): string {
  const rules = addresses.flatMap(({ ip, allowed }) => {
    const family = ip.includes(':') ? 'ip6' : 'ip'
    const accepts = allowed.flatMap(({ from, ports }) => {
      if (from?.length === 0) return []
      const source = from === undefined ? '' : `${family} saddr { ${from.join(', ')} } `
      const targets = ports?.map(({ port, protocol }) => `${protocol.toLowerCase()} dport ${port} `) ?? ['']
      return targets.map((target) => `${family} daddr ${ip} ${source}${target}accept`)
    })
    return [...accepts, `${family} daddr ${ip} drop`]
  })
  const body = ['type filter hook forward priority 0; policy accept;', 'ct state established,related accept', ...rules].join('\n')
  return `table inet ${TABLE}\ndelete table inet ${TABLE}\ntable inet ${TABLE} {\nchain forward {\n${body}\n}\n}\n`
}
