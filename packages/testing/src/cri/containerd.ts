import type { ChildProcess } from 'node:child_process'
import { mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { OffloadError, systemClock } from '@cni-offload/sdk'
import { exec } from '../net/exec.ts'
import { uniqueName } from '../unique-name.ts'
import type { ContainerdBinaries } from './binaries.ts'
import { removeCgroup } from './cgroup.ts'
import { CriClient } from './client.ts'
import { containerdConfig, type ContainerdPaths, containerdPaths } from './config.ts'
import { endChild, killShims, spawnContainerd } from './process.ts'

/** What a {@link Containerd} is made of. */
export interface ContainerdOptions {
  /** Its folder, made if missing and removed in the end. Not below `/run` or `/var/lib`, which it does not see. */
  readonly dir: string
  /** Path of the network namespace that it runs in: the node's. */
  readonly netns: string
  /** Which containerd. */
  readonly binaries: ContainerdBinaries
  /** Archive of the image for sandboxes and containers. */
  readonly image: string
  /** Folder with the `loopback` plugin, which containerd calls by itself. @defaultValue '/usr/lib/cni' */
  readonly plugins?: string
  /** Variables that it, and so every CNI plugin, gets besides PATH and HOME. */
  readonly env?: Readonly<Record<string, string>>
}

const READY_MS = 60_000
const CALL_MS = 30_000

/**
 * A real containerd with real containers for a test, in a network namespace. All that it keeps lies in one folder: nothing of
 * the machine's own containerd, nor of `/var/lib/cni`, is seen or touched.
 */
export class Containerd implements AsyncDisposable {
  /** Where everything is. */
  readonly paths: ContainerdPaths
  /** The API that kubelet uses. */
  readonly cri: CriClient
  readonly #options: ContainerdOptions
  readonly #cgroup: string = uniqueName('cni-offload-test-')
  #child: ChildProcess | undefined

  private constructor(options: ContainerdOptions) {
    this.#options = options
    this.paths = containerdPaths(options.dir)
    this.cri = new CriClient(this.paths.socket, `/${this.#cgroup}`)
  }

  /** Starts it and loads the image. @throws OffloadError NOT_READY with the end of its log, IO_FAILURE */
  static async start(options: ContainerdOptions): Promise<Containerd> {
    if (/^\/(run|var\/run|var\/lib)\//.test(options.dir))
      throw new OffloadError('INVALID_CONFIG', `dir = ${options.dir}: a folder outside of /run and /var/lib is expected`)
    const made = new Containerd(options)
    try {
      await made.#prepare()
      await made.up()
      const ctr = join(options.binaries.folder, 'ctr')
      await must([ctr, '--address', made.paths.socket, '--namespace', 'k8s.io', 'images', 'import', options.image])
      return made
    } catch (error) {
      await made[Symbol.asyncDispose]()
      throw error
    }
  }

  /** Process of containerd. */
  get pid(): number {
    return this.#child?.pid ?? 0
  }

  /** Starts it after {@link down}; pods that run are found again. @throws OffloadError NOT_READY with the end of its log */
  async up(): Promise<void> {
    const { binaries, netns, env = {} } = this.#options
    const child = spawnContainerd(binaries, this.paths, netns, env)
    this.#child = child
    const exited = new AbortController()
    child.once('error', (error) => exited.abort(error))
    child.once('exit', (code, signal) => exited.abort(new Error(`it ended with ${signal ?? `exit code ${code}`}`)))
    const deadline = AbortSignal.any([exited.signal, AbortSignal.timeout(READY_MS)])
    for (;;) {
      const failure = await this.cri.version({ timeoutMs: 5_000 }).catch((error: unknown) => error)
      if (!(failure instanceof Error)) return
      if (deadline.aborted) throw new OffloadError('NOT_READY', `containerd: ${await this.#why(deadline.reason)}`, { cause: failure })
      // That it serves raises no event; a connection that is refused is all there is to see.
      await systemClock.sleep(50, deadline).catch(() => {})
    }
  }

  /** Ends containerd alone; its pods go on. */
  async down(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (this.#child !== undefined) await endChild(this.#child, signal)
    this.#child = undefined
  }

  /** Network namespaces of pods, by file name. */
  async namespaces(): Promise<string[]> {
    return await readdir(this.paths.netns).catch((): string[] => [])
  }

  /** Results of ADD that the CNI library keeps until DEL has succeeded, by file name; those of loopback are left out. */
  async cachedResults(): Promise<string[]> {
    const names = await readdir(join(this.paths.cniCache, 'results')).catch((): string[] => [])
    return names.filter((name) => !name.startsWith('cni-loopback-'))
  }

  /** Removes all pods, ends containerd and every process of it, removes its folder. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child !== undefined) await this.#removePods().catch(() => {})
    this.cri[Symbol.dispose]()
    await this.down()
    // Only where a pod could not be removed is anything left.
    await killShims(this.paths.socket)
    await exec(['umount', '--recursive', '--lazy', this.paths.dir])
    await removeCgroup(this.#cgroup)
    await rm(this.paths.dir, { recursive: true, force: true })
  }

  async #removePods(): Promise<void> {
    for (const { id } of await this.cri.listPodSandboxes({ timeoutMs: CALL_MS })) {
      await this.cri.stopPodSandbox(id, { timeoutMs: CALL_MS })
      await this.cri.removePodSandbox(id, { timeoutMs: CALL_MS })
    }
  }

  async #prepare(): Promise<void> {
    const { paths } = this
    await mkdir(paths.dir, { recursive: true })
    // Images and snapshots are synced to disk at every step, which a test neither needs nor has time for.
    await must(['mount', '-t', 'tmpfs', '-o', 'mode=700', 'cni-offload-test', paths.dir])
    await must(['mount', '--make-private', paths.dir])
    for (const folder of [paths.root, paths.state, paths.run, paths.cniCache, paths.cniBin, paths.cniConf])
      await mkdir(folder, { recursive: true })
    await symlink(join(this.#options.plugins ?? '/usr/lib/cni', 'loopback'), join(paths.cniBin, 'loopback'))
    await writeFile(paths.config, containerdConfig(paths))
    // A mount of its own with peers of its own: what is mounted below it is seen on both sides, and nowhere else.
    await must(['mount', '--bind', paths.state, paths.state])
    await must(['mount', '--make-private', paths.state])
    await must(['mount', '--make-shared', paths.state])
  }

  async #why(reason: unknown): Promise<string> {
    const log = await readFile(this.paths.log, 'utf8').catch(() => '')
    const text = reason instanceof Error ? reason.message : String(reason)
    return `${text}; end of ${this.paths.log}:\n${log.split('\n').slice(-15).join('\n')}`
  }
}

async function must(argv: readonly string[]): Promise<void> {
  const { code, stderr } = await exec(argv)
  if (code !== 0) throw new OffloadError('IO_FAILURE', `${argv.join(' ')} exited with ${code}: ${stderr.trim()}`)
}
