import { OffloadError, silentLogger } from '@cni-offload/sdk'
import { ping, reaches, wirePod } from '@cni-offload/testing'
import { type FakeCiliumOptions, type Fault, IP_EXPIRATION_MS } from '@cni-offload/testing/cilium'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { lxcName } from '../src/agent-api/identity.ts'
import { AttachmentStore } from '../src/state/attachment-store.ts'
import { FastClock, ManualClock } from './clocks.ts'
import { ctx, isRoot, Lab, NEEDS_ROOT } from './lab.ts'

let lab: Lab
const open = async (ports: number, options: Partial<FakeCiliumOptions> = {}): Promise<void> => {
  lab = await Lab.create(ports, options)
  await lab.start()
}
afterEach(() => lab[Symbol.asyncDispose]())

/** All that an attachment could leave. */
const left = async (): Promise<unknown> => ({
  allocations: lab.agent.allocations,
  endpoints: lab.agent.endpoints.length,
  devices: await lab.devices(),
})
const NOTHING = { allocations: {}, endpoints: 0, devices: [] }
const RANGES = { ipv4: '10.66.0.0/28', ipv6: 'fd66::/124' }

describe.skipIf(!isRoot)(`what a pod gets ${NEEDS_ROOT}`, { timeout: 90_000 }, () => {
  it('is what cilium-cni would give it, and the endpoint that the agent has is its own', async () => {
    await open(1, { ranges: RANGES, config: { deviceMtu: 1480, routeMtu: 1430, ipLocalReservedPorts: '8472' } })
    const request = lab.request(0)
    const result = await lab.adapter.attach(request, ctx())
    expect(result).toEqual({
      mac: request.vfMac,
      mtu: 1480,
      ips: [
        { address: '10.66.0.2/32', gateway: '10.66.0.1' },
        { address: 'fd66::2/128', gateway: 'fd66::1' },
      ],
      routes: [
        { dst: '10.66.0.1/32', scope: 253 },
        { dst: '0.0.0.0/0', gw: '10.66.0.1', mtu: 1430 },
        { dst: 'fd66::1/128' },
        { dst: '::/0', gw: 'fd66::1', mtu: 1430 },
      ],
      neighbours: [],
      dns: {},
      sysctls: {
        'net.ipv4.ip_local_reserved_ports': '8472',
        'net.ipv4.tcp_base_mss': '1024',
        'net.ipv4.tcp_mtu_probe_floor': '48',
        'net.ipv4.tcp_mtu_probing': '1',
      },
    })
    const device = await lab.net.link(lab.bench.dpuNetns, lxcName(request.key))
    expect(lab.agent.endpoints).toMatchObject([
      {
        mac: request.vfMac,
        state: 'ready',
        request: {
          'container-id': request.key.containerId,
          'container-interface-name': 'eth0',
          'k8s-namespace': 'default',
          'k8s-pod-name': 'pod-0',
          'k8s-uid': request.pod.uid,
          'interface-name': device?.name,
          'interface-index': device?.index,
          'host-mac': device?.mac,
        },
      },
    ])
    const asked = lab.agent.requests.map(({ operation }) => operation).filter((operation) => !/config|healthz/.test(operation))
    expect(asked).toEqual(['GET /endpoint/{id}', 'POST /ipam', 'PUT /endpoint/{id}'])
    await wirePod(lab.net, lab.at(0).pod.path, 'eth0', result)
    expect(await ping(lab.at(0).pod.path, '10.66.0.1')).toEqual({ sent: 3, received: 3 })
  })

  it('stays its own beyond the time after which the agent takes unused addresses back', async () => {
    const clock = new ManualClock()
    await open(1, { clock, ranges: RANGES })
    await lab.adapter.attach(lab.request(0), ctx())
    clock.advance(2 * IP_EXPIRATION_MS)
    await lab.adapter.status(ctx())
    expect(Object.keys(lab.agent.allocations).toSorted()).toEqual(['10.66.0.2', 'fd66::2'])
  })

  it('has the MAC that the pod asks for by an annotation, in one family only if the agent has one only', async () => {
    await open(2, { ranges: { ipv4: '10.66.0.0/28' } })
    await lab.agent.addPod({ ...lab.request(0).pod, labels: { app: 'web' } }, '02:aa:00:00:00:01')
    const first = await lab.adapter.attach(lab.request(0), ctx())
    const second = await lab.adapter.attach(lab.request(1), ctx())
    expect([first.mac, first.ips.length]).toEqual(['02:aa:00:00:00:01', 1])
    expect(lab.adapter.capabilities.families).toEqual(['ipv4'])
    await wirePod(lab.net, lab.at(0).pod.path, 'eth0', first)
    await wirePod(lab.net, lab.at(1).pod.path, 'eth0', second)
    expect(await reaches(lab.at(1).pod.path, '10.66.0.2')).toBe(true)
  })

  it('is filtered by the policies of the agent', async () => {
    await open(2, { ranges: RANGES })
    for (const index of [0, 1]) {
      await lab.agent.addPod({ ...lab.request(index).pod, labels: { app: `app-${index}` } })
      await wirePod(lab.net, lab.at(index).pod.path, 'eth0', await lab.adapter.attach(lab.request(index), ctx()))
    }
    const [first, second] = [lab.at(0).pod.path, '10.66.0.3']
    expect(await reaches(first, second)).toBe(true)
    await lab.agent.setPolicies([{ endpointSelector: { app: 'app-1' }, ingress: [] }])
    expect(await reaches(first, second, { withinSeconds: 1 })).toBe(false)
    await lab.agent.setPolicies([{ endpointSelector: { app: 'app-1' }, ingress: [{ fromEndpoints: [{ app: 'app-0' }] }] }])
    expect(await reaches(first, second)).toBe(true)
  })
})

