import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import type { FakeOcteonCard } from '../card.ts'
import { AgentPeer } from './agent-peer.ts'
import { cardMethods, machineMethods, type Methods, vfAdminMethods } from './methods.ts'
import { encodeError, parseCall, type RpcEvent, type RpcReply, type RpcRequest } from './protocol.ts'

/**
 * Serves a card to other processes, one JSON object a line: its machines ({@link connectFakeOcteonMachine}), itself
 * ({@link connectFakeOcteonCard}), and what a fake control agent needs ({@link installFakeOctepCpAgent}).
 *
 * @param socket - path of the unix socket; a file that is there is replaced
 * @returns how to end it, which leaves the card as it is
 */
export async function serveFakeOcteonCard(card: FakeOcteonCard, socket: string): Promise<AsyncDisposable> {
  await rm(socket, { force: true })
  const peers = new Set<Peer>()
  const server = createServer((connection) => {
    const peer = new Peer(card, connection)
    peers.add(peer)
    connection.once('close', () => peers.delete(peer))
  })
  server.listen(socket)
  await once(server, 'listening')
  return { [Symbol.asyncDispose]: () => stop(server, peers) }
}

async function stop(server: Server, peers: ReadonlySet<Peer>): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()))
  for (const peer of peers) peer.cut()
  await closed
}

/** One connection. */
class Peer {
  readonly #connection: Socket
  readonly #agent: AgentPeer
  readonly #methods: Readonly<Record<RpcRequest['target'], Methods>>
  readonly #running = new Map<number, AbortController>()

  constructor(card: FakeOcteonCard, connection: Socket) {
    this.#connection = connection
    this.#agent = new AgentPeer(card, (comesBack) => this.#send({ event: 'perst', comesBack }))
    this.#methods = {
      host: { ...machineMethods(card.host), ...vfAdminMethods(card) },
      dpu: machineMethods(card.dpu),
      card: cardMethods(card),
      agent: this.#agent.methods,
    }
    // A process that is killed breaks its connection at any time.
    connection.on('error', () => {})
    connection.once('close', () => this.#closed())
    createInterface(connection)
      .on('line', (line) => void this.#serve(line))
      .on('error', () => {})
  }

  cut(): void {
    this.#connection.destroy()
  }

  async #serve(line: string): Promise<void> {
    try {
      const call = parseCall(line)
      if ('abort' in call) this.#running.get(call.abort)?.abort()
      else this.#send(await this.#answer(call))
    } catch {
      // Nobody of ours sends that: whoever it is learns it by the end of the connection.
      this.cut()
    }
  }

  async #answer({ id, target, method, args }: RpcRequest): Promise<RpcReply> {
    const end = new AbortController()
    this.#running.set(id, end)
    try {
      const call = this.#methods[target][method]
      if (call === undefined) throw new TypeError(`a fake card has no ${target}.${method}`)
      return { id, result: await call(args, end.signal) }
    } catch (error) {
      return { id, error: encodeError(error) }
    } finally {
      this.#running.delete(id)
    }
  }

  #send(message: RpcReply | RpcEvent): void {
    if (!this.#connection.destroyed) this.#connection.write(`${JSON.stringify(message)}\n`)
  }

  #closed(): void {
    for (const end of this.#running.values()) end.abort()
    this.#agent[Symbol.dispose]()
  }
}
