import { join } from 'node:path'
import { type LogFields, type Logger, silentLogger } from '@cni-offload/sdk'
import { describe, expect, test } from 'vitest'
import { OtherHost } from '../../protocol/test/support/other-host.ts'
import type { Release } from '../../protocol/test/support/releases.ts'
import { createAgent } from '../src/index.ts'
import { adapterPlugin, devicePlugin, FakeAdapter, FakeDevice, FakeNetwork } from './support/fakes.ts'
import { TestPki } from './support/pki.ts'

const wired = (name: string, index: number): object => ({
  key: { network: 'podnet', container_id: name, if_name: 'eth0', tenant: 't' },
  pod: { name, labels: { app: 'web' } },
  vf: { device: 'card', index, generation: 3 },
  vf_mac: `02:aa:00:00:00:0${index}`,
  netconf_json: '{"cniVersion":"1.1.0","name":"podnet","type":"offload-cni"}',
  runtime_config_json: '{}',
  flags: { prefer_inline: true },
  shaping: { egress: 5 },
  host_enforces: ['mirror', 'vlan'],
})
const hello = (protocol: { min: number; max: number }): object => ({
  min_protocol: protocol.min,
  max_protocol: protocol.max,
  node: 'n1',
  boot_id: 'b',
  features: ['heartbeat', 'measure'],
  zone: 'z',
})

describe.each<Release>(['older', 'newer'])('the whole agent and a host of the %s release', (release) => {
  test('attach, check, list, resync, refuse and detach', async () => {
    await using stack = new AsyncDisposableStack()
    const pki = stack.use(await TestPki.create())
    const errors: (LogFields & { message: string })[] = []
    const log: Logger = { ...silentLogger, error: (fields, message) => void errors.push({ ...fields, message }), child: () => log }
    const network = new FakeNetwork()
    // As an adapter does that keeps to what the host enforces.
    network.afterAttach = (id, result) =>
      network.connected.get(id)?.request?.hostEnforces?.includes('vlan') === true
        ? { ...result, vf: { vlan: { id: 100, qos: 0, protocol: '802.1q' } } }
        : result
    const agent = createAgent({
      node: 'n1',
      listen: 'tcp://127.0.0.1:0',
      tls: await pki.issue('agent', 'n1'),
      stateDir: join(pki.dir, 'state'),
      hardware: devicePlugin(() => new FakeDevice(8)),
      adapter: adapterPlugin(() => new FakeAdapter(network)),
      log,
    })
    const stop = new AbortController()
    const done = agent.run(stop.signal)
    stack.defer(async () => {
      stop.abort()
      await done
    })
    const host = stack.use(await OtherHost.connect(release, await agent.listening, await pki.issue('host', 'n1')))

    for (let attempt = 0; attempt < 2; attempt++)
      await expect(host.ask('Handshake', hello({ min: 2, max: 3 }))).rejects.toMatchObject({
        code: 9,
        details: 'the host speaks protocol versions 2 to 3, this agent 1 to 1',
      })
    expect(errors, 'said once').toMatchObject([{ code: 'INCOMPATIBLE_PEER', hint: 'Upgrade the agent.', message: 'host refused' }])
    expect((await host.ask('Handshake', hello({ min: 1, max: 2 }))).protocol).toBe(1)

    const { result } = await host.ask('Attach', wired('a', 0))
    expect(result.vf, 'a host of before is not asked for what it would not even read').toEqual(
      release === 'newer' ? { vlan: { id: 100, protocol: '802.1q' } } : undefined,
    )
    expect(network.connected.get('podnet/a/eth0')?.request?.hostEnforces).toEqual(release === 'newer' ? ['vlan'] : undefined)
    await host.ask('Attach', wired('b', 1))
    await host.ask('Status', { network: 'podnet', expected_pods: 3 })
    const key = { network: 'podnet', container_id: 'a', if_name: 'eth0' }
    await host.ask('Check', { key, expected: result, thorough: true })
    expect(await host.list()).toMatchObject([{ key, phase: 'ATTACHMENT_PHASE_ATTACHED', result }, { key: { container_id: 'b' } }])
    const had = { mac: '02:00:00:00:00:77', mtu: 1400, ips: [{ address: '10.9.9.9/24', expires_ms: 1 }], groups: ['pods'] }
    const events = await host.resync([wired('a', 0), { ...wired('c', 2), had }])
    expect(events.map(({ key: of, action }) => `${of.container_id} ${action}`).toSorted()).toEqual([
      'a RESYNC_ACTION_KEPT',
      'b RESYNC_ACTION_DETACHED',
      'c RESYNC_ACTION_REATTACHED',
    ])
    const again = events.find(({ key: of }) => of.container_id === 'c').result
    expect(again.mac === had.mac, 'only a host that tells what its pod has gets it again').toBe(release === 'newer')
    for (const name of ['a', 'c']) await host.ask('Detach', { key: { ...key, container_id: name }, why: 'over' })
    expect(await host.list()).toEqual([])

    if (release === 'older') return
    await expect(host.ask('Measure', {}), 'a method of a release to come').rejects.toMatchObject({ code: 12 })
    const beats = host.stream('Heartbeat')
    beats.write({ stopping: false, load: 3 })
    const [beat] = await beats.take(1).toArray()
    // A beat that announces no restart is an empty message.
    expect(beat).toEqual({})
  })
})
