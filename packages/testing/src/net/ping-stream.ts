import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { NetnsPath } from '@cni-offload/linux'
import { OffloadError } from '@cni-offload/sdk'
import { inNetns } from './exec.ts'
import type { PingResult } from './ping.ts'

/** Requests that are sent all the time, to see afterwards that none was lost. */
export class PingStream implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #output: Buffer[] = []
  #ended: Promise<PingResult> | undefined

  private constructor(child: ChildProcess) {
    this.#child = child
    child.stdout?.on('data', (chunk: Buffer) => this.#output.push(chunk))
  }

  /** Sends twenty a second from a namespace, until {@link PingStream.end}. @throws OffloadError IO_FAILURE if ping cannot be started */
  static async start(netns: NetnsPath, address: string): Promise<PingStream> {
    const family = address.includes(':') ? '-6' : '-4'
    const [command = '', ...args] = inNetns(netns, ['ping', family, '-n', '-i', '0.05', address])
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'ignore'] })
    try {
      await once(child, 'spawn')
    } catch (cause) {
      throw new OffloadError('IO_FAILURE', `ping ${address} in ${netns} could not be started`, { cause })
    }
    return new PingStream(child)
  }

  /**
   * Ends it. The last request is not counted if it has no answer: it had no time for one.
   *
   * @throws OffloadError IO_FAILURE if ping said neither how many were sent nor received
   */
  end(): Promise<PingResult> {
    return (this.#ended ??= this.#end())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end().catch(() => {})
  }

  async #end(): Promise<PingResult> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const closed = once(this.#child, 'close')
      this.#child.kill('SIGINT')
      await closed
    }
    const output = Buffer.concat(this.#output).toString()
    const match = /(\d+) packets transmitted, (\d+) (?:packets )?received/.exec(output)
    if (match === null) throw new OffloadError('IO_FAILURE', `ping told neither how many were sent nor received: ${output.slice(-500)}`)
    const [sent, received] = [Number(match[1]), Number(match[2])]
    const last = Math.max(0, ...Array.from(output.matchAll(/ bytes from .*icmp_seq=(\d+)/g), ([, sequence]) => Number(sequence)))
    return { sent: last === sent - 1 ? last : sent, received }
  }
}
