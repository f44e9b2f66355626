import { type Clock, OffloadError } from '@cni-offload/sdk'
import type { EndpointChangeRequest, EndpointState } from './api-model.ts'
import { ApiFailure } from './api-failure.ts'
import type { EndpointWiring, FakeDatapath } from './datapath.ts'
import { attachmentId, endpointMatcher, LARGEST_ID } from './endpoint-id.ts'
import { DEFAULT_POOL, type FakeIpam, type Family } from './ipam.ts'
import type { VersionTraits } from './version.ts'

/** An endpoint of the fake. */
export interface FakeEndpoint {
  /** Number within the agent. */
  readonly id: number
  /** What it was made with. */
  readonly request: EndpointChangeRequest
  /** MAC in effect. */
  readonly mac: string
  /** How far it is. */
  state: EndpointState
  /** Labels that were set by the API. */
  userLabels: readonly string[]
}

/** What {@link FakeEndpoints} works with. */
export interface EndpointsDeps {
  /** Time. */
  readonly clock: Clock
  /** Addresses. */
  readonly ipam: FakeIpam
  /** Packets. */
  readonly datapath: FakeDatapath
  /** What is special about the release. */
  readonly traits: VersionTraits
  /** How long the programs of an endpoint take to build, milliseconds. */
  readonly buildMs: number
  /** MAC that a pod's annotation asks for instead of the one that the request has. */
  readonly annotatedMac: (request: EndpointChangeRequest) => string | undefined
  /** Called whenever endpoints came, went or have other labels. */
  readonly changed: () => Promise<void>
}

/** All endpoints of an agent, with the rules by which they come and go. */
export class FakeEndpoints {
  readonly #deps: EndpointsDeps
  readonly #byId = new Map<number, FakeEndpoint>()

  constructor(deps: EndpointsDeps) {
    this.#deps = deps
  }

