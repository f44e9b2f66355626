import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { OffloadError } from '@cni-offload/sdk'
import type { PerstListener } from '../wire/control-plane.ts'
import { decodeError, parseAnswer, type RpcAbort, type RpcRequest, type RpcTarget } from './protocol.ts'

interface Waiting {
  readonly resolve: (result: unknown) => void
  readonly reject: (error: Error) => void
}

/** One connection to a fake card in another process. */
export class RpcClient implements AsyncDisposable {
  readonly #socket: Socket
  readonly #waiting = new Map<number, Waiting>()
  readonly #perst = new Set<PerstListener>()
  #next = 1
  #mayEnd = false

  private constructor(socket: Socket) {
    this.#socket = socket
    // What breaks the connection also closes it; whoever waits learns it by that. The reader passes on errors of what it reads.
    socket.on('error', () => {})
    createInterface(socket)
      .on('line', (line) => this.#answered(line))
      .on('error', () => {})
    socket.once('close', () => this.#lost())
  }

  /** Connects. @throws the system's error */
  static async connect(path: string): Promise<RpcClient> {
    const socket = connect(path)
    await once(socket, 'connect')
    return new RpcClient(socket)
  }

  /** Calls something. @throws what it throws there, with its `code`; OffloadError AGENT_UNREACHABLE if the connection is lost */
  async call(target: RpcTarget, method: string, args: readonly unknown[], signal?: AbortSignal): Promise<unknown> {
    signal?.throwIfAborted()
    if (this.#socket.destroyed) throw lost()
    const id = this.#next++
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    this.#waiting.set(id, { resolve, reject })
    this.#socket.ref()
    const abort = (): void => {
      this.#send({ abort: id })
      reject(signal?.reason as Error)
    }
    signal?.addEventListener('abort', abort, { once: true })
    this.#send({ id, target, method, args })
    try {
      return await promise
    } finally {
      signal?.removeEventListener('abort', abort)
      this.#waiting.delete(id)
      if (this.#mayEnd && this.#waiting.size === 0) this.#socket.unref()
    }
  }

  /** Calls `listener` at each reset of the PCI link. */
  onPerst(listener: PerstListener): void {
    this.#perst.add(listener)
  }

  /** Lets the process end although it is connected, unless it waits for an answer. */
  unref(): this {
    this.#mayEnd = true
    if (this.#waiting.size === 0) this.#socket.unref()
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#socket.destroyed) return
    const closed = once(this.#socket, 'close')
    this.#socket.destroy()
    await closed
  }

  #send(message: RpcRequest | RpcAbort): void {
    this.#socket.write(`${JSON.stringify(message)}\n`)
  }

  #answered(line: string): void {
    const answer = parseAnswer(line)
    if ('event' in answer) for (const listener of this.#perst) listener(answer.comesBack)
    else if ('error' in answer) this.#waiting.get(answer.id)?.reject(decodeError(answer.error))
    else this.#waiting.get(answer.id)?.resolve(answer.result)
  }

  #lost(): void {
    for (const { reject } of this.#waiting.values()) reject(lost())
  }
}

const lost = (): OffloadError => new OffloadError('AGENT_UNREACHABLE', 'the connection to the fake card is lost')
