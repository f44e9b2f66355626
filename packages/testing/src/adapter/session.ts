import assert from 'node:assert/strict'
import {
  type AttachRequest,
  type AttachResult,
  attachResult,
  type CheckRequest,
  type CniAdapter,
  formatAttachmentKey,
  type KnownAttachment,
  type OpContext,
  parseWith,
  type PortRef,
  type RememberedAttachment,
} from '@cni-offload/sdk'
import { freshContext } from '../kit/expect.ts'
import type { BenchPort } from '../net/port-bench.ts'
import { wirePod } from '../net/wire-pod.ts'
import type { AdapterFixture } from './fixture.ts'

/** A started adapter and the two parties around it: the agent that calls it and the host that wires the pods. */
export class Session implements AsyncDisposable {
  /** The fixture that it was opened for. */
  readonly fixture: AdapterFixture
  #adapter: CniAdapter
  /** Whether other adapters are said to use the ports, too. */
  #shared: boolean
  readonly #requests: Map<string, AttachRequest> = new Map()

  private constructor(fixture: AdapterFixture, adapter: CniAdapter, shared: boolean) {
    this.fixture = fixture
    this.#adapter = adapter
    this.#shared = shared
  }

  /** Makes and starts the adapter. @param shared - whether other adapters may attach the ports, too */
  static async open(fixture: AdapterFixture, shared = false): Promise<Session> {
    const session = new Session(fixture, await fixture.create(), shared)
    await session.#start()
    return session
  }

  /** The adapter as it runs now. */
  get adapter(): CniAdapter {
    return this.#adapter
  }

  /** Ends the adapter and makes another one on the same state. @param shared - whether the ports are shared from now on */
  async restart(shared: boolean = this.#shared): Promise<void> {
    this.#shared = shared
    await this.#again()
  }

  /** As {@link restart}, but the adapter has lost its state and the agent has not. @param results - by the numbers of the pods */
  async restartWithoutState(lose: () => Promise<void>, results: readonly AttachResult[]): Promise<void> {
    await this.#again(
      lose,
      results.map((result, index) => ({ request: this.request(index), result })),
    )
  }

  /** The port and pod number `index`. */
  port(index: number): BenchPort {
    const port = this.fixture.ports[index]
    assert.ok(port !== undefined, `the fixture has at least ${index + 1} ports`)
    return port
  }

  /** The request for pod number `index` as an agent would make it. */
  request(index: number, changes: Partial<AttachRequest> = {}): AttachRequest {
    const { pod, vfMac } = this.port(index)
    return {
      key: pod.key(this.fixture.network),
      pod: pod.identity,
      port: this.#seen(index),
      vfMac,
      netconf: this.fixture.netconf,
      runtimeConfig: {},
      cniArgs: { IgnoreUnknown: '1', K8S_POD_NAMESPACE: pod.identity.namespace, K8S_POD_NAME: pod.identity.name },
      flags: { ipsec: false },
      ...changes,
    }
  }

  /** Attaches pod number `index`. The answer is parsed as the agent does it. */
  async attach(index: number, changes: Partial<AttachRequest> = {}, ctx: OpContext = freshContext()): Promise<AttachResult> {
    const request = this.request(index, changes)
    this.#requests.set(formatAttachmentKey(request.key), request)
    return parseWith(attachResult, await this.#adapter.attach(request, ctx), 'AttachResult', 'ADAPTER_FAILED')
  }

  /** Attaches pod number `index` and wires it as the host does. */
  async connect(index: number, changes: Partial<AttachRequest> = {}): Promise<AttachResult> {
    const result = await this.attach(index, changes)
    await wirePod(this.fixture.net, this.port(index).pod.path, 'eth0', result)
    return result
  }

  /** Detaches pod number `index`. */
  async detach(index: number, changes: Partial<AttachRequest> = {}): Promise<void> {
    const { key, port } = this.request(index, changes)
    await this.#adapter.detach({ key, port }, freshContext())
    this.#requests.delete(formatAttachmentKey(key))
  }

  /** What a check of pod number `index` needs. */
  checkRequest(index: number, expected: AttachResult): CheckRequest {
    const { key, port } = this.request(index)
    return { key, port, expected }
  }

  /** The attachments that the adapter lists, as sorted texts. */
  async listed(): Promise<string[]> {
    return (await this.#adapter.list(freshContext())).map(formatAttachmentKey).toSorted()
  }

  /** What the adapter remembers; nothing where it does not tell. */
  async remembered(): Promise<RememberedAttachment[]> {
    return (await this.#adapter.remembered?.(freshContext())) ?? []
  }

  /** The keys of some pods, as sorted texts. */
  keys(...indexes: readonly number[]): string[] {
    return indexes.map((index) => formatAttachmentKey(this.request(index).key)).toSorted()
  }

  /** How many attachments are possible at the same time. */
  get room(): number {
    return Math.min(this.fixture.capacity ?? Number.POSITIVE_INFINITY, this.fixture.ports.length)
  }

  /** Detaches what a case left, so that networks outside of the fixture's namespaces are left as they were. */
  async [Symbol.asyncDispose](): Promise<void> {
    // The case has already passed or failed; an adapter that cannot detach must not hide why.
    for (const { key, port } of this.#requests.values()) await this.#adapter.detach({ key, port }, freshContext()).catch(() => {})
    await this.#adapter[Symbol.asyncDispose]?.()
  }

  async #again(meanwhile: () => Promise<void> = async () => {}, known: readonly KnownAttachment[] = []): Promise<void> {
    await this.#adapter[Symbol.asyncDispose]?.()
    await meanwhile()
    this.#adapter = await this.fixture.create()
    await this.#start(known)
  }

  async #start(known: readonly KnownAttachment[] = []): Promise<void> {
    const ports = this.fixture.ports.map((_port, index) => this.#seen(index))
    await this.#adapter.start?.(ports, freshContext(), known)
  }

  /** A port as the agent shows it to the adapter. */
  #seen(index: number): PortRef {
    const { port } = this.port(index)
    return this.#shared ? { ...port, shared: true } : port
  }
}

/** The plain addresses of a result, without prefix length. */
export function addressesOf(result: AttachResult): string[] {
  return result.ips.map(({ address }) => address.replace(/\/.*$/, ''))
}

/** Opens a session, runs something with it and closes it. */
export async function inSession(fixture: AdapterFixture, action: (session: Session) => Promise<void>, shared = false): Promise<void> {
  await using session = await Session.open(fixture, shared)
  await action(session)
}
