import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { OffloadError } from '@cni-offload/sdk'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createOffloadClient, createOffloadServer, HEARTBEAT, type OffloadClient } from '../src/index.ts'
import { api, ATTACH, ctx, KEY, NODE, type Pki, pki, RESULT } from './fixture.ts'
import { OtherAgent } from './support/other-agent.ts'
import { OtherHost } from './support/other-host.ts'
import { newerProto, OLDER, PROTO, type Release } from './support/releases.ts'

let certificates: Pki
beforeAll(async () => {
  certificates = await pki()
})
afterAll(() => certificates[Symbol.asyncDispose]())

const RELEASES: readonly Release[] = ['older', 'newer']
const GREETING = { protocol: { min: 1, max: 1 }, node: NODE, bootId: 'b', features: [HEARTBEAT] }

describe('the rules for changes', () => {
  const buf = fileURLToPath(new URL('../../../node_modules/.bin/buf', import.meta.url))
  const rules = JSON.stringify({ version: 'v2', breaking: { use: ['WIRE_JSON'] } })
  const broken = async (now: string, before: string): Promise<string> =>
    await promisify(execFile)(buf, ['breaking', now, '--against', before, '--config', rules]).then(
      () => '',
      ({ stdout, stderr }: { stdout: string; stderr: string }) => stdout + stderr,
    )

  test('are kept between the releases, and their breach is noticed', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'offload-rules-'))
    try {
      const newer = join(dir, 'newer.proto')
      await writeFile(newer, await newerProto())
      expect(await broken(PROTO, OLDER)).toBe('')
      expect(await broken(newer, PROTO)).toBe('')
      await writeFile(newer, (await newerProto()).replace('string vf_mac = 4;', 'uint32 vf_mac = 4;'))
      expect(await broken(newer, PROTO)).toMatch(/"vf_mac".*changed type/)
    } finally {
      await rm(dir, { recursive: true, force: true })
    }
  })
})

describe.each(RELEASES)('an agent of an %s release', (release) => {
  const meet = async (): Promise<{ agent: OtherAgent; client: OffloadClient } & AsyncDisposable> => {
    await using stack = new AsyncDisposableStack()
    const address = `unix:${join(certificates.dir, `${release}.sock`)}`
    const agent = stack.use(await OtherAgent.start({ release, tls: certificates.agent, address }))
    const client = stack.use(createOffloadClient({ address, tls: certificates.host, node: NODE }))
    const kept = stack.move()
    return { agent, client, [Symbol.asyncDispose]: () => kept.disposeAsync() }
  }
  const resync = (client: OffloadClient): Promise<unknown[]> =>
    Array.fromAsync(
      client.resync(
        (async function* () {
          yield { ...ATTACH, had: RESULT }
        })(),
        ctx(),
      ),
    )

  test('is understood, and takes no offence at what it does not know', async () => {
    await using peers = await meet()
    const { agent, client } = peers
    const features = release === 'older' ? [] : [HEARTBEAT, 'measure']
    expect(await client.handshake(GREETING, ctx())).toEqual({
      protocol: 1,
      instanceId: expect.any(String),
      networks: ['*'],
      features,
      kept: [],
    })
    const { result } = await client.attach(ATTACH, ctx())
    expect(result).toMatchObject({ mac: RESULT.mac, ips: [{ address: '10.77.0.2/24', gateway: '10.77.0.1' }] })
    await client.check({ key: KEY, expected: result }, ctx())
    await client.status({ network: KEY.network }, ctx())
    const repairs = [{ action: 'report', outcome: 'reported', found: ['a stale key'] }]
    expect(await client.list(ctx())).toMatchObject([
      { key: KEY, state: 'attached', result, ...(release === 'older' ? {} : { request: { key: KEY }, repairs }) },
    ])
    expect(await resync(client)).toEqual([{ key: KEY, action: 'kept', result }])
    await client.detach({ key: KEY, vf: ATTACH.vf }, ctx())
    expect(await client.list(ctx())).toEqual([])
    expect(await resync(client), 'what the pod has is beyond an older agent').toMatchObject([
      { action: 'reattached', result: { ips: release === 'older' ? [{ address: '10.77.0.3/24' }] : RESULT.ips } },
    ])
    expect(agent.count('Resync')).toBe(2)
    await expect(client.check({ key: { ...KEY, containerId: 'x' } }, ctx())).rejects.toMatchObject({
      code: 'CHECK_FAILED',
      message: 'podnet/x/eth0 is not known',
    })
  })

  test(release === 'older' ? 'has no heartbeats' : 'has heartbeats', async () => {
    await using peers = await meet()
    const beats = peers.client.heartbeat((async function* () {})(), ctx())[Symbol.asyncIterator]()
    if (release === 'older') await expect(beats.next()).rejects.toMatchObject({ code: 'INCOMPATIBLE_PEER' })
    else expect(await beats.next()).toMatchObject({ value: { restarting: false } })
    await beats.return?.()
  })

  test.each([
    [3, 'INVALID_NETCONF'],
    [2, 'ADAPTER_FAILED'],
    [8, 'RESOURCE_EXHAUSTED'],
    [9, 'NOT_READY'],
    [14, 'AGENT_UNREACHABLE'],
    [13, 'INTERNAL'],
    [15, 'INTERNAL'],
  ])('may fail with a code that is not known: status %i becomes %s', async (status, code) => {
    await using peers = await meet()
    peers.agent.fails = () => ({ status, code: 'QUOTA_IS_ASLEEP', message: 'tomorrow again', hint: 'Wait.' })
    const failure = { code, message: 'tomorrow again (QUOTA_IS_ASLEEP, a code of a newer release)', hint: 'Wait.' }
    await expect(peers.client.attach(ATTACH, ctx())).rejects.toMatchObject(failure)
    await expect(peers.client.list(ctx())).rejects.toMatchObject(failure)
    await expect(resync(peers.client)).rejects.toMatchObject(failure)
  })

  if (release === 'older') return

  test('may do and be in what is not known', async () => {
    await using peers = await meet()
    const { agent, client } = peers
    await client.attach(ATTACH, ctx())
    agent.action = 'RESYNC_ACTION_MOVED'
    agent.phase = 'ATTACHMENT_PHASE_PARKED'
    expect(await resync(client), 'without a result that nobody understands').toEqual([{ key: KEY, action: 'unknown' }])
    expect(await client.list(ctx())).toMatchObject([{ key: KEY, state: 'unknown', result: { mac: RESULT.mac } }])
  })
})

