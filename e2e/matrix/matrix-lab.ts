import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { askHost, type CniOutcome, type LabAdapter, type LabNode } from '@cni-offload/cli'
import type { Link } from '@cni-offload/linux'
import { parse, stringify } from 'yaml'
import { E2eLab } from '../fixture.ts'
import { ALL, type Shape, subnetsOf, TOO_SMALL } from './cases.ts'
import { helloOptions, pluginList } from './networks.ts'

/** What the underlay carries. */
const UNDERLAY_MTU = 9000

/** VFs per node: one for each version of the specification that is asked for. */
export const VFS = 5

type Json = Record<string, any>

/** Two nodes whose agents serve every shape as a network of its own. */
export class MatrixLab implements AsyncDisposable {
  readonly e2e: E2eLab
  readonly adapter: LabAdapter
  readonly pods: readonly string[] = ['p0', 'p1', 'p2', 'p3', 'p4']

  private constructor(e2e: E2eLab, adapter: LabAdapter) {
    this.e2e = e2e
    this.adapter = adapter
  }

  static async up(adapter: LabAdapter): Promise<MatrixLab> {
    const e2e = await E2eLab.up({ nodes: 2, vfs: VFS, adapter })
    const lab = new MatrixLab(e2e, adapter)
    try {
      for (const node of e2e.lab.state.nodes) await lab.#configure(node)
      await lab.#connect()
      for (const pod of [...lab.pods, 'far']) await e2e.lab.createPod(pod)
      return lab
    } catch (error) {
      await lab[Symbol.asyncDispose]()
      throw error
    }
  }

  get near(): LabNode {
    return this.e2e.lab.node(1)
  }

  get far(): LabNode {
    return this.e2e.lab.node(2)
  }

  /** Whether the adapter has such a network; the example refuses one that is impossible as soon as it is configured. */
  has(shape: Shape): boolean {
    return this.adapter === 'delegate' || (shape.by === undefined && shape !== TOO_SMALL)
  }

  /** Makes the agent of a node serve a shape. */
  async serve(shape: Shape, node: LabNode): Promise<void> {
    if (this.adapter !== 'delegate') return
    const file = this.#listFile(node)
    await writeFile(`${file}.tmp`, JSON.stringify(pluginList(shape, node.index, join(node.dir, 'ipam'))))
    await rename(`${file}.tmp`, file)
  }

  /** A call for a pod's interface in a shape. */
  async call(node: LabNode, verb: string, pod: string, shape: Shape, conf: object = {}): Promise<CniOutcome> {
    const nth = pod === 'far' ? 2 : this.pods.indexOf(pod) + 2
    const { v4, v6 } = subnetsOf(shape, node.index)
    const wanted = [...v4.map(({ begin }) => `${begin}${nth}/24`), ...v6.map(({ begin }) => `${begin}${nth}/64`)]
    const gateways = [...v4, ...v6].map(({ gateway }) => gateway)
    // IPAM "static" is told by the runtime what to give.
    const env = shape.by === 'static' ? { CNI_ARGS: `IgnoreUnknown=1;IP=${wanted.join(',')};GATEWAY=${gateways.join(',')}` } : {}
    return await this.e2e.call(node, verb, pod, { conf: { name: shape.id, ...conf }, env, ifName: ifNameOf(shape) })
  }

  /** VFs of a node as they lie in the namespace of its host, in their order. */
  async vfs(node: LabNode): Promise<Omit<Link, 'index' | 'stats'>[]> {
    const links = await this.e2e.net.links(this.e2e.lab.netns(node, 'host'))
    return links
      .filter(({ name }) => name.startsWith(`${this.e2e.lab.state.device}v`))
      .map(({ index: _index, stats: _stats, ...rest }) => rest)
      .toSorted((a, b) => a.name.localeCompare(b.name))
  }

  /** What the host daemon of a node holds: nothing when nothing is attached. */
  async held(node: LabNode): Promise<{ attachments: number; leases: number; queue: number }> {
    const { attachments, leases, queue } = await askHost(node.socket)
    return { attachments: attachments.length, leases: leases.filter(({ state }) => state !== 'free').length, queue: queue.length }
  }

