import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { NetnsPath } from '@cni-offload/linux'
import { OffloadError, parseWith } from '@cni-offload/sdk'
import { z } from 'zod'
import { exec, inNetns } from './exec.ts'

/** A TCP port somewhere. */
export interface TcpTarget {
  /** IPv4 or IPv6 address. */
  readonly address: string
  /** Port. */
  readonly port: number
}

/** What came of asking: an answer, a refusal by somebody on the way or at the end, or nothing for as long as was waited. */
export type TcpOutcome = 'answered' | 'refused' | 'silent'

const PEER = fileURLToPath(new URL(`./tcp-probe-peer.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`, import.meta.url))
const outcomes: z.ZodType<TcpOutcome[]> = z.array(z.enum(['answered', 'refused', 'silent']))

/** A process in a network namespace that answers whoever connects, on all addresses of both families. */
export class TcpAnswerer implements AsyncDisposable {
  readonly #child: ChildProcess

  private constructor(child: ChildProcess) {
    this.#child = child
  }

  /** Starts it; it listens on all ports when this resolves. @throws OffloadError IO_FAILURE with its complaint if it cannot */
  static async start(netns: NetnsPath, ports: readonly number[]): Promise<TcpAnswerer> {
    const [command = '', ...args] = inNetns(netns, [process.execPath, PEER, 'answer', ...ports.map(String)])
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    let complaint = ''
    child.stderr.on('data', (chunk: Buffer) => {
      complaint += chunk.toString()
    })
    const ended = once(child, 'close').then(
      () => false,
      () => false,
    )
    const listens = await Promise.race([once(child.stdout, 'data').then(() => true), ended])
    if (!listens) throw new OffloadError('IO_FAILURE', `nobody could listen on ${ports.join(', ')} in ${netns}: ${complaint.trim()}`)
    return new TcpAnswerer(child)
  }

  /** Ends it. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const closed = once(this.#child, 'close')
    this.#child.kill('SIGKILL')
    await closed
  }
}

/**
 * Asks all targets at the same time, from a network namespace, and tells what came of each, in their order.
 *
 * @param waitMs - how long an answer is waited for, milliseconds: what is dropped on the way looks like somebody who is slow
 * @throws OffloadError IO_FAILURE if nobody could ask
 */
export async function tcpProbe(netns: NetnsPath, targets: readonly TcpTarget[], waitMs: number = 1_000): Promise<readonly TcpOutcome[]> {
  const pairs = targets.flatMap(({ address, port }) => [address, String(port)])
  const { code, stdout, stderr } = await exec(inNetns(netns, [process.execPath, PEER, 'ask', String(waitMs), ...pairs]), {
    timeoutMs: waitMs + 60_000,
  })
  if (code !== 0) throw new OffloadError('IO_FAILURE', `nobody could ask from ${netns}: ${stderr.trim()}`)
  return parseWith(outcomes, JSON.parse(stdout), 'outcomes', 'IO_FAILURE')
}