  /** All of them, in the order of their numbers. */
  get all(): readonly FakeEndpoint[] {
    return [...this.#byId.values()].toSorted((a, b) => a.id - b.id)
  }

  /** @throws ApiFailure 400 for an id that makes no sense, 404 when there is none */
  get(id: string): FakeEndpoint {
    const matches = endpointMatcher(id, this.#deps.traits.legacyIds)
    const found = this.all.find(matches)
    if (found === undefined) throw new ApiFailure(404, `endpoint ${id} not found`, null)
    return found
  }

  /** Those of a sandbox. */
  ofContainer(containerId: string): FakeEndpoint[] {
    return this.all.filter(({ request }) => request['container-id'] === containerId)
  }

  /**
   * Makes an endpoint and, where that is asked for, waits until it forwards. One that fails goes, but its addresses stay with
   * the caller.
   *
   * @throws ApiFailure 400 for what cannot be, 500 for what went wrong
   */
  async create(request: EndpointChangeRequest, signal: AbortSignal): Promise<FakeEndpoint> {
    this.#refuse(request)
    const endpoint = this.#insert(request, this.#freeId())
    const build = this.#build(endpoint, signal)
    try {
      if (request['sync-build-endpoint'] === true) await build
      else void build.catch(() => {})
      for (const [ip, uuid] of Object.entries(expirations(request))) this.#deps.ipam.stopExpiration(ip, uuid)
    } catch (error) {
      await this.#drop(endpoint)
      if (error instanceof ApiFailure) throw error
      throw new ApiFailure(500, `timeout while waiting for initial endpoint generation to complete: ${OffloadError.from(error).message}`)
    }
    await this.#deps.changed()
    return endpoint
  }

  /** Removes an endpoint and frees its addresses. @returns the number of errors on the way */
  async delete(endpoint: FakeEndpoint): Promise<number> {
    const errors = await this.#drop(endpoint)
    if (endpoint.request['datapath-configuration']?.['external-ipam'] !== true) for (const ip of ipsOf(endpoint)) this.#deps.ipam.free(ip)
    await this.#deps.changed()
    return errors
  }

  /** Takes an endpoint of an earlier run over, with its addresses. @returns why it could not be, undefined if it could */
  async restore(request: EndpointChangeRequest, id: number): Promise<string | undefined> {
    const device = request['interface-name'] ?? ''
    const link = await this.#deps.datapath.link(device)
    if (link === undefined) return `interface ${device} could not be found`
    if (this.#deps.traits.refusesOtherLinks && link.kind !== 'veth')
      throw new OffloadError(
        'INVALID_CONFIG',
        'Cannot start cilium-agent with datapath-mode=veth: detected 1 existing endpoint(s) using incompatible datapath-modes',
      )
    for (const [family, ip] of Object.entries(addressesOf(request))) {
      const pool = request.addressing?.[`${family as Family}-pool-name`] ?? DEFAULT_POOL
      this.#deps.ipam.reserve(ip, `${ownerOf(request)} [restored]`, pool)
    }
    const endpoint = this.#insert(request, id)
    await this.#deps.datapath.connect(wiringOf(endpoint))
    endpoint.state = 'ready'
    return undefined
  }

  #refuse(request: EndpointChangeRequest): void {
    const id = attachmentId(request)
    if (id !== '' && this.all.some((other) => attachmentId(other.request) === id))
      throw new ApiFailure(400, `endpoint for CNI attachment ID ${id} already exists`)
    for (const [family, ip] of Object.entries(addressesOf(request)))
      if (this.all.some((other) => ipsOf(other).includes(ip))) throw new ApiFailure(400, `IP ${family}:${ip} is already in use`)
    const reserved = request.labels?.find((label) => label.startsWith('reserved:'))
    if (reserved !== undefined) throw new ApiFailure(400, `not allowed to add reserved labels: ${reserved}`)
  }

  #freeId(): number {
    let id = 1
    while (this.#byId.has(id)) id += 1
    if (id > LARGEST_ID) throw new ApiFailure(500, 'no more endpoint IDs available')
    return id
  }

  #insert(request: EndpointChangeRequest, id: number): FakeEndpoint {
    const mac = this.#deps.annotatedMac(request) ?? request.mac ?? ''
    const endpoint: FakeEndpoint = { id, request, mac, state: 'waiting-for-identity', userLabels: [] }
    this.#byId.set(id, endpoint)
    return endpoint
  }

  async #build(endpoint: FakeEndpoint, signal: AbortSignal): Promise<void> {
    endpoint.state = 'regenerating'
    try {
      if (this.#deps.buildMs > 0) await this.#deps.clock.sleep(this.#deps.buildMs, signal)
      await this.#deps.datapath.connect(wiringOf(endpoint))
      endpoint.state = 'ready'
    } catch (error) {
      endpoint.state = 'not-ready'
      throw error
    }
  }

  async #drop(endpoint: FakeEndpoint): Promise<number> {
    endpoint.state = 'disconnecting'
    const errors = await this.#deps.datapath.disconnect(wiringOf(endpoint)).then(
      () => 0,
      () => 1,
    )
    this.#byId.delete(endpoint.id)
    return errors
  }
}

/** Addresses of an endpoint. */
export function ipsOf({ request }: Pick<FakeEndpoint, 'request'>): string[] {
  return Object.values(addressesOf(request))
}

/** Owner of the addresses of a pod, as the agent writes it. */
export function ownerOf(request: EndpointChangeRequest): string {
  return `${request['k8s-namespace'] ?? ''}/${request['k8s-pod-name'] ?? ''}`
}

function addressesOf({ addressing }: EndpointChangeRequest): Record<string, string> {
  const { ipv4, ipv6 } = addressing ?? {}
  return { ...(ipv4 === undefined || ipv4 === '' ? {} : { ipv4 }), ...(ipv6 === undefined || ipv6 === '' ? {} : { ipv6 }) }
}

/** Timers to be stopped, by address. */
function expirations({ addressing }: EndpointChangeRequest): Record<string, string> {
  const pairs = [
    [addressing?.ipv4, addressing?.['ipv4-expiration-uuid']],
    [addressing?.ipv6, addressing?.['ipv6-expiration-uuid']],
  ]
  return Object.fromEntries(pairs.filter(([ip, uuid]) => ip !== undefined && uuid !== undefined && uuid !== ''))
}

function wiringOf(endpoint: FakeEndpoint): EndpointWiring {
  return { device: endpoint.request['interface-name'] ?? '', mac: endpoint.mac, ips: ipsOf(endpoint) }
}