  /** MTUs of the DPU's ports while nothing is attached. */
  async portMtus(node: LabNode): Promise<number[]> {
    const { prefix, device } = this.e2e.lab.state
    const ports = Array.from({ length: VFS }, (_, i) =>
      this.adapter === 'delegate'
        ? this.e2e.net.link(`/run/netns/${prefix}-px${node.index}-${device}-${i}`, 'vf0')
        : this.e2e.net.link(this.e2e.lab.netns(node, 'agent'), `${device}p${i}`),
    )
    const links = await Promise.all(ports)
    return links.map((link) => link?.mtu ?? 0)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.e2e[Symbol.asyncDispose]()
  }

  #listFile(node: LabNode): string {
    return join(node.dir, 'net.conflist')
  }

  /** Replaces the lab's own network by those of the matrix, and gives the far node a card that carries no more than the underlay. */
  async #configure(node: LabNode): Promise<void> {
    const { lab } = this.e2e
    await lab.kill(node, 'host', 'SIGTERM')
    await lab.kill(node, 'agent', 'SIGTERM')
    const bin = join(node.dir, 'bin')
    await mkdir(bin)
    const program = fileURLToPath(new URL('./ip-commands.ts', import.meta.url))
    await writeFile(join(bin, 'ip-commands'), `#!/bin/sh\nexec '${process.execPath}' '${program}'\n`, { mode: 0o755 })
    await edit(node.agent.config, (agent) => {
      const [own] = agent['adapters'] as Json[]
      const { proxyPrefix } = own!['options'] as Json
      agent['adapters'] =
        this.adapter === 'delegate'
          ? [{ ...own, network: '*', options: { proxyPrefix, conflistFile: this.#listFile(node), cniPath: [bin, '/usr/lib/cni'] } }]
          : ALL.filter((shape) => this.has(shape)).map((shape, i) => ({
              ...own,
              network: shape.id,
              options: helloOptions(shape, node.index, `hello${i}`),
            }))
    })
    if (node.index === this.far.index) await edit(node.host.config, (host) => (host['hardware'].options.maxMtu = UNDERLAY_MTU))
    await lab.start(node, 'agent')
    await lab.start(node, 'host')
  }

  /** Lets the underlay carry large packets, and routes the pods of each node to the other one. */
  async #connect(): Promise<void> {
    const { lab, net } = this.e2e
    const fabric = `/run/netns/${lab.state.prefix}-fabric`
    for (const node of lab.state.nodes) {
      const dpu = lab.netns(node, 'agent')
      await net.apply(fabric, [{ op: 'link.set', dev: `up${node.index}`, mtu: UNDERLAY_MTU }])
      await net.apply(dpu, [{ op: 'link.set', dev: 'up0', mtu: UNDERLAY_MTU }])
      const other = lab.node(3 - node.index)
      const via = (await net.addresses(lab.netns(other, 'agent'), 'up0')).map((cidr) => cidr.slice(0, cidr.indexOf('/')))
      const subnets = ALL.filter(({ twoNodes }) => twoNodes).flatMap((shape) => Object.values(subnetsOf(shape, other.index)).flat())
      for (const { subnet } of subnets) {
        const gw = via.find((address) => address.includes(':') === subnet.includes(':'))
        if (gw === undefined) throw new Error(`${other.name} has no underlay address for ${subnet}`)
        await net.apply(dpu, [{ op: 'route.add', dev: 'up0', route: { dst: subnet, gw } }])
      }
    }
  }
}

/** A network without addresses cannot be a pod's first one: runtimes want an address there. */
export function ifNameOf({ subnets: [four, six] }: Shape): string {
  return four + six === 0 ? 'net1' : 'eth0'
}

async function edit(file: string, change: (document: Json) => unknown): Promise<void> {
  const document = parse(await readFile(file, 'utf8')) as Json
  change(document)
  await writeFile(file, stringify(document))
}
