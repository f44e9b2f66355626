import { execFileSync, spawnSync } from 'node:child_process'
import { systemClock } from '@cni-offload/sdk'
import { createLinuxNet, type LinuxNet, type NetnsPath, OWN_NETNS } from '@cni-offload/linux'
import { type FunctionEnd, formatNote } from '@cni-offload/linux/function'
import { localMachine, type Machine, pollUntil } from '@cni-offload/linux/machine'
import { type PciDevice, pciDevices, setVfCount } from '@cni-offload/linux/pci'

/** The virtual machine. */
export const machine: Machine = localMachine()

/** For what ends by itself; emulated, everything takes long. */
export const patience = (): AbortSignal => AbortSignal.timeout(300_000)

/** The card with SR-IOV: an Intel 82576. */
export async function physicalFunction(): Promise<PciDevice> {
  const [pf] = (await pciDevices(machine)).filter(({ sriov }) => sriov !== undefined)
  if (pf === undefined) throw new Error('the machine has no function with SR-IOV')
  return pf
}

/** Sees to it that there are so many VFs. */
export async function vfs(count: number): Promise<readonly PciDevice[]> {
  const { address } = await physicalFunction()
  return (await setVfCount(machine, address, count, { clock: systemClock, signal: patience(), inUse: async () => undefined })).vfs
}

/** Waits until something is so. @throws Error after minutes */
export async function until(what: string, look: () => Promise<boolean>): Promise<void> {
  const seen = await pollUntil(
    async () => ((await look()) ? true : undefined),
    { clock: systemClock, signal: patience(), everyMs: 100, withinMs: 240_000 },
    what,
  )
  if (seen !== true) throw new Error(`${what}: not within four minutes`)
}

/** The card with VFs that nobody has touched, and namespaces that vanish with it. To make VFs takes seconds: each test has some of its own. */
export class Card implements AsyncDisposable {
  readonly net: LinuxNet
  /** Interface of the physical function. */
  readonly pf: string
  /** The VFs. */
  readonly ends: readonly FunctionEnd[]
  readonly #names: string[] = []

  private constructor(net: LinuxNet, pf: string, ends: readonly FunctionEnd[]) {
    this.net = net
    this.pf = pf
    this.ends = ends
  }

  /**
   * With VFs as they are when a backend has found them: with a note each.
   *
   * @param carrier - of the physical function while its VFs are made, and afterwards
   */
  static async with(count: number, carrier: boolean): Promise<Card> {
    await vfs(0)
    const net = createLinuxNet()
    const [pf = ''] = (await physicalFunction()).netdevs ?? []
    // The other card of the machine is on the same wire.
    const others = (await net.links(OWN_NETNS)).filter(({ parent }) => parent?.bus === 'virtio').map(({ name }) => name)
    await net.apply(
      OWN_NETNS,
      [pf, ...others].map((dev) => ({ op: 'link.set', dev, up: carrier })),
    )
    await until(`carrier of ${pf}: ${carrier}`, async () => (await net.link(OWN_NETNS, pf))?.carrier === carrier)
    const ends: FunctionEnd[] = []
    for (const [index, { address, netdevs }] of (await vfs(count)).entries()) {
      const link = await net.link(OWN_NETNS, netdevs?.[0] ?? '')
      if (link === undefined) throw new Error(`${address} has no interface`)
      const end = { vf: { device: 'igb', index }, end: 'vf', pciAddress: address, name: link.name, mac: link.mac, mtu: link.mtu } as const
      await net.apply(OWN_NETNS, [{ op: 'link.set', dev: end.name, alias: formatNote(end) }])
      ends.push(end)
    }
    return new Card(net, pf, ends)
  }

  /** A VF. */
  end(index: number): FunctionEnd {
    const end = this.ends[index]
    if (end === undefined) throw new Error(`there is no VF ${index}`)
    return end
  }

  /** Where a VF is set. */
  place(vf: number): { net: LinuxNet; netns: NetnsPath; pf: string; vf: number } {
    return { net: this.net, netns: OWN_NETNS, pf: this.pf, vf }
  }

  /** A namespace as a pod has it. */
  async pod(name: string): Promise<NetnsPath> {
    this.#names.push(name)
    return await this.net.createNetns(name)
  }

  /** Moves a VF into a pod and switches it on with an address there. */
  async into(pod: NetnsPath, { name }: FunctionEnd, address: string): Promise<void> {
    await this.net.apply(OWN_NETNS, [{ op: 'link.move', dev: name, netns: pod, name: 'eth0' }])
    await this.net.apply(pod, [
      { op: 'link.set', dev: 'eth0', up: true },
      { op: 'addr.add', dev: 'eth0', address },
    ])
    await until(`carrier of ${name}`, async () => (await this.net.link(pod, 'eth0'))?.carrier === true)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#names.map((name) => this.net.deleteNetns(name)))
    await this.net[Symbol.asyncDispose]()
  }
}

/** Runs a command to its end, in a namespace if told; what it printed. @throws Error if it fails */
export const run = (netns: NetnsPath, ...argv: readonly string[]): string =>
  execFileSync('nsenter', [`--net=${netns}`, ...argv], { encoding: 'utf8', stdio: 'pipe' })

/** Whether an address answers from a namespace. */
export const pings = (netns: NetnsPath, address: string): boolean =>
  spawnSync('nsenter', [`--net=${netns}`, 'ping', '-c', '2', '-i', '0.2', '-W', '5', address]).status === 0

/** What `ip` says of a link of this machine, as a witness that is not ours. */
export const ipSays = (dev: string): Record<string, any> =>
  (JSON.parse(execFileSync('ip', ['-j', '-d', 'link', 'show', dev], { encoding: 'utf8' })) as Record<string, any>[])[0] ?? {}
