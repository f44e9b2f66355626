import { z } from 'zod'
import type { CiliumOperation, EndpointChangeRequest } from './api-model.ts'
import { ApiFailure } from './api-failure.ts'
import { configView, type FakeAgentConfig, statusView, type AgentStatus } from './daemon-view.ts'
import { type FakeEndpoint, type FakeEndpoints, ipsOf } from './endpoints.ts'
import { healthOf, labelsOf, viewOf } from './endpoint-view.ts'
import { type FakeIpam, type Family, familyOf } from './ipam.ts'
import type { FakeIdentity } from './labels.ts'
import type { LimitedGroup, RateLimit } from './rate-limit.ts'
import type { VersionTraits } from './version.ts'

/** A request, taken apart. */
export interface ApiCall {
  /** What it asks for. */
  readonly operation: CiliumOperation
  /** The part of the path that varies; empty if none does. */
  readonly argument: string
  /** Query. */
  readonly query: URLSearchParams
  /** A header. */
  readonly header: (name: string) => string | undefined
  /** Body, decoded; undefined if there is none. */
  readonly body: unknown
}

/** What is answered. */
export interface ApiAnswer {
  /** HTTP status. */
  readonly status: number
  /** Body, to be written as JSON; undefined for none. */
  readonly body?: unknown
}

/** What the operations work with. */
export interface HandlerDeps {
  /** Configuration. */
  readonly config: FakeAgentConfig
  /** What is special about the release. */
  readonly traits: VersionTraits
  /** Addresses. */
  readonly ipam: FakeIpam
  /** Endpoints. */
  readonly endpoints: FakeEndpoints
  /** Limits. */
  readonly limits: Readonly<Record<LimitedGroup, RateLimit>>
  /** Pool that a pod's addresses have to be of, by its name. */
  readonly poolOf: (owner: string, family: Family) => string
  /** State of the agent. */
  readonly status: () => AgentStatus
  /** What an endpoint's labels amount to. */
  readonly identityOf: (endpoint: FakeEndpoint) => FakeIdentity
  /** Called when labels were changed by the API. */
  readonly relabelled: () => Promise<void>
  /** Ends with the agent. */
  readonly signal: AbortSignal
}

type Handler = (call: ApiCall, deps: HandlerDeps) => ApiAnswer | Promise<ApiAnswer>

const batch = z.object({ 'container-id': z.string().default('') })

const view = (endpoint: FakeEndpoint, deps: HandlerDeps): unknown => viewOf(endpoint, deps.identityOf(endpoint))

const get = async <T>(deps: HandlerDeps, id: string, look: (endpoint: FakeEndpoint) => T): Promise<ApiAnswer> =>
  await deps.limits['endpoint-get'].run(deps.signal, () => Promise.resolve({ status: 200, body: look(deps.endpoints.get(id)) }))

/** @param choose - throws if there are none */
const deleteAll = async (deps: HandlerDeps, choose: () => readonly FakeEndpoint[]): Promise<ApiAnswer> => {
  if (deps.traits.missesUnlimited) choose()
  return await deps.limits['endpoint-delete'].run(deps.signal, async () => {
    let errors = 0
    for (const endpoint of choose()) errors += await deps.endpoints.delete(endpoint)
    return errors === 0 ? { status: 200 } : { status: 206, body: errors }
  })
}

const allocate: Handler = ({ query, header }, { ipam, poolOf }) => {
  const [owner, asked] = [query.get('owner') ?? '', query.get('pool') ?? '']
  const pool = (family: Family): string => (asked === '' ? poolOf(owner, family) : asked)
  const allocated = ipam.allocateNext(query.get('family') ?? '', owner, header('expiration') === 'true', pool)
  const families = (['ipv4', 'ipv6'] as const).flatMap((family) => {
    const found = allocated[family]
    return found === undefined ? [] : [[family, found] as const]
  })
  const pairs = families.flatMap(([family, { ip, pool }]) => [
    [family, ip],
    [`${family}-pool-name`, pool],
  ])
  const details = families.map(([family, { ip, expirationUuid }]) => [
    family,
    { ip, cidrs: null, ...(expirationUuid === undefined ? {} : { 'expiration-uuid': expirationUuid }) },
  ])
  const body = { address: Object.fromEntries(pairs), 'host-addressing': ipam.addressing, ...Object.fromEntries(details) }
  return { status: 201, body }
}

