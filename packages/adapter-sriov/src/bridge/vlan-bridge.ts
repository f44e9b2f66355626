import { createHash } from 'node:crypto'
import type { FrameProgram, Link, LinuxNet, NetOp } from '@cni-offload/linux'
import { OffloadError, type PortRef, type VfVlan } from '@cni-offload/sdk'
import { closedPrograms, isOf, type PortPrograms, portPrograms } from '../guard/port-programs.ts'
import type { Identity } from '../guard/sources.ts'
import type { SriovOptions } from '../options.ts'
import type { PortPolicy, Tagging } from '../policy/policy.ts'

/** What a port of the bridge is to be. */
export interface PortPlan extends Identity {
  /** Name of the port. */
  readonly port: string
  /** What it enforces. */
  readonly policy: PortPolicy
}

/** A bridge of all VLANs: frames cross it with their tags, and each port's programs decide which ones it has to do with. */
export class VlanBridge {
  readonly #net: LinuxNet
  readonly #owner: string
  readonly #options: Pick<SriovOptions, 'bridge' | 'uplink' | 'mtu' | 'netns'>

  /** Touches nothing yet. @param owner - tells the adapters apart that share a bridge; the same after a restart */
  constructor(net: LinuxNet, owner: string, options: Pick<SriovOptions, 'bridge' | 'uplink' | 'mtu' | 'netns'>) {
    this.#net = net
    this.#owner = owner
    this.#options = options
  }

  /** Makes bridge and uplink what they have to be. @throws OffloadError NOT_FOUND without the uplink */
  async start(): Promise<void> {
    const { bridge, uplink, mtu, netns } = this.#options
    // Who is in which group would be asked in one VLAN only, and be true of all: multicast goes to all ports, and the programs part it.
    const make: NetOp = { op: 'link.add-bridge', dev: bridge, mac: stableMac(bridge), mtu, multicastSnooping: false }
    const isThere = (await this.#net.link(netns, bridge)) !== undefined
    await this.#net.apply(netns, [
      ...(isThere ? [] : [make]),
      { op: 'link.set', dev: bridge, mtu },
      withoutIpv6(bridge),
      // The DPU's own network stack is no part of any pod's network.
      ...programOps(bridge, closedPrograms(), isThere ? await this.#net.programs(netns, bridge) : []),
      { op: 'link.set', dev: bridge, up: true },
      ...(uplink === undefined ? [] : [withoutIpv6(uplink), { op: 'link.set', dev: uplink, master: bridge, up: true } as const]),
    ])
  }

  /** Makes the port what it is to be; what is right already is left as it is. */
  async plug(plan: PortPlan): Promise<void> {
    const { bridge, mtu, netns } = this.#options
    const { port, policy, mac } = plan
    const [link, master] = await Promise.all([this.#net.link(netns, port), this.#net.link(netns, bridge)])
    if (link === undefined) throw new OffloadError('NOT_FOUND', `there is no port ${port}`)
    const joined = master !== undefined && link.master === master.index
    const present = joined ? await this.#net.programs(netns, port) : []
    const tied = joined ? await this.#net.forwarding(netns, port) : []
    await this.#net.apply(netns, [
      // What a former network left on it must not see a frame of this one.
      ...(joined ? [] : [{ op: 'link.set', dev: port, up: false, master: null } as const, { op: 'program.clear', dev: port } as const]),
      { op: 'link.set', dev: port, mtu },
      // The port must not speak by itself.
      withoutIpv6(port),
      ...programOps(port, portPrograms(this.#owner, policy, plan), present),
      { op: 'link.set', dev: port, master: bridge },
      { op: 'bridge.port', dev: port, port: bridgePort(policy) },
      ...tied.filter((other) => other !== mac).map((other): NetOp => ({ op: 'forward.del', dev: port, mac: other })),
      // Known at once, not with its first frame; and nobody else gets what is for the pod by sending with its address.
      { op: 'forward.set', dev: port, mac },
      { op: 'link.set', dev: port, up: policy.up },
    ])
  }

  /**
   * Shows the network where the pod is, in its VLAN, at once: what the host sends when the pod is wired may come before the bridge has heard
   * that the port's link is up. Pods that tag all frames themselves are left to that.
   */
  async announce({ mac, ips, policy: { tagging, up } }: PortPlan): Promise<void> {
    const { uplink, netns } = this.#options
    const vlan = vlanOf(tagging)
    if (uplink === undefined || vlan === undefined || !up) return
    await this.#net.apply(netns, [{ op: 'announce.for', dev: uplink, mac, addresses: ips, ...(vlan.id === 0 ? {} : { vlan }) }])
  }

  /** Takes the port out: down first, so that nothing flows while its programs go. A port that is gone is unplugged. */
  async unplug(port: string): Promise<void> {
    try {
      await this.#net.apply(this.#options.netns, [
        { op: 'link.set', dev: port, up: false, master: null },
        { op: 'program.clear', dev: port },
      ])
    } catch (error) {
      if (!OffloadError.is(error) || error.code !== 'NOT_FOUND') throw error
    }
  }

