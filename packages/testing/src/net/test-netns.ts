import type { LinuxNet, NetnsPath } from '@cni-offload/linux'
import { OffloadError } from '@cni-offload/sdk'
import { uniqueName } from '../unique-name.ts'
import { exec, type ExecOptions, type ExecResult, inNetns } from './exec.ts'

/** A network namespace that is removed, with every process that was started in it through here, when it is disposed. */
export class TestNetns implements AsyncDisposable {
  /** Name under `/run/netns`. */
  readonly name: string
  /** Path. */
  readonly path: NetnsPath
  readonly #net: LinuxNet
  readonly #end = new AbortController()
  readonly #running = new Set<Promise<unknown>>()

  private constructor(net: LinuxNet, name: string, path: NetnsPath) {
    this.#net = net
    this.name = name
    this.path = path
  }

  /** Makes a namespace with loopback up. The name is `prefix` made unique. */
  static async create(net: LinuxNet, prefix: string = 'tst'): Promise<TestNetns> {
    const name = uniqueName(prefix)
    return new TestNetns(net, name, await net.createNetns(name))
  }

  /** Runs a command inside to its end; an exit code other than 0 is a result, not an error. @throws as {@link exec} */
  async exec(argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    const signal = options.signal === undefined ? this.#end.signal : AbortSignal.any([this.#end.signal, options.signal])
    const running = exec(inNetns(this.path, argv), { ...options, signal })
    this.#running.add(running)
    try {
      return await running
    } finally {
      this.#running.delete(running)
    }
  }

  /** Standard output of a command that must succeed. @throws OffloadError IO_FAILURE with its standard error if it does not */
  async output(argv: readonly string[], options: ExecOptions = {}): Promise<string> {
    const { code, stdout, stderr } = await this.exec(argv, options)
    if (code !== 0)
      throw new OffloadError('IO_FAILURE', `${argv.join(' ')} in ${this.name} exited with ${code}: ${stderr.trim() || stdout.trim()}`)
    return stdout
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort()
    await Promise.allSettled(this.#running)
    await this.#net.deleteNetns(this.name)
  }
}