describe.each(RELEASES)('a host of an %s release', (release) => {
  test('is served', async () => {
    const seen: unknown[] = []
    const served = api({
      async handshake({ protocol, features }) {
        seen.push(protocol, features)
        const kept = [{ network: '*', vfs: [{ device: 'd', index: 1 }] }]
        return { protocol: 1, instanceId: 'new', networks: ['*'], features: [HEARTBEAT], kept }
      },
      async attach(call) {
        seen.push(call)
        return { result: RESULT, port: 'p' }
      },
      async check() {
        throw new OffloadError('CHECK_FAILED', 'the port is down')
      },
      async *resync(wired) {
        for await (const { key, had } of wired) yield { key, action: had === undefined ? 'reattached' : 'kept', result: RESULT }
        yield { key: { ...KEY, containerId: 'lost' }, action: 'failed', error: { code: 'NO_FREE_VF', message: 'none' } }
      },
    })
    await using server = await createOffloadServer({ listen: 'tcp://127.0.0.1:0', tls: certificates.agent, api: served })
    using host = await OtherHost.connect(release, server.address, certificates.host)
    const hello = { min_protocol: 1, max_protocol: release === 'newer' ? 2 : 1, node: NODE, boot_id: 'b', zone: 'z' }
    expect((await host.ask('Handshake', { ...hello, features: release === 'newer' ? ['measure'] : [] })).instance_id).toBe('new')
    const wire = {
      key: { network: 'podnet', container_id: 'c', if_name: 'eth0', tenant: 't' },
      pod: { name: 'web', labels: { app: 'web' } },
      vf: { device: 'd', index: 1, generation: 4 },
      vf_mac: '02:00:00:00:00:01',
      netconf_json: '{}',
      runtime_config_json: '{}',
      flags: { ipsec: true, prefer_inline: true },
      shaping: { egress: 5 },
    }
    expect((await host.ask('Attach', wire)).result.mac).toBe(RESULT.mac)
    await expect(host.ask('Check', { key: wire.key, thorough: true })).rejects.toMatchObject({ code: 9, details: 'the port is down' })
    const had = { mac: RESULT.mac, mtu: 1400, groups: ['pods'] }
    const events = await host.resync([{ ...wire, had }])
    expect(events).toMatchObject([
      { action: release === 'older' ? 'RESYNC_ACTION_REATTACHED' : 'RESYNC_ACTION_KEPT' },
      { action: 'RESYNC_ACTION_FAILED', error: { code: 'NO_FREE_VF', ...(release === 'older' ? {} : { status: 8 }) } },
    ])
    expect(seen).toEqual([
      { min: 1, max: hello.max_protocol },
      release === 'newer' ? ['measure'] : [],
      {
        key: { network: 'podnet', containerId: 'c', ifName: 'eth0' },
        pod: { namespace: '', name: 'web', uid: '' },
        vf: { device: 'd', index: 1 },
        vfMac: wire.vf_mac,
        netconf: {},
        runtimeConfig: {},
        cniArgs: {},
        flags: { ipsec: true },
      },
    ])
    if (release === 'newer') await expect(host.ask('Measure', {})).rejects.toMatchObject({ code: 12 })
  })
})
