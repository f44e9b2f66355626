import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Clock, OffloadError, silentLogger, systemClock } from '@cni-offload/sdk'
import {
  CILIUM_OPERATIONS,
  CILIUM_VERSIONS,
  type CiliumOperation,
  DEFAULT_LIMITS,
  FakeCiliumAgent,
  type FakeCiliumOptions,
  NO_LIMITS,
} from '@cni-offload/testing/cilium'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ApiPolicy, type Caller, CiliumApiError, CiliumClient, type EndpointChange, NO_PATIENCE } from '../../src/index.ts'
import { FastClock } from '../clocks.ts'

const ID = 'cni-attachment-id:c1:eth0'
const CHANGE: EndpointChange = {
  state: 'waiting-for-identity',
  'sync-build-endpoint': true,
  'container-id': 'c1',
  'container-interface-name': 'eth0',
  mac: '02:00:00:00:00:01',
  'host-mac': '02:00:00:00:00:02',
  'interface-name': 'lxc1',
  'interface-index': 7,
  addressing: { ipv4: '10.0.0.9' },
  'datapath-configuration': {},
}

let folder: string
let agent: FakeCiliumAgent
const start = async (options: Partial<FakeCiliumOptions> = {}): Promise<void> => {
  agent = await FakeCiliumAgent.start({ socket: join(folder, 'cilium.sock'), limits: NO_LIMITS, ...options })
}
const client = (clock: Clock = new FastClock(200), requestTimeoutMs = 20_000): CiliumClient =>
  new CiliumClient({ socket: join(folder, 'cilium.sock'), policy: new ApiPolicy(clock, () => 0.5), requestTimeoutMs })
const caller = (patience: Caller['patience'] = NO_PATIENCE, signal: AbortSignal = AbortSignal.timeout(25_000)): Caller => ({
  signal,
  log: silentLogger,
  patience,
})
const failure = async (work: Promise<unknown>): Promise<CiliumApiError> => {
  const error = await work.then(
    () => new Error('it succeeded'),
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(CiliumApiError)
  return error as CiliumApiError
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'client-'))
})
afterEach(async () => {
  await agent[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true })
})

type Call = (api: CiliumClient, who: Caller) => Promise<unknown>

const CALLS: Readonly<Record<CiliumOperation, Call>> = {
  'GET /config': (api, who) => api.config(who),
  'GET /healthz': (api, who) => api.health(who, true),
  'POST /ipam': (api, who) => api.allocate('default/a', who),
  'POST /ipam/{ip}': (api, who) => api.claim({ ip: '10.0.0.9' }, 'default/a', who),
  'DELETE /ipam/{ip}': (api, who) => api.release({ ip: '10.0.0.9' }, who),
  'PUT /endpoint/{id}': (api, who) => api.createEndpoint(CHANGE, who),
  'GET /endpoint/{id}': (api, who) => api.endpoint(ID, who),
  'DELETE /endpoint/{id}': (api, who) => api.deleteEndpoint(ID, who),
  'GET /endpoint/{id}/healthz': (api, who) => api.endpointHealth(ID, who),
  'GET /endpoint/{id}/labels': (api, who) => api.labels(ID, who),
  'PATCH /endpoint/{id}/labels': (api, who) => api.setLabels(ID, ['k8s:a=b'], who),
  'GET /endpoint': (api, who) => api.endpoints(who),
  'DELETE /endpoint': (api, who) => api.deleteContainer('c1', who),
}
const OPERATIONS = Object.keys(CALLS) as CiliumOperation[]
const ENDPOINT_CALLS = OPERATIONS.filter((operation) => operation.includes('/endpoint'))

describe.each(CILIUM_VERSIONS)('of release %s', (version) => {
  it('every call is understood, and its answer too', async () => {
    await start({ version, ranges: { ipv4: '10.0.0.0/28' } })
    const [api, who] = [client(), caller()]
    expect(await api.config(who)).toMatchObject({ datapathMode: 'veth', deviceMTU: 1500, routeMTU: 1450 })
    expect((await api.health(who, true)).cilium?.msg).toContain(version)
    expect((await api.allocate('default/a', who)).ipv4?.ip).toBe('10.0.0.2')
    await api.claim({ ip: '10.0.0.9' }, 'default/a', who)
    expect((await api.health(who, false)).ipam?.allocations).toEqual({ '10.0.0.2': 'default/a', '10.0.0.9': 'default/a' })
    expect(await api.endpoint(ID, who)).toBeUndefined()
    const made = await api.createEndpoint(CHANGE, who)
    expect(await api.endpoint(ID, who)).toEqual(made)
    expect(await api.endpoints(who)).toEqual([made])
    expect((await api.endpointHealth(ID, who))?.overallHealth).toBe('OK')
    await api.setLabels(ID, ['k8s:a=b'], who)
    expect((await api.labels(ID, who))?.status?.['security-relevant']).toEqual(['k8s:a=b'])
    expect([await api.deleteEndpoint(ID, who), await api.deleteEndpoint(ID, who)]).toEqual([true, false])
    await api.createEndpoint(CHANGE, who)
    expect([await api.deleteContainer('c1', who), await api.deleteContainer('c1', who)]).toEqual([true, false])
    expect([await api.endpointHealth(ID, who), await api.labels(ID, who)]).toEqual([undefined, undefined])
    await api.release({ ip: '10.0.0.2' }, who)
    expect(agent.allocations).toEqual({})
    expect(new Set(agent.requests.map(({ operation }) => operation))).toEqual(new Set(CILIUM_OPERATIONS))
    expect(agent.undescribed()).toEqual([])
  })
})

