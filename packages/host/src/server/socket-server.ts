import { once } from 'node:events'
import { chmod, lstat, rename, unlink } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { type Logger, OffloadError } from '@cni-offload/sdk'
import { encodeError } from '@cni-offload/sdk/cni'
import { claimPath } from './claim-path.ts'
import { encodeReply, FrameReader, type Reply } from './frame.ts'
import { peerUid } from './peer.ts'
import { type HostRequest, parseRequest } from './request.ts'

/** Answers a request. Never rejects. The signal is aborted when the caller has gone away or the server is forced to stop. */
export type RequestHandler = (request: HostRequest, signal: AbortSignal) => Promise<Reply>

/** Settings of a {@link SocketServer}. */
export interface SocketServerOptions {
  /** Path of the socket. */
  readonly path: string
  /** Answers requests. */
  readonly handle: RequestHandler
  /** Log. */
  readonly log: Logger
  /** Who is at the other end; the kernel's word by default. */
  readonly identify?: (socket: Socket) => number
}

/** How long a caller may take to send its request, in milliseconds: the shim sends it in one go. */
const REQUEST_MS = 10_000

/** How long a caller may take to read its reply once the server is forced to stop, in milliseconds: it reads at once as a rule. */
const REPLY_MS = 500

/**
 * The daemon's unix socket: mode 0600, for root and the daemon's own user only. A connection carries one request and its
 * reply; a caller that closes its end before the reply has given up.
 */
export class SocketServer implements AsyncDisposable {
  readonly #options: SocketServerOptions
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #running = new Set<Promise<void>>()
  readonly #force = new AbortController()
  #inode: number | undefined
  #stopping = false

  private constructor(options: SocketServerOptions) {
    this.#options = options
    this.#server = createServer((socket) => this.#accept(socket))
  }

  /** Listens. @throws OffloadError INVALID_CONFIG when the path cannot be used, IO_FAILURE when listening fails */
  static async listen(options: SocketServerOptions): Promise<SocketServer> {
    const server = new SocketServer(options)
    await server.#listen()
    return server
  }

  /** Requests that are being answered. */
  get running(): number {
    return this.#running.size
  }

  /**
   * Stops listening and lets requests end; after `graceMs` milliseconds those that still run are aborted and waited for, and
   * callers that do not take their reply are cut off. A request that fails then gets no answer: its caller sends it to the next daemon.
   */
  async drain(graceMs: number): Promise<void> {
    this.#stopping = true
    if (this.#server.listening) {
      await this.#unlinkOwn()
      this.#server.close()
    }
    const timer = setTimeout(() => this.#force.abort(new OffloadError('CANCELLED', 'the host daemon is stopping')), graceMs)
    while (this.#running.size > 0) await Promise.all(this.#running)
    clearTimeout(timer)
    for (const socket of this.#sockets) socket.destroy()
  }

  /** Stops at once: running requests are aborted and waited for. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.drain(0)
  }

  async #listen(): Promise<void> {
    const { path } = this.#options
    await claimPath(path)
    // Under a temporary name until its mode is right, so that there is no moment at which others could connect.
    const temporary = `${path}.new`
    await unlink(temporary).catch(() => {})
    try {
      this.#server.listen(temporary)
      await once(this.#server, 'listening')
      await chmod(temporary, 0o600)
      this.#inode = (await lstat(temporary)).ino
      await rename(temporary, path)
    } catch (error) {
      this.#server.close()
      throw OffloadError.from(error, 'IO_FAILURE', `socket = ${path}`)
    }
  }

  /** The path may have been taken over by a newer daemon meanwhile. */
  async #unlinkOwn(): Promise<void> {
    const found = await lstat(this.#options.path).catch(() => undefined)
    if (found?.ino === this.#inode) await unlink(this.#options.path).catch(() => {})
  }

  #accept(socket: Socket): void {
    const { log } = this.#options
    this.#sockets.add(socket)
    socket.on('error', (error) => log.debug({ err: error }, 'caller went away'))
    socket.once('close', () => this.#sockets.delete(socket))
    try {
      this.#authorise(socket)
    } catch (error) {
      log.warn({ err: error }, 'caller refused')
      void answer(socket, failure(error))
      return
    }
    this.#read(socket)
  }

  #authorise(socket: Socket): void {
    const uid = (this.#options.identify ?? peerUid)(socket)
    if (uid !== 0 && uid !== process.getuid?.())
      throw new OffloadError('PERMISSION_DENIED', `user ${uid} may not talk to the host daemon`, { hint: 'Call it as root.' })
  }

  #read(socket: Socket): void {
    const reader = new FrameReader()
    const refuse = (error: unknown): void => {
      socket.removeAllListeners('data')
      socket.removeAllListeners('timeout')
      void answer(socket, failure(error))
    }
    socket.setTimeout(REQUEST_MS, () => refuse(new OffloadError('UNDECODABLE', `no complete request within ${REQUEST_MS} ms`)))
    socket.on('data', (chunk) => {
      try {
        const content = reader.push(chunk)
        if (content === undefined) return
        socket.removeAllListeners('data')
        socket.setTimeout(0)
        // Data must keep flowing, or the end of the connection is never seen.
        socket.resume()
        // Nothing has been done for it: without an answer it comes again when there is a daemon.
        if (this.#stopping) return void socket.destroy()
        this.#start(socket, parseRequest(content))
      } catch (error) {
        this.#options.log.warn({ err: error }, 'request refused')
        refuse(error)
      }
    })
  }

  #start(socket: Socket, request: HostRequest): void {
    const gone = new AbortController()
    const leave = (): void => gone.abort(new OffloadError('CANCELLED', 'the caller went away'))
    socket.once('end', leave)
    socket.once('close', leave)
    const running = this.#options
      .handle(request, AbortSignal.any([gone.signal, this.#force.signal]))
      .catch((error: unknown) => failure(error))
      .then((reply) => {
        socket.off('end', leave)
        socket.off('close', leave)
        if (this.#force.signal.aborted && reply.exitCode !== 0) return void socket.destroy()
        return this.#deliver(socket, reply)
      })
      .finally(() => this.#running.delete(running))
    this.#running.add(running)
  }

  /** A reply that fits into the kernel's buffer is gone at once; a longer one is only when its caller reads. */
  async #deliver(socket: Socket, reply: Reply): Promise<void> {
    const { signal } = this.#force
    let timer: NodeJS.Timeout | undefined
    const cut = (): void => void (timer = setTimeout(() => socket.destroy(), REPLY_MS))
    if (signal.aborted) cut()
    else signal.addEventListener('abort', cut, { once: true })
    await answer(socket, reply)
    signal.removeEventListener('abort', cut)
    clearTimeout(timer)
  }
}

/** Resolves when the reply is on its way, or cannot be delivered any more. */
function answer(socket: Socket, reply: Reply): Promise<void> {
  return new Promise((resolve) => {
    if (!socket.writable) {
      socket.destroy()
      return resolve()
    }
    socket.once('close', () => resolve())
    socket.end(encodeReply(reply), () => resolve())
  })
}

function failure(error: unknown): Reply {
  const { json, exitCode } = encodeError(error, '')
  return { exitCode, output: json }
}
