import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type CniAdapter, silentLogger, systemClock } from '@cni-offload/sdk'
import { reaches, wirePod } from '@cni-offload/testing'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { sriov, type SriovOptionsInput } from '../src/index.ts'
import { context, Lab, NEEDS_ROOT, PATIENCE, unprivileged } from './lab.ts'

describe('options', () => {
  test('have defaults', () => {
    expect(sriov.definition.options.parse({})).toMatchObject({ bridge: 'sriov0', mtu: 1500, hostVlan: false })
  })

  test.each<[string, object, RegExp]>([
    ['an MTU that IPv6 does not allow', { mtu: 1279 }, /mtu = 1279/],
    ['the bridge as its own uplink', { bridge: 'up0', uplink: 'up0' }, /uplink = "up0": another interface/],
    ['a name that no interface has', { uplink: 'an interface' }, /uplink/],
    ['an unknown option', { trunk: true }, /trunk/],
  ])('refuse %s', (_what, options, message) => {
    expect(() => sriov(options as SriovOptionsInput)).toThrow(
      expect.objectContaining({ code: 'INVALID_CONFIG', message: expect.stringMatching(message) }),
    )
  })
})

describe.skipIf(unprivileged)(`two networks on one bridge ${NEEDS_ROOT}`, { timeout: PATIENCE }, () => {
  let lab: Lab
  let second: CniAdapter
  let stateDir: string

  const start = async (): Promise<void> => {
    second = await sriov({ netns: lab.dpu }).create({ log: silentLogger, clock: systemClock, stateDir })
    await second.start?.(
      lab.bench.ports.map(({ port }) => port),
      context(),
    )
  }
  beforeAll(async () => {
    lab = await Lab.create(2)
    stateDir = await mkdtemp(join(tmpdir(), 'sriov-second-'))
    await start()
  }, PATIENCE)
  afterAll(async () => {
    await second[Symbol.asyncDispose]?.()
    await lab[Symbol.asyncDispose]()
    await rm(stateDir, { recursive: true, force: true })
  })

  test('reach each other in the same VLAN, and leave each other’s pods alone when they begin anew', async () => {
    const first = await lab.connect(0, { vlan: 100 })
    const hostIpam = { ips: [{ address: '10.9.0.2/24' }], routes: [], dns: {} }
    const request = lab.request(1, { vlan: 100 }, { hostIpam, key: lab.at(1).pod.key('other') })
    await wirePod(lab.net, lab.at(1).pod.path, 'eth0', await second.attach(request, context()))
    expect(await reaches(lab.at(0).pod.path, '10.9.0.2', { withinSeconds: 5 })).toBe(true)

    await second[Symbol.asyncDispose]?.()
    await lab.start()
    await start()
    const { key, port } = lab.request(0)
    await lab.adapter.check({ key, port, expected: first }, context())
    expect([await lab.adapter.list(context()), await second.list(context())]).toEqual([[key], [request.key]])
    expect(await reaches(lab.at(0).pod.path, '10.9.0.2', { withinSeconds: 5 })).toBe(true)
  })

  test('do not take over what they could not have made', async () => {
    await second[Symbol.asyncDispose]?.()
    const known = {
      request: lab.request(1, { min_tx_rate: 10 }, { key: lab.at(1).pod.key('foreign') }),
      result: { mac: '02:00:00:00:00:77', mtu: 1500, ips: [], routes: [], neighbours: [], dns: {}, sysctls: {} },
    }
    second = await sriov({ netns: lab.dpu }).create({ log: silentLogger, clock: systemClock, stateDir })
    await second.start?.([], context(), [known])
    expect(await second.list(context())).not.toContainEqual(known.request.key)
    expect(await second.remembered?.(context())).toHaveLength(1)
  })

  test('take out what they have left themselves, and nobody remembers', async () => {
    await second[Symbol.asyncDispose]?.()
    await rm(join(stateDir, 'sriov.db'))
    await start()
    expect(await lab.net.link(lab.dpu, lab.at(1).port.name)).toMatchObject({ up: false })
    expect((await lab.net.link(lab.dpu, lab.at(1).port.name))?.master).toBeUndefined()
    expect(await lab.net.programs(lab.dpu, lab.at(1).port.name)).toEqual([])
    expect((await lab.net.link(lab.dpu, lab.at(0).port.name))?.up).toBe(true)
  })
})
