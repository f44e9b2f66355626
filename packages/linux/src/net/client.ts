import { Worker } from 'node:worker_threads'
import { type Neighbour, OffloadError, type Route } from '@cni-offload/sdk'
import { type Libc, loadLibc } from '../native/libc.ts'
import { failureOf } from './failure.ts'
import type { FrameProgram, Link, LinuxNet, NetnsPath, NetOp, VfAdmin } from './model.ts'
import { netnsIdentity } from './netns-identity.ts'
import { type RequestClass, RequestQueue } from './request-queue.ts'
import type { NetCall, NetCalls, NetOrder, NetReply, NetRequest } from './requests.ts'

interface Pending {
  readonly request: NetRequest
  readonly resolve: (result: never) => void
  readonly reject: (error: OffloadError) => void
}

type RequestOf<Call extends NetCall> = Extract<NetRequest, { call: Call }>

const SLOW_OPS: ReadonlySet<NetOp['op']> = new Set<NetOp['op']>(['link.move', 'link.add-veth', 'link.del'])

const classOf = (request: NetRequest): RequestClass =>
  request.call === 'apply' && request.ops.some(({ op }) => SLOW_OPS.has(op)) ? 'move' : 'short'

/** Starts the thread that does the work; replaceable so that tests can make it fail. */
export type StartWorker = () => Worker

const startWorker: StartWorker = () => {
  const file = import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js'
  // Unmanaged: namespaces and sockets are opened and closed by system calls that Node does not see.
  return new Worker(new URL(file, import.meta.url), { name: 'linux-net', execArgv: [], trackUnmanagedFds: false })
}

/** {@link LinuxNet} on one worker thread, with one request in flight and two classes of waiting ones. */
export class LinuxNetClient implements LinuxNet {
  readonly #start: StartWorker
  readonly #queue = new RequestQueue<Pending>()
  #worker: Worker | undefined
  #libc: Libc | undefined
  #inFlight: Pending | undefined
  #sequence = 0
  #closing: Promise<void> | undefined

  constructor(start: StartWorker = startWorker) {
    this.#start = start
  }

  links(netns: NetnsPath): Promise<Link[]> {
    return this.#call({ call: 'links', netns })
  }

  link(netns: NetnsPath, name: string): Promise<Link | undefined> {
    return this.#call({ call: 'link', netns, name })
  }

  addresses(netns: NetnsPath, dev: string, { linkLocal = false }: { readonly linkLocal?: boolean } = {}): Promise<string[]> {
    return this.#call({ call: 'addresses', netns, dev, linkLocal })
  }

  tentativeAddresses(netns: NetnsPath, dev?: string): Promise<string[]> {
    return this.#call({ call: 'tentativeAddresses', netns, ...(dev === undefined ? {} : { dev }) })
  }

  routes(netns: NetnsPath, dev: string): Promise<Route[]> {
    return this.#call({ call: 'routes', netns, dev })
  }

  neighbours(netns: NetnsPath, dev: string): Promise<Neighbour[]> {
    return this.#call({ call: 'neighbours', netns, dev })
  }

  vfs(netns: NetnsPath, dev: string): Promise<VfAdmin[]> {
    return this.#call({ call: 'vfs', netns, dev })
  }

  programs(netns: NetnsPath, dev: string): Promise<FrameProgram[]> {
    return this.#call({ call: 'programs', netns, dev })
  }

  forwarding(netns: NetnsPath, dev: string): Promise<string[]> {
    return this.#call({ call: 'forwarding', netns, dev })
  }

  redirectTarget(netns: NetnsPath, dev: string): Promise<string | undefined> {
    return this.#call({ call: 'redirectTarget', netns, dev })
  }

  apply(netns: NetnsPath, ops: readonly NetOp[]): Promise<void> {
    return this.#call({ call: 'apply', netns, ops })
  }

