import { existsSync } from 'node:fs'
import { CILIUM_VERSIONS, type FakeCiliumOptions, IP_EXPIRATION_MS, NO_LIMITS, noDatapath } from '@cni-offload/testing/cilium'
import { afterEach, describe, expect, it } from 'vitest'
import { ManualClock } from './clock.ts'
import { AgentLab } from './lab.ts'

const labs: AgentLab[] = []
const open = async (options: Partial<FakeCiliumOptions> = {}): Promise<AgentLab> => {
  const lab = await AgentLab.create(options)
  labs.push(lab)
  return lab
}
afterEach(async () => {
  for (const lab of labs.splice(0)) await lab[Symbol.asyncDispose]()
})

describe('addresses', () => {
  it('one of each family, with the router as gateway, and none when the range is full', async () => {
    const lab = await open({ ranges: { ipv4: '10.0.0.0/29', ipv6: 'fd00:10::/64' } })
    const { status, body } = await lab.ask('POST', '/ipam?owner=default%2Fa&pool=blue', undefined, { expiration: 'true' })
    expect(status).toBe(201)
    expect(body).toMatchObject({
      address: { ipv4: '10.0.0.2', ipv6: 'fd00:10::2', 'ipv4-pool-name': 'default' },
      'host-addressing': { ipv4: { ip: '10.0.0.1', enabled: true }, ipv6: { ip: 'fd00:10::1' } },
      ipv4: { ip: '10.0.0.2', cidrs: null, 'expiration-uuid': expect.stringMatching(/^[0-9a-f-]{36}$/) },
    })
    for (let i = 0; i < 4; i += 1) expect((await lab.ask('POST', '/ipam?family=ipv4')).status).toBe(201)
    const before = Object.keys(lab.agent.allocations).length
    expect(await lab.ask('POST', '/ipam')).toEqual({ status: 502, body: 'range is full' })
    expect(Object.keys(lab.agent.allocations), 'IPv6 address of the failed request').toHaveLength(before)
  })

  it('of the pool that was asked for, where there are pools; none of a family that is disabled or makes no sense', async () => {
    const pools = { blue: { ipv4: '10.1.0.0/29' } }
    const lab = await open({ ranges: { ipv4: '10.0.0.0/29' }, pools, config: { ipamMode: 'multi-pool' } })
    expect((await lab.ask('POST', '/ipam?pool=blue')).body.address).toEqual({ ipv4: '10.1.0.2', 'ipv4-pool-name': 'blue' })
    expect((await lab.ask('GET', '/healthz')).body.ipam.allocations).toEqual({ 'blue/10.1.0.2': '' })
    expect(await lab.ask('POST', '/ipam?pool=red')).toMatchObject({
      status: 502,
      body: expect.stringContaining('pool not (yet) available'),
    })
    expect(await lab.ask('POST', '/ipam/10.1.0.3?pool=default')).toEqual({ status: 500, body: 'IP 10.1.0.3 not in range of any CIDR' })
    expect((await lab.ask('POST', '/ipam/10.1.0.3?pool=red')).body).toContain('unable to reserve IP 10.1.0.3 from pool "red"')
    expect((await lab.ask('POST', '/ipam/10.1.0.3?pool=blue')).status).toBe(200)
    expect((await lab.ask('DELETE', '/ipam/10.1.0.3?pool=default')).status, 'and has done nothing').toBe(200)
    expect(Object.keys(lab.agent.allocations)).toContain('blue/10.1.0.3')
    await lab.agent.addPod({ namespace: 'default', name: 'b', uid: 'u', annotations: { 'ipam.cilium.io/ip-pool': 'blue' } })
    expect((await lab.ask('POST', '/ipam?owner=default%2Fb')).body.address).toEqual({ ipv4: '10.1.0.4', 'ipv4-pool-name': 'blue' })
    expect(await lab.ask('POST', '/ipam?family=ipv6')).toMatchObject({ status: 201, body: { address: {} } })
    expect(await lab.ask('POST', '/ipam?family=ipx')).toEqual({
      status: 422,
      body: { code: 606, message: 'family in query should be one of [ipv4 ipv6]' },
    })
  })

  it('a given one, unless somebody has it, and back', async () => {
    const lab = await open({ ranges: { ipv4: '10.0.0.0/29' } })
    expect((await lab.ask('POST', '/ipam/10.0.0.4?owner=default%2Fa&pool=default')).status).toBe(200)
    expect(await lab.ask('POST', '/ipam/10.0.0.4?pool=default')).toEqual({ status: 500, body: 'provided IP is already allocated' })
    expect((await lab.ask('POST', '/ipam/10.0.1.4?pool=default')).body).toContain('The range of valid IPs is 10.0.0.0/29')
    expect((await lab.ask('POST', '/ipam/fd00::4?pool=default')).body).toBe('IPv6 allocation disabled')
    expect((await lab.ask('POST', '/ipam/10.0.0.1?pool=default')).status).toBe(500)
    expect((await lab.ask('POST', '/ipam/10.0.0.5?owner=a')).body).toBe('unable to restore IP 10.0.0.5 for "a": pool name must be provided')
    expect((await lab.ask('GET', '/healthz')).body.ipam.allocations).toEqual({ '10.0.0.4': 'default/a' })
    expect((await lab.ask('DELETE', '/ipam/10.0.0.4')).body).toBe('no IPAM pool provided for IP release of 10.0.0.4')
    expect((await lab.ask('DELETE', '/ipam/10.0.0.4?pool=default')).status).toBe(200)
    expect((await lab.ask('DELETE', '/ipam/nonsense')).status).toBe(400)
    expect(lab.agent.allocations).toEqual({})
  })

  it('that no endpoint claims are taken back after ten minutes, others stay', async () => {
    const clock = new ManualClock()
    const lab = await open({ clock, ranges: { ipv4: '10.0.0.0/29' } })
    await lab.ask('POST', '/ipam', undefined, { expiration: 'true' })
    expect((await lab.addPod('claims')).status).toBe(201)
    await lab.ask('POST', '/ipam/10.0.0.6?pool=default')
    clock.advance(IP_EXPIRATION_MS - 1)
    await lab.ask('GET', '/config')
    expect(Object.keys(lab.agent.allocations)).toEqual(['10.0.0.2', '10.0.0.3', '10.0.0.6'])
    clock.advance(1)
    await lab.ask('GET', '/config')
    expect(Object.keys(lab.agent.allocations)).toEqual(['10.0.0.3', '10.0.0.6'])
  })

  it('of an endpoint are not given back alone', async () => {
    const lab = await open()
    const { body } = await lab.addPod('a')
    const ip = body.status.networking.addressing[0].ipv4
    expect(await lab.ask('DELETE', `/ipam/${ip}`)).toEqual({ status: 500, body: `IP is in use by endpoint ${body.id}` })
  })
})

