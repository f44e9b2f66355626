import { rm } from 'node:fs/promises'
import { Metadata, Server, ServerCredentials } from '@grpc/grpc-js'
import type { TlsFiles } from '../../src/index.ts'
import { readPem, type Release, serviceOf } from './releases.ts'

/** Settings of an {@link OtherAgent}. */
export interface OtherAgentOptions {
  readonly release: Release
  readonly tls: TlsFiles
  /** Where it listens: `unix:/path`. */
  readonly address: string
  /** Versions that it speaks. @defaultValue 1, of the newer release 1 to 2 */
  readonly protocol?: { readonly min: number; readonly max: number }
  /** What an earlier run of it had. */
  readonly had?: OtherAgent
}

/** How a call fails: a gRPC status with metadata of ours, or of a release to come. */
export interface Failure {
  readonly status: number
  readonly code: string
  readonly message: string
  readonly hint?: string
}

const idOf = (key: any): string => `${key.network}/${key.container_id}/${key.if_name}`

let runs = 0

/**
 * An agent of another release, which has only the protocol in common with ours: its messages are those of its own description. It gives
 * addresses, keeps what it is told, and makes no network.
 *
 * Its answers always carry what the next release has; the older one's description leaves that out when they are sent.
 */
export class OtherAgent implements AsyncDisposable {
  readonly options: OtherAgentOptions
  /** Attachments by `network/container/interface`, as messages. */
  readonly attachments: Map<string, any>
  /** All calls with their messages, oldest first. */
  readonly calls: { readonly method: string; readonly request: any }[] = []
  /** Fails a call, if it returns a failure. */
  fails: (method: string, request: any) => Failure | undefined = () => undefined
  /** What it says in a resync of what it has. */
  action: string = 'RESYNC_ACTION_KEPT'
  /** What it says in a list. */
  phase: string = 'ATTACHMENT_PHASE_ATTACHED'
  #server = new Server()
  readonly #beats = new Set<{ write(message: object): unknown; end(): unknown }>()
  #timer: NodeJS.Timeout | undefined
  #next: number

  private constructor(options: OtherAgentOptions) {
    this.options = options
    this.attachments = new Map(options.had?.attachments)
    this.#next = options.had === undefined ? 2 : options.had.#next
  }

  static async start(options: OtherAgentOptions): Promise<OtherAgent> {
    const agent = new OtherAgent(options)
    await agent.#listen()
    return agent
  }

  /** How often a method was called. */
  count(method: string): number {
    return this.calls.filter((call) => call.method === method).length
  }

  /** Says that it restarts, as agents with heartbeats do, and ends. */
  async restart(): Promise<void> {
    for (const beat of this.#beats) {
      beat.write({ restarting: true, load: 1 })
      beat.end()
    }
    await new Promise<void>((resolve) => setImmediate(resolve))
    await this[Symbol.asyncDispose]()
  }