describe.skipIf(!isRoot)(`an attach that fails leaves nothing ${NEEDS_ROOT}`, { timeout: 90_000 }, () => {
  const answer = (operation: Fault['operation'], status: number): Fault => ({ operation, effect: { kind: 'answer', status, body: 'no' } })
  const faults: readonly (readonly [string, Fault, string])[] = [
    ['the look for an earlier endpoint is refused', answer('GET /endpoint/{id}', 500), 'ADAPTER_FAILED'],
    ['the pool is used up', answer('POST /ipam', 502), 'RESOURCE_EXHAUSTED'],
    ['the connection is cut before addresses are taken', { operation: 'POST /ipam', effect: { kind: 'cut', when: 'before' } }, 'NOT_READY'],
    ...[400, 403, 404, 409, 500].map(
      (status) => [`the endpoint is refused with ${status}`, answer('PUT /endpoint/{id}', status), 'ADAPTER_FAILED'] as const,
    ),
    [
      'the endpoint is made, but said to have failed',
      { operation: 'PUT /endpoint/{id}', effect: { kind: 'misreport', status: 500, body: 'no' } },
      'ADAPTER_FAILED',
    ],
    [
      'the connection is cut before the endpoint is made',
      { operation: 'PUT /endpoint/{id}', effect: { kind: 'cut', when: 'before' } },
      'NOT_READY',
    ],
    [
      'the endpoint’s description makes no sense',
      { operation: 'PUT /endpoint/{id}', effect: { kind: 'misreport', status: 201, body: { id: 'x' } } },
      'ADAPTER_FAILED',
    ],
  ]

  it('whatever the agent answers; the next attempt succeeds', async () => {
    await open(1, { clock: new FastClock(100), ranges: RANGES })
    for (const [title, fault, code] of faults) {
      lab.agent.faults.add(fault)
      await expect(lab.adapter.attach(lab.request(0), ctx()), title).rejects.toMatchObject({ code })
      expect(await left(), title).toEqual(NOTHING)
      expect(await lab.adapter.list(ctx()), title).toEqual([])
      await lab.adapter.attach(lab.request(0), ctx())
      await lab.adapter.detach({ key: lab.request(0).key }, ctx())
      expect(await left(), `${title}, and then a whole life`).toEqual(NOTHING)
    }
  })

  it('though the agent has not taken stock since', async () => {
    await open(2, { ranges: RANGES })
    await lab.adapter.attach(lab.request(0), ctx())
    const before = lab.agent.allocations
    const stale = { cilium: { state: 'Ok' }, ipam: { allocations: before } }
    lab.agent.faults.add({ operation: 'GET /healthz', times: 5, effect: { kind: 'answer', status: 200, body: stale } })
    lab.agent.faults.add(answer('PUT /endpoint/{id}', 500))
    await expect(lab.adapter.attach(lab.request(1), ctx())).rejects.toMatchObject({ code: 'ADAPTER_FAILED' })
    expect(lab.agent.allocations).toEqual(before)
  })

  it('an answer that is lost after the endpoint was made is no failure', async () => {
    await open(1, { ranges: RANGES })
    lab.agent.faults.add({ operation: 'PUT /endpoint/{id}', effect: { kind: 'cut', when: 'after' } })
    expect((await lab.adapter.attach(lab.request(0), ctx())).ips).toHaveLength(2)
    expect(lab.agent.count('PUT /endpoint/{id}')).toBe(1)
    const all = vi.spyOn(AttachmentStore.prototype, 'all')
    expect(await lab.adapter.list(ctx())).toEqual([lab.request(0).key])
    expect(all, 'a list is asked for all the time').not.toHaveBeenCalled()
    all.mockRestore()
  })

  it('an endpoint that appears after its attach was given up is removed when it has appeared', async () => {
    const clock = new ManualClock()
    await open(1, { clock, ranges: RANGES })
    lab.agent.faults.add({ operation: 'PUT /endpoint/{id}', effect: { kind: 'hang' } })
    const gone = new AbortController()
    const outcome = lab.adapter.attach(lab.request(0), { signal: gone.signal, log: silentLogger }).catch((error: unknown) => error)
    await expect.poll(() => lab.agent.count('PUT /endpoint/{id}'), { timeout: 20_000 }).toBe(1)
    gone.abort(new OffloadError('CANCELLED', 'the caller gave up'))
    expect(await outcome).toMatchObject({ code: 'CANCELLED' })
    expect(await left()).toEqual(NOTHING)
    // The agent comes to it only now.
    const { containerId, ifName } = lab.request(0).key
    await lab.agent.makeEndpoint({ state: 'waiting-for-identity', 'container-id': containerId, 'container-interface-name': ifName })
    await expect
      .poll(
        () => {
          clock.advance(60_000)
          return lab.agent.endpoints.length
        },
        { timeout: 20_000 },
      )
      .toBe(0)
  })

  it('what an earlier attempt has left is removed first', async () => {
    await open(1, { ranges: RANGES })
    const { containerId, ifName } = lab.request(0).key
    await lab.agent.makeEndpoint({ state: 'waiting-for-identity', 'container-id': containerId, 'container-interface-name': ifName })
    await lab.adapter.attach(lab.request(0), ctx())
    expect(lab.agent.endpoints).toHaveLength(1)
    await lab.adapter.detach({ key: lab.request(0).key }, ctx())
    expect(await left()).toEqual(NOTHING)
  })
})