const release: Handler = ({ argument, query }, { ipam, endpoints }) => {
  const user = endpoints.all.find((endpoint) => ipsOf(endpoint).includes(argument))
  if (user !== undefined) throw new ApiFailure(500, `IP is in use by endpoint ${user.id}`)
  if (familyOf(argument) === undefined) throw new ApiFailure(400, `Invalid IP address: ${argument}`)
  ipam.release(argument, query.get('pool') ?? '')
  return { status: 200 }
}

/** What each operation does. */
export const HANDLERS: Readonly<Record<CiliumOperation, Handler>> = {
  'GET /config': (_call, deps) => ({ status: 200, body: configView(deps.config, deps.traits, deps.ipam.addressing) }),
  'GET /healthz': ({ header }, deps) => ({ status: 200, body: statusView(deps.config, deps.status(), header('brief') === 'true') }),
  'POST /ipam': allocate,
  'POST /ipam/{ip}': ({ argument, query }, { ipam }) => {
    ipam.reserve(argument, query.get('owner') ?? '', query.get('pool') ?? '')
    return { status: 200 }
  },
  'DELETE /ipam/{ip}': release,
  'PUT /endpoint/{id}': async ({ body }, deps) =>
    await deps.limits['endpoint-create'].run(deps.signal, async () => ({
      status: 201,
      body: view(await deps.endpoints.create(body as EndpointChangeRequest, deps.signal), deps),
    })),
  'GET /endpoint/{id}': (call, deps) => get(deps, call.argument, (endpoint) => view(endpoint, deps)),
  'GET /endpoint/{id}/healthz': (call, deps) => get(deps, call.argument, healthOf),
  'GET /endpoint/{id}/labels': (call, deps) =>
    get(deps, call.argument, (endpoint) => ({
      spec: { user: [...endpoint.userLabels] },
      status: labelsOf(endpoint, deps.identityOf(endpoint)),
    })),
  'PATCH /endpoint/{id}/labels': async ({ argument, body }, deps) =>
    await deps.limits['endpoint-patch'].run(deps.signal, async () => {
      const endpoint = deps.endpoints.get(argument)
      endpoint.userLabels = z.object({ user: z.array(z.string()).default([]) }).parse(body).user
      await deps.relabelled()
      return { status: 200 }
    }),
  'DELETE /endpoint/{id}': (call, deps) => deleteAll(deps, () => [deps.endpoints.get(call.argument)]),
  'GET /endpoint': async ({ body }, deps) =>
    await deps.limits['endpoint-list'].run(deps.signal, () => {
      const wanted = z.array(z.string()).optional().parse(body)
      const found = deps.endpoints.all.filter((endpoint) =>
        (wanted ?? []).every((label) => deps.identityOf(endpoint).labels.includes(label)),
      )
      if (wanted !== undefined && found.length === 0) throw new ApiFailure(404, 'no endpoint has these labels', null)
      return Promise.resolve({ status: 200, body: found.map((endpoint) => view(endpoint, deps)) })
    }),
  'DELETE /endpoint': async ({ body }, deps) => {
    const containerId = batch.parse(body)['container-id']
    if (containerId === '') throw new ApiFailure(400, 'invalid container id')
    return await deleteAll(deps, () => {
      const chosen = deps.endpoints.ofContainer(containerId)
      if (chosen.length === 0) throw new ApiFailure(404, 'endpoints not found')
      return chosen
    })
  },
}
