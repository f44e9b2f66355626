import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { OffloadError, parseWith } from '@cni-offload/sdk'
import { z } from 'zod'
import { failed, type KubectlAnswer } from './answers.ts'
import { callText, Expectation, type ExpectedTimes, type KubectlMatcher, type KubectlReply, type KubectlRequest } from './expectation.ts'

/** How strict a fake kubectl is. */
export interface FakeKubectlOptions {
  /** Whether calls have to come in the order in which they are expected. @defaultValue false */
  readonly ordered?: boolean
}

const requestSchema: z.ZodType<KubectlRequest> = z.object({
  args: z.array(z.string()),
  stdin: z.string(),
  kubeconfig: z.string().optional(),
})

/**
 * A kubectl that knows no cluster: an executable that is answered by the test. The test says which calls it expects and what comes
 * of them; any other call fails, and {@link FakeKubectl.verify} reports it.
 */
export class FakeKubectl implements AsyncDisposable {
  /** Path of the executable. */
  readonly executable: string
  /** All calls so far, in the order in which they came. */
  readonly calls: KubectlRequest[] = []
  readonly #folder: string
  readonly #ordered: boolean
  readonly #expectations: Expectation[] = []
  readonly #unexpected: string[] = []
  readonly #connections = new Set<Socket>()
  readonly #hanging = new Set<Socket>()
  readonly #waiting = new Set<() => void>()
  #server: Server | undefined
  #reported = true

  private constructor(folder: string, { ordered = false }: FakeKubectlOptions) {
    this.#folder = folder
    this.executable = join(folder, 'kubectl')
    this.#ordered = ordered
  }

  /** A fake in a folder of its own, which goes when it is disposed. */
  static async start(options: FakeKubectlOptions = {}): Promise<FakeKubectl> {
    const fake = new FakeKubectl(await mkdtemp(join(tmpdir(), 'kubectl-')), options)
    const socket = join(fake.#folder, 'socket')
    fake.#server = createServer((connection) => fake.#accept(connection)).listen(socket)
    await once(fake.#server, 'listening')
    const program = fileURLToPath(import.meta.resolve('@cni-offload/testing/kubectl/main'))
    const command = [process.execPath, program, socket].map(quoted).join(' ')
    await writeFile(fake.executable, `#!/bin/sh\nexec ${command} "$@"\n`)
    await chmod(fake.executable, 0o755)
    return fake
  }

  /** Calls that did not end yet, because they were told to hang. */
  get hanging(): number {
    return this.#hanging.size
  }

  /** Expects a call. Of several that fit, the one that was expected first is taken. @returns this, for the next */
  expect(call: KubectlMatcher, reply: KubectlReply, { times = 1 }: ExpectedTimes = {}): this {
    this.#expectations.push(new Expectation(call, reply, times))
    return this
  }

  /** Resolves when a call hangs. Rejects with the signal's reason. */
  async untilHanging(signal: AbortSignal): Promise<void> {
    while (this.#hanging.size === 0) await this.#change(signal)
  }

  /** Resolves when no call hangs any more: whoever made it has ended it. Rejects with the signal's reason. */
  async untilEnded(signal: AbortSignal): Promise<void> {
    while (this.#hanging.size > 0) await this.#change(signal)
  }

  /** @throws OffloadError CHECK_FAILED that lists the calls that came and were not expected, and those that were and did not come */
  verify(): void {
    this.#reported = true
    const missing = this.#expectations.filter(({ open }) => open).map((expectation) => `not called: ${expectation.toString()}`)
    const problems = [...this.#unexpected.map((call) => `not expected: ${call}`), ...missing]
    if (problems.length > 0) throw new OffloadError('CHECK_FAILED', `fake kubectl:\n${problems.join('\n')}`)
  }

  /**
   * Ends it. @throws OffloadError CHECK_FAILED as of {@link verify}, for unexpected calls that nobody has asked for by it: a test
   * that forgets to ask must not pass
   */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const connection of this.#connections) connection.destroy()
    const server = this.#server
    if (server !== undefined) await new Promise((closed) => server.close(closed))
    await rm(this.#folder, { recursive: true, force: true })
    if (!this.#reported) this.verify()
  }

  #accept(connection: Socket): void {
    this.#connections.add(connection)
    // A call that is killed breaks its connection at any time.
    connection.on('error', () => {})
    connection.once('close', () => {
      this.#connections.delete(connection)
      this.#hanging.delete(connection)
      this.#changed()
    })
    createInterface(connection).once('line', (line) => void this.#serve(connection, line))
  }

  async #serve(connection: Socket, line: string): Promise<void> {
    try {
      const request = parseWith(requestSchema, JSON.parse(line), 'fake kubectl', 'UNDECODABLE')
      const answer = await this.#answer(request)
      if (answer === 'hang') {
        this.#hanging.add(connection)
        return this.#changed()
      }
      const { stdout = '', stderr = '', exitCode = 0 } = answer
      const printed = typeof stdout === 'string' ? stdout : `${JSON.stringify(stdout)}\n`
      connection.end(JSON.stringify({ stdout: printed, stderr, exitCode }))
    } catch (error) {
      // A reply of the test that throws.
      connection.end(JSON.stringify({ stdout: '', stderr: `fake kubectl: ${String(error)}\n`, exitCode: 1 }))
    }
  }

  async #answer(request: KubectlRequest): Promise<KubectlAnswer | 'hang'> {
    this.calls.push(request)
    const candidates = this.#ordered ? this.#next() : this.#expectations
    const expectation = candidates.find((candidate) => candidate.expects(request))
    if (expectation === undefined) {
      this.#unexpected.push(callText(request.args))
      this.#reported = false
      return failed(`fake kubectl: this call was not expected: ${callText(request.args)}`)
    }
    expectation.serve()
    return typeof expectation.reply === 'function' ? await expectation.reply(request) : expectation.reply
  }

  /** What may come now: up to the first that has to come. */
  #next(): readonly Expectation[] {
    const first = this.#expectations.findIndex(({ open }) => open)
    return first < 0 ? this.#expectations : this.#expectations.slice(0, first + 1)
  }

  #changed(): void {
    for (const wake of this.#waiting) wake()
    this.#waiting.clear()
  }

  async #change(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const abort = (): void => reject(signal.reason as Error)
    signal.addEventListener('abort', abort, { once: true })
    this.#waiting.add(resolve)
    try {
      await promise
    } finally {
      signal.removeEventListener('abort', abort)
      this.#waiting.delete(resolve)
    }
  }
}

const quoted = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`
