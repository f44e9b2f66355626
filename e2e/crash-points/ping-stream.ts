import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { inNetns } from '@cni-offload/testing'

/** Requests that are sent all the time, to see afterwards that none was lost. */
export class PingStream {
  readonly #child: ChildProcess
  readonly #output: Buffer[] = []
  #ended: Promise<{ sent: number; received: number }> | undefined

  private constructor(child: ChildProcess) {
    this.#child = child
    child.stdout?.on('data', (chunk: Buffer) => this.#output.push(chunk))
  }

  /** Sends twenty a second from a namespace. */
  static async start(netns: string, address: string): Promise<PingStream> {
    const [command = '', ...args] = inNetns(netns, ['ping', '-n', '-q', '-i', '0.05', address])
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'ignore'] })
    await once(child, 'spawn')
    return new PingStream(child)
  }

  /** Ends it. */
  end(): Promise<{ sent: number; received: number }> {
    return (this.#ended ??= this.#end())
  }

  async #end(): Promise<{ sent: number; received: number }> {
    const closed = once(this.#child, 'close')
    this.#child.kill('SIGINT')
    await closed
    const match = /(\d+) packets transmitted, (\d+) (?:packets )?received/.exec(Buffer.concat(this.#output).toString())
    if (match === null) throw new Error('ping told nothing')
    return { sent: Number(match[1]), received: Number(match[2]) }
  }
}