describe('endpoints', () => {
  it('are found by number, attachment, pod and address', async () => {
    const lab = await open({ version: '1.19.4' })
    await lab.agent.addPod({ namespace: 'default', name: 'a', uid: 'u', labels: { app: 'web' } })
    const { body } = await lab.addPod('a')
    expect(body.status).toMatchObject({
      state: 'ready',
      'external-identifiers': { 'cni-attachment-id': 'c-a:eth0', 'pod-name': 'default/a' },
      identity: { labels: ['k8s:app=web', 'k8s:io.kubernetes.pod.namespace=default'] },
      health: { overallHealth: 'OK', connected: true },
    })
    const ids = [String(body.id), `cilium-local:${body.id}`, 'cni-attachment-id:c-a:eth0', 'cep-name:default%2Fa', 'ipv4:10.0.0.2']
    for (const id of [...ids, 'ipv6:fd00:10::2', 'container-id:c-a', 'pod-name:default:a'])
      expect((await lab.ask('GET', `/endpoint/${id}`)).body, id).toEqual(body)
    expect((await lab.ask('GET', '/endpoint')).body).toEqual([body])
    expect((await lab.ask('GET', '/endpoint', ['k8s:app=web'])).body).toEqual([body])
    expect((await lab.ask('GET', '/endpoint', ['k8s:app=db'])).status).toBe(404)
    expect((await lab.ask('GET', '/endpoint/cni-attachment-id:other')).status).toBe(404)
    expect((await lab.ask('GET', '/endpoint/no-such-prefix:1')).status).toBe(400)
    expect((await lab.ask('GET', `/endpoint/${body.id}/healthz`)).body.overallHealth).toBe('OK')
  })

  it('of a pod that the agent does not know are being initialised until it does', async () => {
    const lab = await open()
    const labels = async (): Promise<string[]> => (await lab.ask('GET', '/endpoint/cep-name:default%2Fa')).body.status.identity.labels
    await lab.addPod('a')
    expect(await labels()).toEqual(['reserved:init'])
    await lab.agent.addPod({ namespace: 'default', name: 'a', uid: 'u', nodeName: 'elsewhere', labels: { app: 'web' } })
    expect(await labels()).toEqual(['reserved:init'])
    await lab.agent.addPod({ namespace: 'default', name: 'a', uid: 'u', labels: { app: 'web' } })
    expect(await labels()).toContain('k8s:app=web')
  })

  it('duplicates are refused with 400 and a text, and leave the first alone', async () => {
    const lab = await open()
    const first = await lab.addPod('a')
    expect(await lab.addPod('a')).toEqual({ status: 400, body: 'endpoint for CNI attachment ID c-a:eth0 already exists' })
    const addressing = { ipv4: first.body.status.networking.addressing[0].ipv4 }
    expect(await lab.addPod('b', { addressing })).toMatchObject({ status: 400, body: `IP ipv4:${addressing.ipv4} is already in use` })
    expect(await lab.addPod('c', { labels: ['reserved:host'] })).toMatchObject({ status: 400 })
    expect(lab.agent.endpoints).toHaveLength(1)
  })

  it('that fail to build are gone, and their addresses stay with the caller', async () => {
    const connect = (): Promise<never> => Promise.reject(new Error('no device'))
    const lab = await open({ datapath: { ...noDatapath, connect }, ranges: { ipv4: '10.0.0.0/29' } })
    expect(await lab.addPod('a')).toMatchObject({ status: 500, body: expect.stringContaining('no device') })
    expect(lab.agent.endpoints).toEqual([])
    expect(lab.agent.allocations).toEqual({ '10.0.0.2': 'default/a' })
    expect((await lab.addPod('b', { 'sync-build-endpoint': false })).status).toBe(201)
    expect((await lab.ask('GET', '/endpoint/cep-name:default%2Fb/healthz')).body.overallHealth).toBe('Warning')
  })

  it('are answered when they are built, not before', async () => {
    const clock = new ManualClock()
    const lab = await open({ clock, buildMs: 5_000, ranges: { ipv4: '10.0.0.0/29' } })
    let answered = false
    const reply = lab.addPod('a').finally(() => (answered = true))
    await expect.poll(() => lab.agent.endpoints[0]?.state, { timeout: 20_000 }).toBe('regenerating')
    expect((await lab.ask('GET', '/endpoint/1/healthz')).body.overallHealth).toBe('Pending')
    expect(answered).toBe(false)
    clock.advance(5_000)
    expect((await reply).body.status.state).toBe('ready')
  })

  it('go by id or by sandbox, with their addresses', async () => {
    const lab = await open()
    await lab.addPod('a')
    await lab.addPod('b')
    await lab.addPod('b2', { 'container-id': 'c-b', 'container-interface-name': 'net1' })
    expect((await lab.ask('DELETE', '/endpoint/cni-attachment-id:c-a:eth0')).status).toBe(200)
    expect((await lab.ask('DELETE', '/endpoint/cni-attachment-id:c-a:eth0')).status).toBe(404)
    expect((await lab.ask('DELETE', '/endpoint', { 'container-id': 'c-b' })).status).toBe(200)
    expect(await lab.ask('DELETE', '/endpoint', { 'container-id': 'c-b' })).toEqual({ status: 404, body: 'endpoints not found' })
    expect(await lab.ask('DELETE', '/endpoint', {})).toEqual({ status: 400, body: 'invalid container id' })
    expect((await lab.ask('DELETE', '/endpoint')).status, 'a body is required').toBe(422)
    expect(lab.agent.allocations).toEqual({})
  })

  it('a deletion with errors deletes all the same and says how many there were', async () => {
    const disconnect = (): Promise<never> => Promise.reject(new Error('busy'))
    const lab = await open({ datapath: { ...noDatapath, disconnect } })
    await lab.addPod('a')
    expect(await lab.ask('DELETE', '/endpoint', { 'container-id': 'c-a' })).toEqual({ status: 206, body: 1 })
    expect(lab.agent.allocations).toEqual({})
  })

  it('a pod may ask for a MAC by an annotation, and labels may be set', async () => {
    const lab = await open()
    await lab.agent.addPod({ namespace: 'default', name: 'a', uid: 'u' }, '02:aa:00:00:00:01')
    expect((await lab.addPod('a')).body.status.networking.mac).toBe('02:aa:00:00:00:01')
    expect((await lab.ask('PATCH', '/endpoint/1/labels', { user: ['k8s:tier=1'] })).status).toBe(200)
    const { body } = await lab.ask('GET', '/endpoint/1/labels')
    expect(body).toMatchObject({ spec: { user: ['k8s:tier=1'] }, status: { 'security-relevant': expect.arrayContaining(['k8s:tier=1']) } })
  })
})

