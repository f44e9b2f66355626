import { mkdir, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { exec, type FakePod, inNetns, type TestNetns } from '@cni-offload/testing'

/** What the plugin prints, by its verb: a result, an error, or the versions that it knows. */
export interface Printed {
  readonly cniVersion?: string
  readonly interfaces?: readonly object[]
  readonly ips?: readonly object[]
  readonly code?: number
  readonly msg?: string
  readonly details?: string
  readonly supportedVersions?: readonly string[]
}

/** What a call of the plugin left. */
export interface PluginResult {
  readonly code: number
  /** What it printed; undefined for nothing. */
  readonly result: Printed | undefined
}

/**
 * Gives the plugin a `/run/cilium` of its own, where it keeps deletions that an absent agent has to make, and leaves it the network
 * namespaces.
 */
const ISOLATE = `set -e
mount --rbind /run/netns "$1/netns"
mount -t tmpfs none /run
mkdir /run/netns /run/cilium
mount --rbind "$1/netns" /run/netns
mount --bind "$1/run" /run/cilium
exec "$2"`

/** A real cilium-cni, on a DPU of its own. */
export class RealPlugin {
  readonly #binary: string
  readonly #dpu: TestNetns
  readonly #socket: string
  readonly #folder: string

  private constructor(binary: string, dpu: TestNetns, socket: string, folder: string) {
    this.#binary = binary
    this.#dpu = dpu
    this.#socket = socket
    this.#folder = folder
  }

  static async create(binary: string, dpu: TestNetns, socket: string, folder: string): Promise<RealPlugin> {
    await mkdir(join(folder, 'netns'))
    await mkdir(join(folder, 'run'))
    return new RealPlugin(binary, dpu, socket, folder)
  }

  async run(verb: string, pod: FakePod, more: Record<string, unknown> = {}): Promise<PluginResult> {
    const { namespace, name, uid } = pod.identity
    const argv = ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', ISOLATE, 'sh', this.#folder, this.#binary]
    const { code, stdout } = await exec(inNetns(this.#dpu.path, argv), {
      timeoutMs: 60_000,
      input: JSON.stringify({ cniVersion: '1.0.0', name: 'cilium', type: 'cilium-cni', ...more }),
      env: {
        PATH: process.env['PATH'] ?? '',
        CILIUM_SOCK: this.#socket,
        CNI_COMMAND: verb,
        CNI_CONTAINERID: pod.containerId,
        CNI_NETNS: pod.path,
        CNI_IFNAME: 'eth0',
        CNI_PATH: this.#folder,
        CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=${namespace};K8S_POD_NAME=${name};K8S_POD_UID=${uid}`,
      },
    })
    return { code, result: stdout.trim() === '' ? undefined : (JSON.parse(stdout) as Printed) }
  }

  /** Whether it is 1.18 or newer. */
  async isNew(pod: FakePod): Promise<boolean> {
    return (await this.run('VERSION', pod)).result?.supportedVersions?.includes('1.1.0') ?? false
  }

  /** Deletions that wait for the agent. */
  async queued(): Promise<string[]> {
    const folder = join(this.#folder, 'run/deleteQueue')
    const files = (await readdir(folder).catch(() => [])).filter((name) => name.endsWith('.delete'))
    return await Promise.all(files.map((name) => readFile(join(folder, name), 'utf8')))
  }
}