describe.skipIf(!isRoot)(`an agent that pods cannot be given to ${NEEDS_ROOT}`, { timeout: 90_000 }, () => {
  it('because it is not there, is in no order, or has no address left', async () => {
    await open(2, { ranges: { ipv4: '10.66.0.0/30', ipv6: 'fd66::/64' } })
    await lab.adapter.attach(lab.request(0), ctx())
    const before = await left()
    await expect(lab.adapter.attach(lab.request(1), ctx())).rejects.toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
      message: expect.stringContaining('range is full'),
    })
    expect(await left(), 'an IPv6 address of the refused pod').toEqual(before)
    lab.agent.health = { state: 'Failure', msg: 'policy map is broken' }
    await expect(lab.adapter.status(ctx())).rejects.toMatchObject({
      code: 'NOT_READY',
      message: expect.stringContaining('policy map is broken'),
    })
    await lab.agent.stop()
    const missing = { code: 'NOT_READY', message: expect.stringContaining(lab.agent.socket) }
    await expect(lab.adapter.status(ctx())).rejects.toMatchObject(missing)
    await expect(lab.adapter.list(ctx())).rejects.toMatchObject(missing)
    // Nothing was heard of it for more than the time for which that holds.
    await lab.start()
    await expect(lab.adapter.attach(lab.request(1), ctx())).rejects.toMatchObject(missing)
  })

  it('because the network asks for encryption, which the agent does not have', async () => {
    await open(1, { config: { encryption: 'Wireguard' } })
    const encrypted = lab.request(0, { flags: { ipsec: true } })
    lab.agent.faults.add({ operation: 'GET /healthz', effect: { kind: 'misreport', status: 200, body: { cilium: { state: 'Ok' } } } })
    await lab.start()
    await expect(lab.adapter.attach(encrypted, ctx())).rejects.toMatchObject({
      code: 'NOT_READY',
      message: expect.stringContaining('does not say yet'),
    })
    await lab.start()
    await expect(lab.adapter.attach(encrypted, ctx())).rejects.toMatchObject({
      code: 'UNSUPPORTED_FIELD',
      message: expect.stringMatching(/flags\.ipsec = true.*Wireguard/),
      hint: expect.stringContaining('encryption.type=ipsec'),
    })
    expect(await left()).toEqual(NOTHING)
    await lab.adapter.attach(lab.request(0), ctx())
  })

  it('but may be, where the network asks for encryption and the agent has it', async () => {
    await open(1, { config: { encryption: 'IPsec' } })
    expect((await lab.adapter.attach(lab.request(0, { flags: { ipsec: true } }), ctx())).ips).toHaveLength(2)
  })

  it('refuses what Cilium cannot be asked for', async () => {
    await open(1)
    for (const wish of [{ vlan: 5 }, { hostIpam: { ips: [], routes: [], dns: {} } }])
      await expect(lab.adapter.attach(lab.request(0, wish), ctx())).rejects.toMatchObject({ code: 'UNSUPPORTED_FIELD' })
    await expect(lab.adapter.attach(lab.request(0, { runtimeConfig: { mac: 'x' } }), ctx())).rejects.toMatchObject({
      code: 'INVALID_NETCONF',
    })
    expect(await left()).toEqual(NOTHING)
  })
})
