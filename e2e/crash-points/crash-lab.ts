import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  askHost,
  auditDifferences,
  auditLab,
  type CniOutcome,
  type DaemonRole,
  describeDifference,
  findPorts,
  type Holding,
  type LabNode,
  type LabOptions,
  rowHoldingsOfRunning,
} from '@cni-offload/cli'
import { PingStream, reaches } from '@cni-offload/testing'
import { CrashControl } from '@cni-offload/testing/faults'
import { expect } from 'vitest'
import { E2eLab } from '../fixture.ts'

/** What a pod must not see changing. */
interface PodView {
  readonly pod: string
  readonly netns: string | undefined
  readonly link: object
  readonly addresses: readonly string[]
  readonly routes: readonly string[]
}

/** What the runtime does with a pod: the shim's fields that are not the same in all calls. */
export interface PodCall {
  readonly conf?: object
}

const ANNOTATIONS = 'io.kubernetes.cri.pod-annotations'

/** For a pod that has the network of the host. */
export const ON_HOST: PodCall = { conf: { runtimeConfig: { [ANNOTATIONS]: { 'cni-offload.io/network': 'host' } } } }

const VFS = 4
const RUNNING = ['k1', 'k2']

const LIMIT = { timeout: 60_000, interval: 100 }

/**
 * A node with two running pods, whose daemons crash exactly where they are told to. Everything that a test makes must be gone
 * afterwards, and nothing may have happened to the running pods.
 */
export class CrashLab implements AsyncDisposable {
  readonly e2e: E2eLab
  /** Steps at which a daemon was killed. */
  readonly hit = new Set<string>()
  readonly #control: Readonly<Record<DaemonRole, CrashControl>>
  readonly #dir: string
  #running: readonly PodView[] = []
  #before: readonly Holding[] = []
  #traffic: PingStream | undefined
  #pods = 0

  private constructor(e2e: E2eLab, control: Readonly<Record<DaemonRole, CrashControl>>, dir: string) {
    this.e2e = e2e
    this.#control = control
    this.#dir = dir
  }

  static async up(options: Pick<LabOptions, 'adapter' | 'networks'>): Promise<CrashLab> {
    const dir = await mkdtemp(join(tmpdir(), 'cni-offload-crash-'))
    const control = { host: new CrashControl(join(dir, 'host')), agent: new CrashControl(join(dir, 'agent')) }
    const e2e = await E2eLab.up({ nodes: 1, vfs: VFS, launch: (role) => control[role].launch, extra: hostNetwork(dir), ...options })
    const lab = new CrashLab(e2e, control, dir)
    try {
      await lab.#occupy()
      return lab
    } catch (error) {
      await lab[Symbol.asyncDispose]()
      throw error
    }
  }

  /** The node. */
  get node(): LabNode {
    return this.e2e.lab.node(1)
  }

