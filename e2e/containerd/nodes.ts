import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { askHost, type LabNode, type LabOptions } from '@cni-offload/cli'
import { install, type InstallOptions, uninstall } from '@cni-offload/host/install'
import {
  Containerd,
  type ContainerdBinaries,
  findContainerd,
  makeTestImage,
  missingForPods,
  type PodSpec,
  TEST_IMAGE,
} from '@cni-offload/testing/cri'
import { expect, vi } from 'vitest'
import { E2eLab, needsRoot, NOTHING_HELD } from '../fixture.ts'

/** Where `./run` unpacks a newer containerd than that of the machine. */
const NEWER = fileURLToPath(new URL('../../.cache/containerd/usr/bin', import.meta.url))

/** The containerd of the machine, or the newer one; or why there is none and what to do. */
export async function runtimeOf(
  which: 'stable' | 'newer',
): Promise<{ binaries: ContainerdBinaries; missing: '' } | { binaries: undefined; missing: string }> {
  const no = (missing: string): { binaries: undefined; missing: string } => ({ binaries: undefined, missing })
  if (needsRoot) return no('needs root for namespaces and containers')
  const missing = await missingForPods()
  if (missing !== undefined) return no(missing)
  const binaries = await findContainerd(which === 'newer' ? NEWER : undefined)
  if (binaries !== undefined) return { binaries, missing: '' }
  return no(
    which === 'newer'
      ? `no containerd in ${NEWER}: "./run e2e containerd" fetches it`
      : 'containerd is missing: apt-get install containerd',
  )
}

/** A pod that runs. */
export interface Pod {
  readonly id: string
  readonly spec: PodSpec
  readonly ips: readonly string[]
  readonly netns: string
  readonly pid: number
}

/** A node of a lab and its container runtime; executable and configuration are put in place by our own installer. */
export class RuntimeNode {
  readonly node: LabNode
  readonly runtime: Containerd
  readonly #e2e: E2eLab
  readonly #installed: InstallOptions
  #pods = 0
  #used = true

  constructor(e2e: E2eLab, node: LabNode, runtime: Containerd, installed: InstallOptions) {
    this.#e2e = e2e
    this.node = node
    this.runtime = runtime
    this.#installed = installed
  }