  /** Takes out what an earlier run of this adapter has left in the bridge and no attachment has. */
  async unplugOthers(ports: readonly PortRef[], attached: ReadonlySet<string>): Promise<void> {
    const { bridge, netns } = this.#options
    const links = await this.#net.links(netns)
    const master = links.find(({ name }) => name === bridge)?.index
    const left = new Set(links.filter((link) => link.master === master).map(({ name }) => name))
    for (const { name } of ports) {
      if (!left.has(name) || attached.has(name)) continue
      const [program] = await this.#net.programs(netns, name)
      if (program !== undefined && isOf(this.#owner, program.name)) await this.unplug(name)
    }
  }

  /** What is not as it has to be; undefined if all is. */
  async problem(plan: PortPlan): Promise<string | undefined> {
    const { bridge, mtu, netns } = this.#options
    const { port, policy, mac } = plan
    const [link, master] = await Promise.all([this.#net.link(netns, port), this.#net.link(netns, bridge)])
    if (link === undefined) return `port ${port} is gone`
    if (master === undefined || link.master !== master.index) return `port ${port} is not in bridge ${bridge}`
    if (link.up !== policy.up) return `port ${port} is ${link.up ? 'up' : 'down'}`
    if (link.mtu !== mtu) return `port ${port} has MTU ${link.mtu}, expected ${mtu}`
    for (const [name, value] of Object.entries(bridgePort(policy)))
      if (link.bridgePort?.[name as keyof ReturnType<typeof bridgePort>] !== value)
        return `port ${port}: ${name} is ${value ? 'off' : 'on'}, expected ${value ? 'on' : 'off'}`
    if (!(await this.#net.forwarding(netns, port)).includes(mac)) return `frames for ${mac} are not sent to port ${port}`
    return programProblem(port, portPrograms(this.#owner, policy, plan), await this.#net.programs(netns, port))
  }

  /** What keeps the bridge itself from working; undefined if nothing does. */
  async bridgeProblem(): Promise<string | undefined> {
    const { bridge, uplink, netns } = this.#options
    const master = await this.#net.link(netns, bridge)
    if (master === undefined || !master.up) return `bridge ${bridge} is ${master === undefined ? 'missing' : 'down'}`
    if (uplink === undefined) return undefined
    const link = await this.#net.link(netns, uplink)
    if (link === undefined) return `uplink ${uplink} is missing`
    if (link.master !== master.index) return `uplink ${uplink} is not in bridge ${bridge}`
    return link.up ? undefined : `uplink ${uplink} is down`
  }

  /** Which of the ports are in the bridge and as far up as they are to be. */
  async forwarding(plans: readonly Pick<PortPlan, 'port' | 'policy'>[]): Promise<ReadonlySet<string>> {
    const { bridge, netns } = this.#options
    const links = new Map((await this.#net.links(netns)).map((link): [string, Link] => [link.name, link]))
    const master = links.get(bridge)?.index
    const isRight = ({ port, policy }: Pick<PortPlan, 'port' | 'policy'>): boolean => {
      const link = links.get(port)
      return master !== undefined && link?.master === master && link.up === policy.up
    }
    return new Set(plans.filter(isRight).map(({ port }) => port))
  }
}

const bridgePort = ({ promiscuous, isolated }: PortPolicy): { learning: boolean; flood: boolean; isolated: boolean } => ({
  learning: promiscuous,
  flood: promiscuous,
  isolated,
})

/** The VLAN of frames that the pod sends without tag; 0 for none. Undefined if it sends no such frames. */
function vlanOf(tagging: Tagging): VfVlan | undefined {
  const none: VfVlan = { id: 0, qos: 0, protocol: '802.1q' }
  if (tagging.kind === 'trunk') return tagging.native
  if (tagging.kind === 'access') return tagging.vlan
  return tagging.kind === 'tagged' ? { ...none, id: tagging.id } : none
}

/** Only what differs is set: a program that is set again forgets how much was sent. */
function programOps(dev: string, wanted: PortPrograms, present: readonly FrameProgram[]): NetOp[] {
  return (['ingress', 'egress'] as const).flatMap((hook): NetOp[] => {
    const there = present.filter((program) => program.hook === hook)
    const { name, program } = wanted[hook]
    return there.length === 1 && there[0]?.name === name ? [] : [{ op: 'program.set', dev, hook, name, program }]
  })
}

function programProblem(dev: string, wanted: PortPrograms, present: readonly FrameProgram[]): string | undefined {
  for (const hook of ['ingress', 'egress'] as const) {
    const [first] = present.filter((program) => program.hook === hook)
    if (first === undefined) return `port ${dev} has no program on ${hook}: VLAN, guards and rate are not enforced`
    if (first.name !== wanted[hook].name) return `port ${dev} has another program on ${hook} than its settings ask for`
  }
  return undefined
}

const withoutIpv6 = (dev: string): NetOp => ({ op: 'sysctl', key: `net.ipv6.conf.${dev.replaceAll('.', '/')}.disable_ipv6`, value: '1' })

/** A locally administered MAC that is the same after every restart. */
function stableMac(name: string): string {
  const octets = createHash('sha256').update(name).digest().subarray(0, 5)
  return ['02', ...Array.from(octets, (octet) => octet.toString(16).padStart(2, '0'))].join(':')
}
