import type { LinuxNet, NetnsPath } from '@cni-offload/linux'
import type { PortRef } from '@cni-offload/sdk'
import { uniqueName } from '../unique-name.ts'
import { type FakePod, fakePod } from './fake-pod.ts'
import { TestNetns } from './test-netns.ts'

/** A port on the DPU with the other end already in a pod, as after the host moved the VF there. */
export interface BenchPort {
  /** The port, in the DPU's namespace. */
  readonly port: PortRef
  /** The pod that has the VF, as `eth0`, down and without addresses. */
  readonly pod: FakePod
  /** MAC of the VF. */
  readonly vfMac: string
  /** Namespace of the DPU, in which the port was made. */
  readonly dpuNetns: NetnsPath
}

/** What a {@link PortBench} is made of. */
export interface PortBenchOptions {
  /** Kernel access. */
  readonly net: LinuxNet
  /** How many ports, each with a pod. */
  readonly ports: number
  /** Namespace for the ports. @defaultValue one of its own, removed with the bench */
  readonly dpuNetns?: NetnsPath
  /** MTU of both ends in bytes. @defaultValue 1500 */
  readonly mtu?: number
}

/**
 * Ports for testing an adapter without a card and without a host: veth pairs, one end in the namespace of the DPU, the
 * other born inside a pod. Nothing is moved, so a bench is cheap enough to make one per test.
 */
export class PortBench implements AsyncDisposable {
  /** Namespace of the ports. */
  readonly dpuNetns: NetnsPath
  /** The ports. */
  readonly ports: readonly BenchPort[]
  readonly #net: LinuxNet
  readonly #owned: TestNetns | undefined

  private constructor(net: LinuxNet, dpuNetns: NetnsPath, ports: readonly BenchPort[], owned: TestNetns | undefined) {
    this.#net = net
    this.dpuNetns = dpuNetns
    this.ports = ports
    this.#owned = owned
  }

  /** Makes namespaces, pods and pairs. */
  static async create(options: PortBenchOptions): Promise<PortBench> {
    const { net, mtu = 1500 } = options
    const owned = options.dpuNetns === undefined ? await TestNetns.create(net, 'dpu') : undefined
    const dpuNetns = owned?.path ?? options.dpuNetns ?? ''
    const device = uniqueName('b').slice(0, 11)
    const ports: BenchPort[] = []
    const bench = new PortBench(net, dpuNetns, ports, owned)
    try {
      for (let index = 0; index < options.ports; index += 1) {
        const pod = await fakePod({ net, name: `pod-${index}` })
        const port: PortRef = { vf: { device, index }, name: `${device}p${index}` }
        const vfMac = `02:b0:00:00:00:${(index + 1).toString(16).padStart(2, '0')}`
        ports.push({ port, pod, vfMac, dpuNetns })
        await net.apply(dpuNetns, [{ op: 'link.add-veth', dev: port.name, mtu, peer: { name: 'eth0', netns: pod.path, mac: vfMac, mtu } }])
      }
      return bench
    } catch (error) {
      await bench[Symbol.asyncDispose]()
      throw error
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { port, pod } of this.ports) {
      // In a namespace of its own the pair ends with it, later and in bulk; in the caller's it must be gone now.
      if (this.#owned === undefined) await this.#net.apply(this.dpuNetns, [{ op: 'link.del', dev: port.name, absentOk: true }])
      await pod[Symbol.asyncDispose]()
    }
    await this.#owned?.[Symbol.asyncDispose]()
  }
}