  /** Ends without a word. */
  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer)
    this.#server.forceShutdown()
    await rm(this.options.address.replace('unix:', ''), { force: true })
  }

  async #listen(): Promise<void> {
    const { release, tls, address } = this.options
    const { ca, cert, key } = await readPem(tls)
    const unary =
      (method: string, answer: (request: any) => object) =>
      (call: any, done: any): void => {
        const failure = this.#called(method, call.request)
        if (failure !== undefined) return void done(failure)
        try {
          done(null, answer(call.request))
        } catch (error) {
          done(error)
        }
      }
    this.#server.addService(await serviceOf(release), {
      Handshake: unary('Handshake', (request) => this.#handshake(request)),
      Attach: unary('Attach', (request) => this.#attach(request)),
      Detach: unary('Detach', ({ key: of }) => {
        this.attachments.delete(idOf(of))
        return {}
      }),
      Check: unary('Check', ({ key: of }) => {
        if (!this.attachments.has(idOf(of))) throw statusOf({ status: 9, code: 'CHECK_FAILED', message: `${idOf(of)} is not known` })
        return {}
      }),
      Status: unary('Status', () => ({})),
      Measure: unary('Measure', () => ({ percent: 7 })),
      List: (call: any) => {
        const failure = this.#called('List', call.request)
        if (failure !== undefined) return call.emit('error', failure)
        for (const { request, result } of this.attachments.values()) call.write(this.#listed(request, result))
        call.end()
      },
      Resync: (call: any) => this.#resync(call),
      Heartbeat: (call: any) => this.#heartbeat(call),
    })
    await rm(address.replace('unix:', ''), { force: true })
    const secured = ServerCredentials.createSsl(ca, [{ cert_chain: cert, private_key: key }], true)
    await new Promise<void>((resolve, reject) =>
      this.#server.bindAsync(address, secured, (error) => (error === null ? resolve() : reject(error))),
    )
    this.#timer = setInterval(() => {
      for (const beat of this.#beats) beat.write({ restarting: false, load: 1 })
    }, 200)
  }

  #called(method: string, request: any): object | undefined {
    this.calls.push({ method, request })
    const failure = this.fails(method, request)
    return failure === undefined ? undefined : statusOf(failure)
  }

  #handshake({ min_protocol, max_protocol }: any): object {
    const { release, protocol: { min, max } = { min: 1, max: release === 'newer' ? 2 : 1 } } = this.options
    const protocol = Math.min(max, max_protocol)
    if (protocol < Math.max(min, min_protocol))
      throw statusOf({
        status: 9,
        code: 'INCOMPATIBLE_PEER',
        message: `the host speaks protocol versions ${min_protocol} to ${max_protocol}, this agent ${min} to ${max}`,
        hint: `Upgrade the ${max_protocol < min ? 'host daemon' : 'agent'}.`,
      })
    return {
      protocol,
      instance_id: `run-${++runs}`,
      networks: ['*'],
      features: release === 'newer' ? ['heartbeat', 'measure'] : [],
      kept: [],
      load: { percent: 7 },
    }
  }

  #attach(request: any): object {
    const id = idOf(request.key)
    const before = this.attachments.get(id)
    const host = before === undefined ? this.#next++ : 0
    const result = before?.result ?? request.had ?? this.#result(request.vf_mac, host)
    this.attachments.set(id, { request, result })
    return { result, port: `port${request.vf.index ?? 0}`, uplink: 'up0' }
  }

  #result(mac: string, host: number): object {
    return {
      mac,
      mtu: 1400,
      ips: [{ address: `10.77.0.${host}/24`, gateway: '10.77.0.1', expires_ms: 1 }],
      routes: [{ dst: '0.0.0.0/0', gw: '10.77.0.1' }],
      dns: { nameservers: { values: ['10.77.0.53'] } },
      groups: ['pods'],
    }
  }

  #listed(request: any, result: object): object {
    const repairs = [{ at_ms: 1, action: 'rotate', found: ['a stale key'], outcome: 'postponed', times: 1, by: 'the next release' }]
    return { key: request.key, vf: request.vf, port: 'port', phase: this.phase, result, request, repairs, since_ms: 1 }
  }

  #resync(call: any): void {
    const told = new Set<string>()
    const failure = this.#called('Resync', undefined)
    if (failure !== undefined) return call.emit('error', failure)
    call.on('data', (message: any) => {
      this.calls.push({ method: 'Resync.message', request: message })
      if (message.wired !== undefined && message.wired !== null) {
        const { key } = message.wired
        told.add(idOf(key))
        const known = this.attachments.has(idOf(key))
        const { result } = this.#attach(message.wired) as { result: object }
        call.write({ key, action: known ? this.action : 'RESYNC_ACTION_REATTACHED', result, took_ms: 1 })
      } else if (message.complete === true) {
        for (const [id, { request }] of this.attachments) {
          if (told.has(id)) continue
          this.attachments.delete(id)
          call.write({ key: request.key, action: 'RESYNC_ACTION_DETACHED', took_ms: 1 })
        }
        call.end()
      }
    })
  }

  #heartbeat(call: any): void {
    this.calls.push({ method: 'Heartbeat', request: undefined })
    this.#beats.add(call)
    call.write({ restarting: false, load: 1 })
    call.on('data', (request: any) => this.calls.push({ method: 'Heartbeat.message', request }))
    const ended = (): void => void this.#beats.delete(call)
    for (const event of ['end', 'cancelled', 'error', 'close']) call.on(event, ended)
  }
}

function statusOf({ status, code, message, hint }: Failure): object {
  const metadata = new Metadata()
  metadata.set('offload-code', code)
  metadata.set('offload-message-bin', Buffer.from(message))
  if (hint !== undefined) metadata.set('offload-hint-bin', Buffer.from(hint))
  metadata.set('offload-severity', 'of a release to come')
  return { code: status, details: message, metadata }
}
