import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A request as it came over the wire. */
export interface Request {
  readonly v: number
  readonly kind: string
  readonly env: Record<string, string>
  readonly stdin: string
  readonly deadlineMs: number
  readonly sinceMs?: number
}

/** A reply frame. */
export const reply = (status: number, stdout: string | Uint8Array): Buffer => {
  const body = Buffer.concat([Buffer.of(status), Buffer.from(stdout as string)])
  const length = Buffer.alloc(4)
  length.writeUInt32BE(body.length)
  return Buffer.concat([length, body])
}

/** A unix socket that reads one request per connection and lets the test answer. */
export class FakeDaemon implements AsyncDisposable {
  readonly requests: Request[] = []
  readonly socketPath: string
  readonly #folder: string
  readonly #server = createServer()
  readonly #sockets = new Set<Socket>()

  private constructor(folder: string) {
    this.#folder = folder
    this.socketPath = join(folder, 'host.sock')
  }

  /** Listens; `answer` gets each request, `accept` each connection before anything is read. */
  static async listen(answer: (socket: Socket, request: Request) => void, accept?: (socket: Socket) => void): Promise<FakeDaemon> {
    const daemon = new FakeDaemon(await mkdtemp(join(tmpdir(), 'offload-shim-')))
    daemon.#server.on('connection', (socket) => {
      daemon.#sockets.add(socket)
      socket.on('error', () => {}).on('close', () => daemon.#sockets.delete(socket))
      if (accept !== undefined) return accept(socket)
      let received = Buffer.alloc(0)
      socket.on('data', (chunk) => {
        received = Buffer.concat([received, chunk])
        if (received.length < 4 || received.length < 4 + received.readUInt32BE()) return
        const request = JSON.parse(received.subarray(4).toString()) as Request
        daemon.requests.push(request)
        answer(socket, request)
      })
    })
    daemon.#server.listen(daemon.socketPath)
    await once(daemon.#server, 'listening')
    return daemon
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
    await once(this.#server, 'close')
    await rm(this.#folder, { recursive: true })
  }
}
