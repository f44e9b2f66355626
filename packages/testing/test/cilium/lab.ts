import { mkdtemp, rm } from 'node:fs/promises'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FakeCiliumAgent, type FakeCiliumOptions, NO_LIMITS } from '@cni-offload/testing/cilium'

export interface Reply {
  readonly status: number
  readonly body: any
}

/** Almost all that an agent says is JSON; that something is disabled is not. */
const decoded = (text: string): unknown => (text === '' ? undefined : /^["[{\d]/.test(text) ? JSON.parse(text) : text)

/** An agent with a folder of its own, and a client that knows nothing but HTTP. */
export class AgentLab implements AsyncDisposable {
  readonly agent: FakeCiliumAgent
  readonly #folder: string

  private constructor(folder: string, agent: FakeCiliumAgent) {
    this.#folder = folder
    this.agent = agent
  }

  static async create(options: Partial<FakeCiliumOptions> = {}): Promise<AgentLab> {
    const folder = await mkdtemp(join(tmpdir(), 'cilium-'))
    const agent = new FakeCiliumAgent({ socket: join(folder, 'cilium.sock'), limits: NO_LIMITS, ...options })
    await agent.start()
    return new AgentLab(folder, agent)
  }

  ask(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const text = body === undefined ? '' : JSON.stringify(body)
      // Node frames the body of a DELETE or GET only where its length is given.
      const type = body === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }
      const call = request(
        { socketPath: this.agent.socket, method, path: `/v1${path}`, headers: { ...type, ...headers }, agent: false },
        (reply) => {
          let answer = ''
          reply.setEncoding('utf8').on('data', (chunk: string) => (answer += chunk))
          reply.on('end', () => resolve({ status: reply.statusCode ?? 0, body: decoded(answer) }))
        },
      )
      call.on('error', reject)
      call.end(text === '' ? undefined : text)
    })
  }

  /** What cilium-cni does for a pod, as far as the API is concerned. */
  async addPod(name: string, change: Record<string, unknown> = {}): Promise<Reply> {
    const ipam = await this.ask('POST', `/ipam?owner=default%2F${name}`, undefined, { expiration: 'true' })
    if (ipam.status !== 201) return ipam
    const { address, ipv4, ipv6 } = ipam.body
    return await this.ask('PUT', '/endpoint/cilium-local:0', {
      state: 'waiting-for-identity',
      'sync-build-endpoint': true,
      'container-id': `c-${name}`,
      'container-interface-name': 'eth0',
      'k8s-namespace': 'default',
      'k8s-pod-name': name,
      mac: '02:00:00:00:01:01',
      'interface-name': `lxc-${name}`,
      addressing: {
        ...address,
        ...(ipv4 === undefined ? {} : { 'ipv4-expiration-uuid': ipv4['expiration-uuid'] }),
        ...(ipv6 === undefined ? {} : { 'ipv6-expiration-uuid': ipv6['expiration-uuid'] }),
      },
      ...change,
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.agent[Symbol.asyncDispose]()
    await rm(this.#folder, { recursive: true, force: true })
  }
}