  createNetns(name: string): Promise<NetnsPath> {
    return this.#call({ call: 'createNetns', name })
  }

  deleteNetns(name: string): Promise<void> {
    return this.#call({ call: 'deleteNetns', name })
  }

  /** On the calling thread: it takes no kernel lock that a move holds, and a thread's round trip costs more than it. */
  async netnsIdentity(netns: NetnsPath): Promise<string | undefined> {
    this.#libc ??= loadLibc()
    try {
      return netnsIdentity(this.#libc, netns)
    } catch (error) {
      const { code, message, hint } = failureOf(error, `netnsIdentity ${netns}`)
      throw new OffloadError(code, message, { cause: error, ...(hint === undefined ? {} : { hint }) })
    }
  }

  /** Waiting requests end with CANCELLED, the one in flight is finished, then the thread ends. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  #call<Call extends NetCall>(request: RequestOf<Call>): Promise<NetCalls[Call]['result']> {
    if (this.#closing !== undefined) return Promise.reject(closed(request))
    return new Promise((resolve, reject) => {
      this.#queue.push({ request, resolve, reject }, classOf(request))
      this.#next()
    })
  }

  #next(): void {
    while (this.#inFlight === undefined) {
      const pending = this.#queue.take()
      if (pending === undefined) {
        if (this.#closing === undefined) this.#worker?.unref()
        return
      }
      this.#hand(pending)
    }
  }

  #hand(pending: Pending): void {
    this.#inFlight = pending
    this.#sequence++
    try {
      this.#worker ??= this.#launch()
      this.#worker.ref()
      this.#worker.postMessage({ id: this.#sequence, request: pending.request } satisfies NetOrder)
    } catch (error) {
      this.#inFlight = undefined
      pending.reject(OffloadError.from(error, 'INTERNAL', `${pending.request.call} could not be handed to the network thread`))
    }
  }

  #launch(): Worker {
    const worker = this.#start()
    let reason: unknown
    worker.on('message', (reply: NetReply) => this.#finish(reply))
    worker.on('error', (error) => (reason = error))
    worker.on('exit', (exitCode) => this.#lost(worker, reason ?? `it exited with code ${exitCode}`))
    return worker
  }

  #finish(reply: NetReply): void {
    const pending = this.#inFlight
    if (pending === undefined || reply.id !== this.#sequence) return
    this.#inFlight = undefined
    if (reply.ok) pending.resolve(reply.result as never)
    else pending.reject(new OffloadError(reply.code, reply.message, reply.hint === undefined ? {} : { hint: reply.hint }))
    this.#next()
  }

  #lost(worker: Worker, reason: unknown): void {
    if (this.#worker !== worker) return
    this.#worker = undefined
    const pending = this.#inFlight
    this.#inFlight = undefined
    const text = reason instanceof Error ? reason.message : String(reason)
    pending?.reject(
      new OffloadError('INTERNAL', `${pending.request.call}: the network thread ended before it answered: ${text}`, {
        cause: reason,
        hint: 'What the kernel had done by then stays; look at the state before repeating the call.',
      }),
    )
    this.#next()
  }

  async #close(): Promise<void> {
    for (const { request, reject } of this.#queue.drain()) reject(closed(request))
    const worker = this.#worker
    if (worker === undefined) return
    worker.ref()
    const exited = new Promise<void>((resolve) => worker.once('exit', () => resolve()))
    worker.postMessage('close' satisfies NetOrder)
    await exited
  }
}

const closed = (request: NetRequest): OffloadError => new OffloadError('CANCELLED', `${request.call}: the network thread is stopping`)

/**
 * Starts nothing yet; the thread comes with the first call (about 100 ms) and does not keep the process alive while idle.
 *
 * Needs CAP_NET_ADMIN, and CAP_SYS_ADMIN for namespaces other than its own.
 */
export function createLinuxNet(): LinuxNet {
  return new LinuxNetClient()
}