  /** For a pod that wants its addresses from an IPAM plugin of the host. */
  get ipamOnHost(): PodCall {
    return {
      conf: { hostIPAM: true, ipam: { type: 'host-local', dataDir: join(this.#dir, 'ipam'), ranges: [[{ subnet: '10.98.0.0/24' }]] } },
    }
  }

  /** Has a daemon die at a step. */
  arm(step: string): void {
    this.#control[roleOf(step)].arm({ step })
  }

  /**
   * Does something that leads to the armed step, lets the daemon die there and starts it again.
   *
   * @returns what came of it
   */
  async crash<T>(step: string, work: () => Promise<T>): Promise<T> {
    this.arm(step)
    const outcome = work()
    await this.died(step, outcome)
    await this.e2e.lab.start(this.node, roleOf(step))
    return await outcome
  }

  /** Waits until a daemon has died at a step, and is gone. @param outcome - of what leads to it, for the failure's message */
  async died(step: string, outcome?: Promise<unknown>): Promise<void> {
    const role = roleOf(step)
    let said = ''
    outcome?.then(
      (value) => (said = JSON.stringify(value)),
      (error: unknown) => (said = String(error)),
    )
    await expect.poll(() => this.#control[role].report()?.step, { ...LIMIT, interval: 5, message: `${step} ${said}` }).toBe(step)
    await this.e2e.lab.kill(this.node, role)
    this.hit.add(step)
  }

  /** Namespace of a new pod. */
  async pod(): Promise<string> {
    const name = `p${this.#pods++}`
    await this.e2e.lab.createPod(name)
    return name
  }

  /** Calls the shim for a pod. */
  async call(verb: string, pod: string, { conf = {} }: PodCall = {}): Promise<CniOutcome> {
    return await this.e2e.call(this.node, verb, pod, { conf })
  }

  /** An ADD or DEL that must succeed; an ADD that is to be tried again later, because host and agent are still agreeing, is. */
  async succeed(verb: 'ADD' | 'DEL', pod: string, options: PodCall = {}): Promise<void> {
    const outcome = async (): Promise<string> => {
      const { exitCode, json, stdout, stderr } = await this.call(verb, pod, options)
      if (verb === 'DEL' || json?.['code'] !== 11) expect(exitCode, `${verb} ${pod}: ${stdout}${stderr}`).toBe(0)
      return exitCode === 0 ? 'done' : stdout
    }
    await expect.poll(outcome, LIMIT).toBe('done')
  }

  /** A new pod's network works: it reaches a running pod. */
  async reachesRunning(pod: string): Promise<void> {
    const [peer] = this.#running
    for (const address of peer?.addresses.filter((cidr) => !cidr.startsWith('fe80')) ?? [])
      expect(await reaches(this.e2e.lab.podPath(pod), plain(address), { withinSeconds: 15 }), `${pod} reaches ${address}`).toBe(true)
  }

  /** Takes the port of a pod out of the bridge, as nobody should. */
  async unplug(pod: string): Promise<void> {
    const { attachments } = await askHost(this.node.socket)
    const vf = attachments.find(({ key }) => key.containerId === pod)?.vf
    const port = (await findPorts(this.e2e.net, this.e2e.lab, this.node)).find((found) => found.vf === vf)
    if (port === undefined) throw new Error(`${pod} has no port`)
    await this.e2e.net.apply(`/run/netns/${port.netns}`, [{ op: 'link.set', dev: port.port, master: null }])
  }

  /**
   * Notes what is held now as what is to be held after each test.
   *
   * @param kinds - of pods that the tests make: what is made with the first one of a kind, and stays, must be there
   */
  async baseline(kinds: readonly PodCall[]): Promise<void> {
    for (const kind of kinds) {
      // One for each VF that is free: what is made with the first pod on a VF may stay, too.
      const pods = Array.from({ length: VFS - RUNNING.length }, () => `b${this.#pods++}`)
      for (const pod of pods) await this.e2e.addPod(this.node, pod, kind.conf)
      for (const pod of pods) {
        expect(await this.call('DEL', pod, kind)).toMatchObject({ exitCode: 0 })
        await this.e2e.lab.deletePod(pod)
      }
    }
    // A plugin that is asked for its status just now is no longer there later.
    this.#before = (await this.#audit()).filter(({ kind }) => kind !== 'process')
  }

  /** Nothing is left of what was done since the running pods were made, anywhere, and those are as they were. */
  async settled(): Promise<void> {
    await expect.poll(async () => auditDifferences(this.#before, await this.#audit()).map(describeDifference), LIMIT).toEqual([])
    expect(await Promise.all(this.#running.map(({ pod }) => this.#view(pod)))).toEqual(this.#running)
  }

  /** What was lost of all that the running pods have sent each other. */
  async traffic(): Promise<{ sent: number; lost: number }> {
    const { sent, received } = (await this.#traffic?.end()) ?? { sent: 0, received: 0 }
    return { sent, lost: sent - received }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#traffic?.end()
    await this.e2e[Symbol.asyncDispose]()
    await rm(this.#dir, { recursive: true, force: true })
  }

  async #occupy(): Promise<void> {
    for (const pod of RUNNING) await this.e2e.addPod(this.node, pod)
    const views = await Promise.all(RUNNING.map((pod) => this.#view(pod)))
    this.#running = views
    const [from, to] = views
    const address = to?.addresses.find((cidr) => /^\d+\./.test(cidr)) ?? ''
    await this.reachesRunning(to?.pod ?? '')
    this.#traffic = await PingStream.start(this.e2e.lab.podPath(from?.pod ?? ''), plain(address))
  }

  /** What is held outside, by the host's account, and in all databases: those of running daemons are read from a copy. */
  async #audit(): Promise<Holding[]> {
    const given = await Promise.all(
      ['hostnet', 'ipam'].map((folder) => readdir(join(this.#dir, folder), { recursive: true }).catch(() => [])),
    )
    const addresses = given.flat().filter((name) => /\/[0-9.]+$/.test(name))
    return [
      ...(await auditLab(this.e2e.lab, this.e2e.net)),
      ...(await rowHoldingsOfRunning(this.node)),
      ...addresses.map((what) => ({ node: this.node.name, kind: 'lease' as const, what })),
    ]
  }

  async #view(pod: string): Promise<PodView> {
    const path = this.e2e.lab.podPath(pod)
    const { index, mac, mtu, up } = (await this.e2e.net.link(path, 'eth0')) ?? {}
    return {
      pod,
      netns: await this.e2e.net.netnsIdentity(path),
      link: { index, mac, mtu, up },
      addresses: (await this.e2e.net.addresses(path, 'eth0')).toSorted(),
      routes: (await this.e2e.net.routes(path, 'eth0')).map(({ dst, gw }) => `${dst} ${gw}`).toSorted(),
    }
  }
}

/** Which daemon a step belongs to: adapters live in the agent. */
export const roleOf = (step: string): DaemonRole => (step.startsWith('host.') ? 'host' : 'agent')

const plain = (cidr: string): string => cidr.replace(/\/\d+$/, '')

/** Pods that ask for it by annotation get a network that plugins make on the host. */
function hostNetwork(dir: string): NonNullable<LabOptions['extra']> {
  const ipam = { type: 'host-local', dataDir: join(dir, 'hostnet'), ranges: [[{ subnet: '10.99.0.0/24' }]] }
  const plugins = [{ type: 'bridge', bridge: 'fb0', ipam }]
  const fallback = { when: ['annotation'], binDirs: ['/usr/lib/cni'], conflist: { cniVersion: '1.0.0', name: 'hostnet', plugins } }
  return { host: { fallback, ipam: { binDirs: ['/usr/lib/cni'] } }, netconf: { capabilities: { [ANNOTATIONS]: true } } }
}