describe('a status that is no success', () => {
  const row = (operation: CiliumOperation, status: number, code: string): [CiliumOperation, number, string] => [operation, status, code]
  it.each([
    ...OPERATIONS.map((operation) => row(operation, 403, 'ADAPTER_FAILED')),
    ...ENDPOINT_CALLS.flatMap((operation) => [
      row(operation, 400, 'ADAPTER_FAILED'),
      row(operation, 429, 'RESOURCE_EXHAUSTED'),
      row(operation, 500, 'ADAPTER_FAILED'),
      row(operation, 503, 'NOT_READY'),
    ]),
    row('PUT /endpoint/{id}', 404, 'ADAPTER_FAILED'),
    row('PUT /endpoint/{id}', 409, 'ADAPTER_FAILED'),
    row('POST /ipam', 502, 'RESOURCE_EXHAUSTED'),
    ...[400, 409, 500, 501].map((status) => row('POST /ipam/{ip}', status, 'ADAPTER_FAILED')),
    ...[400, 500, 501].map((status) => row('DELETE /ipam/{ip}', status, 'ADAPTER_FAILED')),
  ])('%s %i is %s with the agent’s words', async (operation, status, code) => {
    await start()
    for (const [body, text] of [
      ['why not', 'why not'],
      [undefined, ''],
      [{ code: status, message: 'by the framework' }, 'by the framework'],
    ] as const) {
      agent.faults.add({ operation, effect: { kind: 'answer', status, body } })
      expect(await failure(CALLS[operation](client(), caller()))).toMatchObject({
        code,
        status,
        text,
        kind: 'answer',
        name: 'OffloadError',
      })
    }
    expect(agent.count(operation), 'no repetitions without patience').toBe(3)
  })

  it.each([
    ['DELETE /endpoint/{id}', 206, 2, true],
    ['DELETE /endpoint', 206, 1, true],
    ['DELETE /endpoint/{id}', 404, undefined, false],
    ['DELETE /endpoint', 404, undefined, false],
    ['GET /endpoint', 404, undefined, []],
    ['DELETE /ipam/{ip}', 404, undefined, undefined],
  ] as const)('%s %i is none of those', async (operation, status, body, answer) => {
    await start()
    agent.faults.add({ operation, effect: { kind: 'answer', status, body } })
    expect(await CALLS[operation](client(), caller())).toEqual(answer)
  })
})