  async install(): Promise<void> {
    await install(this.#installed)
  }

  async uninstall(): Promise<void> {
    await uninstall(this.#installed)
  }

  /** A pod as kubelet would describe it; its sandbox does not exist yet. */
  spec(more: Partial<PodSpec> = {}): PodSpec {
    this.#used = true
    const dns = { servers: ['10.96.0.10', 'fd00:96::a'], searches: ['default.svc.cluster.local'], options: ['ndots:5'] }
    return { name: `pod-${++this.#pods}`, uid: randomUUID(), dns, ...more }
  }

  async run(more: Partial<PodSpec> = {}): Promise<Pod> {
    const spec = this.spec(more)
    const id = await this.runtime.cri.runPodSandbox(spec)
    const { ips, netns, pid, ready } = await this.runtime.cri.podSandboxStatus(id)
    expect(ready).toBe(true)
    return { id, spec, ips, netns, pid }
  }

  /** Starts a container in a pod; the function that it returns runs shell commands inside. */
  async container(pod: Pod): Promise<(script: string) => Promise<string>> {
    const { cri } = this.runtime
    const id = await cri.createContainer(pod.id, pod.spec, { name: 'main', image: TEST_IMAGE, command: ['/bin/sleep', '1000000'] })
    await cri.startContainer(id)
    return async (script) => {
      const { code, stdout, stderr } = await cri.execSync(id, ['/bin/sh', '-c', script])
      expect({ script, code, stderr }).toEqual({ script, code: 0, stderr: '' })
      return stdout
    }
  }

  async stop(pod: { id: string }): Promise<void> {
    await this.runtime.cri.stopPodSandbox(pod.id)
  }

  async remove(pod: { id: string }): Promise<void> {
    await this.runtime.cri.removePodSandbox(pod.id)
  }

  /** The network condition as kubelet sees it: empty when the network is ready, else why it is not. */
  async notReady(): Promise<string> {
    const condition = (await this.runtime.cri.conditions()).find(({ type }) => type === 'NetworkReady')
    return condition?.status === true ? '' : (condition?.message ?? 'no such condition')
  }

  /** Codes of the calls of a verb that the host daemon has answered. */
  async answered(verb: string): Promise<string[]> {
    const lines = (await readFile(this.node.host.log, 'utf8')).split('\n').filter((line) => line.includes('"msg":"request"'))
    return lines
      .map((line) => JSON.parse(line) as { verb: string; code: string })
      .flatMap((line) => (line.verb === verb ? [line.code] : []))
  }

  /**
   * Fails unless nothing is left of any pod, anywhere. A runtime whose caller has gone away still cleans up, and what the agent has
   * still to be told is told in the background, and a VF is free only when it has confirmed: both are waited for. A node that has
   * had no pod since the last time is not asked again.
   */
  async expectNothingLeft(): Promise<void> {
    if (!this.#used) return
    this.#used = false
    const left = async (): Promise<object> => ({
      sandboxes: await this.runtime.cri.listPodSandboxes(),
      namespaces: await this.runtime.namespaces(),
      results: await this.runtime.cachedResults(),
      ...(await this.#taken()),
    })
    try {
      await expect
        .poll(left, { timeout: 30_000, interval: 100 })
        .toEqual({ sandboxes: [], namespaces: [], results: [], attachments: 0, vfsAway: 0, taken: [] })
    } catch (error) {
      // What one test has left must not fail those after it.
      for (const sandbox of await this.runtime.cri.listPodSandboxes()) await this.remove(sandbox)
      throw error
    }
  }

  async #taken(): Promise<object> {
    const { attachments, leases } = await askHost(this.node.socket)
    const links = await this.#e2e.net.links(this.#e2e.lab.netns(this.node, 'host'))
    const { vfs, device } = this.#e2e.lab.state
    return {
      attachments: attachments.length,
      taken: leases.filter(({ state }) => state !== 'free'),
      vfsAway: vfs - links.filter(({ name }) => name.startsWith(`${device}v`)).length,
    }
  }
}

/** A lab whose nodes have a containerd each. */
export class RuntimeLab implements AsyncDisposable {
  readonly e2e: E2eLab
  readonly nodes: RuntimeNode[] = []

  private constructor(e2e: E2eLab) {
    this.e2e = e2e
  }

  static async up(
    options: Omit<LabOptions, 'dir' | 'prefix'> & { binaries: ContainerdBinaries; conflist?: Partial<InstallOptions> },
  ): Promise<RuntimeLab> {
    const { binaries, conflist, ...lab } = options
    const made = new RuntimeLab(await E2eLab.up(lab))
    try {
      const image = join(made.e2e.lab.dir, 'image.tar')
      await makeTestImage(image)
      const added = await Promise.allSettled(made.e2e.lab.state.nodes.map((node) => made.#addNode(node, { binaries, image }, conflist)))
      for (const outcome of added) if (outcome.status === 'rejected') throw outcome.reason
      made.nodes.sort((a, b) => a.node.index - b.node.index)
      return made
    } catch (error) {
      await made[Symbol.asyncDispose]()
      throw error
    }
  }

  async #addNode(
    node: LabNode,
    parts: { binaries: ContainerdBinaries; image: string },
    conflist: Partial<InstallOptions> = {},
  ): Promise<void> {
    const { lab } = this.e2e
    const runtime = await Containerd.start({
      dir: join(node.dir, 'containerd'),
      netns: lab.netns(node, 'host'),
      env: { CNI_OFFLOAD_CONNECT_MS: '0', ...node.env },
      ...parts,
    })
    const added = new RuntimeNode(this.e2e, node, runtime, {
      shim: node.shim,
      network: lab.state.network,
      binDir: runtime.paths.cniBin,
      confDir: runtime.paths.cniConf,
      stateDir: join(node.dir, 'install'),
      ...conflist,
    })
    this.nodes.push(added)
    await added.install()
    // Not expect.poll, which works inside of tests only.
    await vi.waitFor(async () => expect(await added.notReady()).toBe(''), { timeout: 30_000, interval: 50 })
  }

  /** Fails unless host daemons and agents hold nothing. An agent is asked by a process of its own, which is much for every test. */
  async expectNothingHeld(): Promise<void> {
    for (const { node } of this.nodes) expect(await this.e2e.held(node)).toEqual(NOTHING_HELD)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.nodes.map(({ runtime }) => runtime[Symbol.asyncDispose]()))
    await this.e2e[Symbol.asyncDispose]()
  }
}
