import { OffloadError, parseWith } from '@cni-offload/sdk'
import { z } from 'zod'
import { answerError, CiliumApiError } from './api-error.ts'
import type { ApiPolicy, Caller, CallGroup } from './patience.ts'
import {
  type AgentConfig,
  type AgentHealth,
  type Allocation,
  allocationReply,
  type CiliumEndpoint,
  configReply,
  type EndpointChange,
  endpointChange,
  type EndpointHealth,
  endpointHealthReply,
  type EndpointLabels,
  endpointReply,
  endpointsReply,
  healthReply,
  labelsReply,
} from './schemas.ts'
import { exchange, type HttpReply, type HttpRequest } from './transport.ts'

/** Pool of addresses that are of no pool with a name of its own. */
export const DEFAULT_POOL = 'default'

/** An address and the pool that it is of. The agent neither gives nor takes an address without a pool's name. */
export interface PooledAddress {
  /** The address. */
  readonly ip: string
  /** Name of the pool, {@link DEFAULT_POOL} if absent. */
  readonly pool?: string
}

/** What a client is made of. */
export interface CiliumClientParts {
  /** Path of the agent's unix socket. */
  readonly socket: string
  /** Limits and repetitions. */
  readonly policy: ApiPolicy
  /** Longest that one request may take, milliseconds. */
  readonly requestTimeoutMs: number
}

/**
 * The REST API of a stock cilium-agent, 1.16 to 1.20, as far as a CNI needs it.
 *
 * Every method throws a {@link CiliumApiError} for what the agent refuses or cannot answer, and OffloadError CANCELLED or
 * DEADLINE_EXCEEDED when the caller gives up.
 */
export class CiliumClient {
  readonly #parts: CiliumClientParts

  /** Connects to nothing yet. */
  constructor(parts: CiliumClientParts) {
    this.#parts = parts
  }