describe('an agent that cannot answer', () => {
  it('is asked again with growing pauses as long as the caller has patience', async () => {
    await start()
    const clock = new FastClock(500)
    for (const status of [429, 503, 429])
      agent.faults.add({ operation: 'PUT /endpoint/{id}', effect: { kind: 'answer', status, body: 'later' } })
    await client(clock).createEndpoint(CHANGE, caller({ busyMs: Number.POSITIVE_INFINITY, unreachableMs: 0 }))
    expect(clock.pauses, 'three quarters of 500, 1000 and 2000 ms').toEqual([375, 750, 1_500])
    agent.faults.add({ operation: 'GET /config', times: 50, effect: { kind: 'answer', status: 429 } })
    expect(await failure(client(clock).config(caller({ busyMs: 10_000, unreachableMs: 0 })))).toMatchObject({ status: 429 })
    expect(agent.count('GET /config')).toBeLessThan(6)
  })

  it('is not asked again after the caller has given up; the reason is told', async () => {
    await start()
    agent.faults.add({ operation: 'GET /config', times: 1_000, effect: { kind: 'answer', status: 503, body: 'starting' } })
    const gone = new AbortController()
    const work = client(systemClock).config(caller({ busyMs: Number.POSITIVE_INFINITY, unreachableMs: 0 }, gone.signal))
    await expect.poll(() => agent.count('GET /config'), { timeout: 20_000 }).toBeGreaterThan(0)
    gone.abort(new OffloadError('CANCELLED', 'the caller gave up'))
    await expect(work).rejects.toMatchObject({
      code: 'CANCELLED',
      message: expect.stringContaining('503: starting'),
      hint: expect.stringContaining('starting'),
    })
  })

  it('because it is not there is told by the path of its socket, and waited for', async () => {
    await start()
    await agent.stop()
    const missing = await failure(client().config(caller()))
    expect(missing).toMatchObject({ code: 'NOT_READY', kind: 'unreachable', message: expect.stringContaining(agent.socket) })
    expect(missing.hint).toContain('running')
    await agent.start()
    await agent.stop({ leaveSocket: true })
    expect(await failure(client().config(caller()))).toMatchObject({
      kind: 'unreachable',
      message: expect.stringContaining('ECONNREFUSED'),
    })
    const waiting = client(new FastClock(1)).config(caller({ busyMs: 0, unreachableMs: 20_000 }))
    await agent.start()
    expect((await waiting).deviceMTU).toBe(1500)
    await agent.stop()
    await writeFile(agent.socket, 'no socket')
    expect(await failure(client().config(caller()))).toMatchObject({ kind: 'unreachable' })
    await rm(agent.socket)
  })

  it.each(['before', 'after'] as const)('because the connection is cut %s the work is not asked again', async (when) => {
    await start()
    agent.faults.add({ operation: 'PUT /endpoint/{id}', effect: { kind: 'cut', when } })
    const work = client().createEndpoint(CHANGE, caller({ busyMs: 60_000, unreachableMs: 60_000 }))
    expect(await failure(work)).toMatchObject({ kind: 'broken', code: 'NOT_READY' })
    expect(agent.count('PUT /endpoint/{id}')).toBe(1)
    expect(agent.endpoints).toHaveLength(when === 'after' ? 1 : 0)
  })

  it('in time is given up', async () => {
    await start()
    agent.faults.add({ operation: 'GET /config', effect: { kind: 'hang' } })
    expect(await failure(client(undefined, 100).config(caller()))).toMatchObject({
      kind: 'broken',
      code: 'ADAPTER_FAILED',
      message: expect.stringContaining('100 ms'),
    })
  })

  it('is not cut off in the middle of handing something out', async () => {
    await start({ buildMs: 100, ranges: { ipv4: '10.0.0.0/28' } })
    const gone = new AbortController()
    const work = client().createEndpoint(CHANGE, caller(NO_PATIENCE, gone.signal))
    await expect.poll(() => agent.endpoints.length, { timeout: 20_000 }).toBe(1)
    gone.abort(new OffloadError('CANCELLED', 'the caller gave up'))
    expect((await work).status.state).toBe('ready')
  })

  it.each([
    ['GET /config', { status: {} }, 'deviceMTU'],
    ['GET /config', 'nonsense', 'expected object'],
    ['PUT /endpoint/{id}', { id: 'seven', status: { state: 'ready' } }, 'id'],
    ['POST /ipam', { address: {}, ipv4: { ip: '10.0.0.300' } }, 'ipv4.ip'],
    ['GET /endpoint', [{ id: 1 }], 'status'],
  ] as const)('%s in a way that makes sense is told what is wrong', async (operation, body, what) => {
    await start()
    const status = { 'PUT /endpoint/{id}': 201, 'POST /ipam': 201, 'GET /config': 200, 'GET /endpoint': 200 }[operation]
    agent.faults.add({ operation, effect: { kind: 'answer', status, body } })
    const error = await failure(CALLS[operation](client(), caller()))
    expect(error).toMatchObject({ code: 'ADAPTER_FAILED', kind: 'answer', hint: expect.stringContaining('1.20') })
    expect(error.message).toContain(what)
  })
})

it('no more calls are under way than the agent works on at once', async () => {
  await start({ limits: DEFAULT_LIMITS, clock: new FastClock(100), ranges: { ipv4: '10.0.0.0/24' } })
  const api = client(new FastClock(100))
  const changes = Array.from({ length: 20 }, (_, n) => ({ ...CHANGE, 'container-id': `c${n}`, addressing: { ipv4: `10.0.0.${n + 10}` } }))
  await Promise.all(changes.map((change) => api.createEndpoint(change, caller())))
  expect(agent.requests.map(({ status }) => status)).toEqual(Array.from({ length: 20 }, () => 201))
})

it('what does not fit the API is not sent', async () => {
  await start()
  const wrong = { ...CHANGE, mac: 'none' }
  await expect(client().createEndpoint(wrong, caller())).rejects.toMatchObject({
    code: 'INTERNAL',
    message: expect.stringContaining('mac'),
  })
  expect(agent.requests).toEqual([])
})
