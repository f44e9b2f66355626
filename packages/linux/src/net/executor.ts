import { type BpfLoader, bpfLoader } from '../native/bpf.ts'
import type { Libc } from '../native/libc.ts'
import { listAddresses, listTentative } from '../netlink/addr.ts'
import { listForwarding } from '../netlink/bridge-port.ts'
import { dumpLinks, linkByIndex, linkByName } from '../netlink/link.ts'
import { listNeighbours } from '../netlink/neigh.ts'
import { listPrograms } from '../netlink/programs.ts'
import { listRoutes } from '../netlink/route.ts'
import { redirectIndex } from '../netlink/tc.ts'
import { listVfs } from '../netlink/vf.ts'
import { applyOp, type Natives } from './apply-op.ts'
import { NetFailure, failureOf } from './failure.ts'
import type { NetnsPath } from './model.ts'
import { createNamedNetns, deleteNamedNetns } from './named-netns.ts'
import type { NetRequest, NetResult } from './requests.ts'
import { type NetSession, SessionFactory } from './session.ts'

/**
 * Does requests on the calling thread, strictly synchronously: between two requests the thread is always in its own
 * namespace, and nothing else runs on it while it is in another.
 */
export class NetExecutor implements Disposable {
  readonly #libc: Libc
  readonly #natives: Natives
  readonly #sessions: SessionFactory

  constructor(libc: Libc) {
    this.#libc = libc
    let loader: BpfLoader | undefined
    this.#natives = { libc, bpf: () => (loader ??= bpfLoader()) }
    this.#sessions = new SessionFactory(libc)
  }

  /** @throws NetFailure with a code and a message that names operation, device, namespace and errno */
  execute(request: NetRequest): NetResult {
    try {
      return this.#dispatch(request)
    } catch (error) {
      this.#sessions.reset()
      if (error instanceof NetFailure) throw error
      throw failureOf(error, `${request.call} ${'netns' in request ? request.netns : request.name}`)
    }
  }

  [Symbol.dispose](): void {
    this.#sessions[Symbol.dispose]()
  }

  #dispatch(request: NetRequest): NetResult {
    switch (request.call) {
      case 'links':
        return this.#within(request.netns, ({ socket }) => dumpLinks(socket))
      case 'link':
        return this.#within(request.netns, ({ socket }) => linkByName(socket, request.name))
      case 'addresses':
        return this.#within(request.netns, (session) => listAddresses(session.socket, session.index(request.dev), request.linkLocal))
      case 'tentativeAddresses':
        return this.#within(request.netns, (session) =>
          listTentative(session.socket, request.dev === undefined ? undefined : session.index(request.dev)),
        )
      case 'routes':
        return this.#within(request.netns, (session) => listRoutes(session.socket, session.index(request.dev)))
      case 'neighbours':
        return this.#within(request.netns, (session) => listNeighbours(session.socket, session.index(request.dev)))
      case 'vfs':
        return this.#within(request.netns, (session) => listVfs(session.socket, session.index(request.dev)))
      case 'programs':
        return this.#within(request.netns, (session) => listPrograms(session.socket, session.index(request.dev)))
      case 'forwarding':
        return this.#within(request.netns, (session) => listForwarding(session.socket, session.index(request.dev)))
      case 'redirectTarget':
        return this.#within(request.netns, (session) => this.#redirectTarget(session, request.dev))
      case 'apply':
        return this.#within(request.netns, (session) => {
          for (const op of request.ops) applyOp(this.#natives, session, op, (path) => this.#sessions.open(path))
          return undefined
        })
      case 'createNetns':
        return createNamedNetns(this.#libc, this.#sessions, request.name)
      case 'deleteNetns':
        deleteNamedNetns(this.#libc, request.name)
        return undefined
    }
  }

  #within<T>(netns: NetnsPath, run: (session: NetSession) => T): T {
    using session = this.#sessions.open(netns)
    return run(session)
  }

  #redirectTarget(session: NetSession, dev: string): string | undefined {
    const index = redirectIndex(session.socket, session.index(dev))
    return index === undefined ? undefined : linkByIndex(session.socket, index)?.name
  }
}