  /** How the agent is configured. */
  async config(caller: Caller): Promise<AgentConfig> {
    return (await this.#get('other', '/config', configReply, caller)).status
  }

  /** How the agent is. @param brief - whether it is in order and nothing else: no node name, no chaining, no allocations */
  async health(caller: Caller, brief: boolean): Promise<AgentHealth> {
    const reply = await this.#call('other', { method: 'GET', path: '/healthz', headers: { brief: String(brief) } }, [200], caller)
    return decode('GET /healthz', reply, healthReply)
  }

  /** Takes an address of each enabled family. They are free again after ten minutes unless an endpoint is made with them. */
  async allocate(owner: string, caller: Caller): Promise<Allocation> {
    const path = `/ipam?${query({ owner })}`
    const reply = await this.#call('other', { method: 'POST', path, headers: { expiration: 'true' }, takes: true }, [201], caller)
    return decode('POST /ipam', reply, allocationReply)
  }

  /** Takes a certain address of a pool, without an expiration. */
  async claim({ ip, pool = DEFAULT_POOL }: PooledAddress, owner: string, caller: Caller): Promise<void> {
    const path = `/ipam/${ip}?${query({ owner, pool })}`
    await this.#call('other', { method: 'POST', path, takes: true }, [200], caller)
  }

  /** Gives an address back to its pool; one that nobody has is success. The agent refuses those that an endpoint uses. */
  async release({ ip, pool = DEFAULT_POOL }: PooledAddress, caller: Caller): Promise<void> {
    await this.#call('other', { method: 'DELETE', path: `/ipam/${ip}?${query({ pool })}` }, [200, 404], caller)
  }

  /** An endpoint by an id of the API, `cni-attachment-id:…` for example; undefined if there is none. */
  async endpoint(id: string, caller: Caller): Promise<CiliumEndpoint | undefined> {
    const reply = await this.#call('get', { method: 'GET', path: `/endpoint/${inPath(id)}` }, [200, 404], caller)
    return reply.status === 404 ? undefined : decode('GET /endpoint/{id}', reply, endpointReply)
  }

  /** All endpoints. */
  async endpoints(caller: Caller): Promise<readonly CiliumEndpoint[]> {
    const reply = await this.#call('list', { method: 'GET', path: '/endpoint' }, [200, 404], caller)
    return reply.status === 404 ? [] : decode('GET /endpoint', reply, endpointsReply)
  }

  /** Makes an endpoint; when it resolves the endpoint forwards. If it rejects, its addresses are still the caller's. */
  async createEndpoint(change: EndpointChange, caller: Caller): Promise<CiliumEndpoint> {
    const body = parseWith(endpointChange, change, 'PUT /endpoint/{id}', 'INTERNAL')
    const reply = await this.#call('create', { method: 'PUT', path: '/endpoint/cilium-local:0', body, takes: true }, [201], caller)
    return decode('PUT /endpoint/{id}', reply, endpointReply)
  }

  /** Removes an endpoint and frees its addresses. @returns false if there was none */
  async deleteEndpoint(id: string, caller: Caller): Promise<boolean> {
    return this.#deleted(await this.#call('delete', { method: 'DELETE', path: `/endpoint/${inPath(id)}` }, [200, 206, 404], caller), caller)
  }

  /** Removes all endpoints of a sandbox and frees their addresses. @returns false if there was none */
  async deleteContainer(containerId: string, caller: Caller): Promise<boolean> {
    const body = { 'container-id': containerId }
    return this.#deleted(await this.#call('delete', { method: 'DELETE', path: '/endpoint', body }, [200, 206, 404], caller), caller)
  }

  /** Health of an endpoint; undefined if there is none. */
  async endpointHealth(id: string, caller: Caller): Promise<EndpointHealth | undefined> {
    const reply = await this.#call('get', { method: 'GET', path: `/endpoint/${inPath(id)}/healthz` }, [200, 404], caller)
    return reply.status === 404 ? undefined : decode('GET /endpoint/{id}/healthz', reply, endpointHealthReply)
  }

  /** Labels of an endpoint; undefined if there is none. */
  async labels(id: string, caller: Caller): Promise<EndpointLabels | undefined> {
    const reply = await this.#call('get', { method: 'GET', path: `/endpoint/${inPath(id)}/labels` }, [200, 404], caller)
    return reply.status === 404 ? undefined : decode('GET /endpoint/{id}/labels', reply, labelsReply)
  }

  /** Gives an endpoint labels, `source:key=value`, besides those of its pod, in place of earlier ones. */
  async setLabels(id: string, user: readonly string[], caller: Caller): Promise<void> {
    const body = parseWith(z.object({ user: z.array(z.string().min(1)) }), { user }, 'PATCH /endpoint/{id}/labels', 'INTERNAL')
    await this.#call('other', { method: 'PATCH', path: `/endpoint/${inPath(id)}/labels`, body }, [200], caller)
  }

  async #get<T>(group: CallGroup, path: string, schema: z.ZodType<T>, caller: Caller): Promise<T> {
    return decode(`GET ${path}`, await this.#call(group, { method: 'GET', path }, [200], caller), schema)
  }

  async #call(group: CallGroup, asked: HttpRequest, expected: readonly number[], caller: Caller): Promise<HttpReply> {
    const { socket, policy, requestTimeoutMs } = this.#parts
    return await policy.run(group, caller, async () => {
      const reply = await exchange(socket, { ...asked, path: `/v1${asked.path}` }, requestTimeoutMs, caller.signal)
      if (!expected.includes(reply.status)) throw answerError(`${asked.method} ${asked.path}`, reply.status, reply.text)
      return reply
    })
  }

  #deleted({ status, text }: HttpReply, { log }: Caller): boolean {
    if (status === 206) log.warn({ errors: text.trim() }, 'cilium-agent deleted an endpoint with errors')
    return status !== 404
  }
}

const query = (parameters: Readonly<Record<string, string>>): string => new URLSearchParams(parameters).toString()

/** Ids hold colons, which a path may hold as they are. */
function inPath(id: string): string {
  return encodeURIComponent(id).replaceAll('%3A', ':')
}

function decode<T>(operation: string, { status, text }: HttpReply, schema: z.ZodType<T>): T {
  try {
    return parseWith(schema, JSON.parse(text), `answer to ${operation}`, 'ADAPTER_FAILED')
  } catch (error) {
    const { message } = OffloadError.from(error, 'ADAPTER_FAILED')
    throw new CiliumApiError('ADAPTER_FAILED', `cilium-agent's answer to ${operation} cannot be read: ${message}`, {
      kind: 'answer',
      status,
      text: text.slice(0, 1024),
      cause: error,
      hint: 'Is it a release from 1.16 to 1.20?',
    })
  }
}