describe('limits', () => {
  it('four at once, then one in two seconds, then 429 for whoever would wait longer than 15 s', async () => {
    const clock = new ManualClock()
    const lab = await open({
      clock,
      ranges: { ipv4: '10.0.0.0/24' },
      limits: { ...NO_LIMITS, 'endpoint-create': { ratePerSecond: 0.5, burst: 4, parallel: 4, maxWaitMs: 15_000 } },
    })
    const statuses: number[] = []
    const all = Array.from({ length: 16 }, async (_, index) => statuses.push((await lab.addPod(`p${index}`)).status))
    await expect.poll(() => [statuses.length, clock.sleeping >= 12], { timeout: 20_000 }).toEqual([4, true])
    for (let second = 0; second < 16; second += 1) {
      clock.advance(1_000)
      // Answers arrive over a real socket.
      for (let turn = 0; turn < 20; turn += 1) await lab.ask('GET', '/config')
    }
    await Promise.all(all)
    expect(statuses.filter((status) => status === 201).length).toBeGreaterThanOrEqual(9)
    expect(statuses).toContain(429)
    expect(lab.agent.endpoints).toHaveLength(statuses.filter((status) => status === 201).length)
  })
})

describe('the agent', () => {
  it.each(CILIUM_VERSIONS)('%s tells its release and has its features', async (version) => {
    const lab = await open({ version, nodeName: 'host-7', config: { ipLocalReservedPorts: '8472' } })
    const [config, health] = [await lab.ask('GET', '/config'), await lab.ask('GET', '/healthz', undefined, { brief: 'true' })]
    const minor = Number(version.split('.')[1])
    expect(config.body.status).toMatchObject({ datapathMode: 'veth', 'ipam-mode': 'cluster-pool', ipLocalReservedPorts: '8472' })
    expect('configuredDatapathMode' in config.body.status).toBe(minor >= 20)
    expect(health.body, 'in brief').toEqual({ cilium: { state: 'Ok', msg: expect.stringContaining(version) }, cluster: { nodes: null } })
    expect((await lab.ask('GET', '/healthz')).body.cluster.self).toBe('default/host-7')
    await lab.addPod('a')
    expect((await lab.ask('GET', '/endpoint/container-id:c-a')).status).toBe(minor >= 20 ? 400 : 200)
  })

  it.each(['1.17.6', '1.18.6'] as const)('%s while it starts', async (version) => {
    const lab = await open({ version })
    await lab.agent.stop()
    const ready = Promise.withResolvers<void>()
    const started = lab.agent.start(ready.promise)
    await expect.poll(() => existsSync(lab.agent.socket), { timeout: 20_000 }).toBe(true)
    const answered: string[] = []
    const config = lab.ask('GET', '/config').finally(() => answered.push('GET'))
    const deleted = lab.ask('DELETE', '/endpoint', { 'container-id': 'x' }).finally(() => answered.push('DELETE'))
    if (version === '1.18.6') await config
    // With 1.17 nothing tells that a request waits; one that is answered without waiting comes before this one.
    else await expect.poll(async () => (await lab.ask('GET', '/no-such-thing')).status, { timeout: 20_000 }).toBe(404)
    expect(answered).toEqual(version === '1.18.6' ? ['GET'] : [])
    ready.resolve()
    await started
    expect([(await config).status, (await deleted).status]).toEqual([200, 404])
  })

  it('restores endpoints of its own pods whose device is there, and forgets other addresses', async () => {
    let devices = ['lxc-mine', 'lxc-foreign', 'lxc-unknown', 'lxc-lost']
    const link = (name: string) => Promise.resolve(devices.includes(name) ? { kind: 'veth', index: 1, mac: '' } : undefined)
    const lab = await open({ datapath: { ...noDatapath, link }, ranges: { ipv4: '10.0.0.0/28' } })
    for (const name of ['mine', 'foreign', 'lost']) await lab.agent.addPod({ namespace: 'default', name, uid: name })
    for (const name of ['mine', 'foreign', 'unknown', 'lost']) await lab.addPod(name)
    await lab.ask('POST', '/ipam/10.0.0.14?pool=default')
    await lab.agent.addPod({ namespace: 'default', name: 'foreign', uid: 'foreign', nodeName: 'elsewhere' })
    devices = devices.filter((name) => name !== 'lxc-lost')
    await lab.agent.stop({ leaveSocket: true })
    expect(existsSync(lab.agent.socket)).toBe(true)
    await expect(lab.ask('GET', '/config')).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    await lab.agent.start()
    expect(lab.agent.endpoints.map(({ request, state }) => [request['k8s-pod-name'], state])).toEqual([['mine', 'ready']])
    expect(lab.agent.allocations).toEqual({ '10.0.0.2': 'default/mine [restored]' })
  })

  it('1.20 does not start over a device that is no veth; 1.19 does', async () => {
    for (const version of ['1.19.4', '1.20.2'] as const) {
      const link = () => Promise.resolve({ kind: '', index: 1, mac: '' })
      const lab = await open({ version, anyPod: true, datapath: { ...noDatapath, link } })
      await lab.addPod('a')
      await lab.agent.stop()
      if (version === '1.19.4') await lab.agent.start()
      else await expect(lab.agent.start()).rejects.toThrow('incompatible datapath-modes')
    }
  })

  it('refuses what is disabled, what it does not know and what makes no sense', async () => {
    const lab = await open()
    lab.agent.disabled.add('POST /ipam')
    expect(await lab.ask('POST', '/ipam')).toMatchObject({ status: 403, body: expect.stringContaining('administratively disabled') })
    expect((await lab.ask('GET', '/no-such-thing')).status).toBe(404)
    for (const [body, status, code, message] of [
      [undefined, 422, 602, 'endpoint in body is required'],
      [{}, 422, 602, 'state in body is required'],
      [{ state: 'splendid' }, 422, 606, expect.stringContaining('state in body should be one of [waiting-for-identity not-ready')],
      [{ state: 'ready', id: 'seven' }, 400, 400, expect.stringContaining('parsing endpoint body')],
    ] as const)
      expect(await lab.ask('PUT', '/endpoint/cilium-local:0', body)).toEqual({ status, body: { code, message } })
    expect((await lab.ask('DELETE', '/endpoint', { 'container-id': 'x' }, { 'content-type': 'text/plain' })).status).toBe(415)
  })

  it('faults befall as many requests as they were ordered for', async () => {
    const lab = await open()
    const { faults } = lab.agent
    faults.add({ operation: 'POST /ipam', times: 2, effect: { kind: 'answer', status: 429 } })
    faults.add({ operation: 'POST /ipam', effect: { kind: 'cut', when: 'before' } })
    faults.add({ operation: 'POST /ipam', effect: { kind: 'cut', when: 'after' } })
    faults.add({ operation: 'POST /ipam', effect: { kind: 'misreport', status: 500, body: 'lost' } })
    expect([(await lab.ask('POST', '/ipam')).status, (await lab.ask('POST', '/ipam')).status]).toEqual([429, 429])
    await expect(lab.ask('POST', '/ipam')).rejects.toMatchObject({ code: 'ECONNRESET' })
    expect(lab.agent.allocations).toEqual({})
    await expect(lab.ask('POST', '/ipam')).rejects.toMatchObject({ code: 'ECONNRESET' })
    expect(Object.keys(lab.agent.allocations)).toHaveLength(2)
    expect(await lab.ask('POST', '/ipam')).toEqual({ status: 500, body: 'lost' })
    expect((await lab.ask('POST', '/ipam')).status).toBe(201)
    expect(lab.agent.requests.map(({ status }) => status)).toEqual([429, 429, 0, 0, 500, 201])
  })
})
