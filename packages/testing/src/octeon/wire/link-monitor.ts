import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout } from 'node:timers/promises'
import type { NetnsPath } from '@cni-offload/linux'
import { OffloadError } from '@cni-offload/sdk'
import { inNetns } from '../../net/exec.ts'

/** A line of `ip -o monitor link` about a link that is no more: its number, its name, and its peer behind an `@`. */
const DELETED = /^Deleted \d+: ([^@:\s]+)/

/** A program that has just been started is given this long to notice a change before it is made again. */
const RETRY_MS = 50

/** Tells of links of a network namespace that are removed. */
export class LinkMonitor implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #ended: Promise<unknown>
  readonly #heard: PromiseWithResolvers<void> = Promise.withResolvers()

  constructor(netns: NetnsPath, removed: (dev: string) => void) {
    const [file = '', ...args] = inNetns(netns, ['ip', '-o', 'monitor', 'link'])
    const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'ignore'] })
    this.#child = child
    this.#ended = once(child, 'close')
    createInterface(child.stdout).on('line', (line) => {
      this.#heard.resolve()
      const dev = DELETED.exec(line)?.[1]
      if (dev !== undefined) removed(dev)
    })
  }

  /** Resolves when it listens, of which it says nothing. @param change - changes a link: repeated until one is seen */
  async started(change: () => Promise<void>): Promise<void> {
    let heard = false
    const ended = this.#ended.then(() => {
      throw new OffloadError('IO_FAILURE', 'ip monitor has ended', { hint: 'install iproute2' })
    })
    const seen = Promise.race([this.#heard.promise, ended]).finally(() => (heard = true))
    while (!heard) {
      await change()
      await Promise.race([seen, setTimeout(RETRY_MS)])
    }
    await seen
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#ended
  }
}
