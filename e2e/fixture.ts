import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { askHost, callCni, type CniOutcome, inspectNode, Lab, type LabNode, type LabOptions } from '@cni-offload/cli'
import { createLinuxNet, type Link, type LinuxNet } from '@cni-offload/linux'
import { uniqueName } from '@cni-offload/testing'

/**
 * A daemon begins with little room for new objects, and a sixth of the time of its start goes to collecting them. Tests start hundreds
 * of daemons, and have the memory.
 */
const ROOM_TO_START = '--min-semi-space-size=32'

/** A lab of a test's own, and what a container runtime on its nodes would do. */
export class E2eLab implements AsyncDisposable {
  readonly lab: Lab
  readonly net: LinuxNet

  private constructor(lab: Lab, net: LinuxNet) {
    this.lab = lab
    this.net = net
  }

  static async up(options: Omit<LabOptions, 'dir' | 'prefix'>): Promise<E2eLab> {
    const dir = await mkdtemp(join(tmpdir(), 'cni-offload-e2e-'))
    const launch: LabOptions['launch'] = (role, node) => {
      const { execArgv = [], ...more } = options.launch?.(role, node) ?? {}
      return { ...more, execArgv: [ROOM_TO_START, ...execArgv] }
    }
    return new E2eLab(await Lab.up({ dir, prefix: uniqueName('e'), ...options, launch }), createLinuxNet())
  }

  /** Calls the shim of a node as a runtime would; the netconf is the lab's, with `conf` laid over it. */
  async call(
    node: LabNode,
    verb: string,
    pod: string,
    more: { conf?: object; netns?: string; env?: Record<string, string>; ifName?: string; stdin?: string } = {},
  ): Promise<CniOutcome> {
    const netconf = JSON.parse(await readFile(node.netconf, 'utf8')) as object
    return await callCni(node.shim, this.lab.netns(node, 'host'), {
      verb,
      containerId: pod,
      netns: more.netns ?? this.lab.podPath(pod),
      ...(more.ifName === undefined ? {} : { ifName: more.ifName }),
      args: `IgnoreUnknown=1;K8S_POD_NAMESPACE=e2e;K8S_POD_NAME=${pod}`,
      stdin: more.stdin ?? { ...netconf, ...more.conf },
      // A test that takes the daemon away looks at what is answered then; only some are about waiting for it.
      env: { CNI_OFFLOAD_CONNECT_MS: '0', ...node.env, ...more.env },
    })
  }

  /** Namespace and ADD of a pod; fails the test if the ADD fails. */
  async addPod(node: LabNode, pod: string, conf: object = {}): Promise<Record<string, any>> {
    await this.lab.createPod(pod)
    const outcome = await this.call(node, 'ADD', pod, { conf })
    if (outcome.exitCode !== 0) throw new Error(`ADD ${pod}: ${outcome.stdout}${outcome.stderr}`)
    return outcome.json as Record<string, any>
  }

  /** What the host of a node holds, by its own account; quickly asked, unlike {@link E2eLab.held}. */
  async heldByHost(node: LabNode): Promise<{ attachments: number; leases: number }> {
    const host = await askHost(node.socket)
    return {
      attachments: host.attachments.length + host.fallbacks.length,
      leases: host.leases.filter((lease) => lease.state !== 'free').length,
    }
  }

  /** What is held on both sides of a node: everything must be zero when nothing is attached. */
  async held(node: LabNode): Promise<{ attachments: number; leases: number; agentAttachments: number; vfsAway: number }> {
    const { host, agent } = await inspectNode(this.lab, this.net, node)
    if ('error' in host) throw new Error(host.error)
    if ('error' in agent) throw new Error(agent.error)
    const links: Link[] = await this.net.links(this.lab.netns(node, 'host'))
    return {
      attachments: host.attachments.length + host.fallbacks.length,
      leases: host.leases.filter((lease) => lease.state !== 'free').length,
      agentAttachments: agent.attachments.length,
      vfsAway: this.lab.state.vfs - links.filter((link) => link.name.startsWith(`${this.lab.state.device}v`)).length,
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.net[Symbol.asyncDispose]()
    await this.lab.down()
    await rm(this.lab.dir, { recursive: true, force: true })
  }
}

export const NOTHING_HELD = { attachments: 0, leases: 0, agentAttachments: 0, vfsAway: 0 }

/** Whether also what is only sampled otherwise, because it takes long, is run: `E2E_EVERYTHING=1`. */
export const EVERYTHING: boolean = process.env['E2E_EVERYTHING'] === '1'

/** End-to-end tests make network namespaces. */
export const needsRoot: boolean = process.getuid?.() !== 0
