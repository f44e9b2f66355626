import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { UNKNOWN_MAC, VF_ADMIN_SETTINGS } from '@cni-offload/sdk'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { context, Lab, NEEDS_ROOT, PATIENCE, unprivileged } from './lab.ts'

const ADDRESSED = [{ address: '10.66.0.40/24', gateway: '10.66.0.1' }]

describe.skipIf(unprivileged)(`configurations as sriov-cni documents them ${NEEDS_ROOT}`, { timeout: PATIENCE }, () => {
  let lab: Lab
  let ipam: object

  beforeAll(async () => {
    lab = await Lab.create(2)
    ipam = {
      type: 'host-local',
      dataDir: join(lab.stateDir, 'host-local'),
      ranges: [[{ subnet: '10.66.0.0/24', rangeStart: '10.66.0.40', rangeEnd: '10.66.0.60', gateway: '10.66.0.1' }]],
      routes: [{ dst: '0.0.0.0/0' }],
    }
  }, PATIENCE)
  afterAll(() => lab[Symbol.asyncDispose]())
  beforeEach(async () => {
    for (const index of [0, 1]) await lab.adapter.detach({ key: lab.request(index).key }, context())
  }, PATIENCE)

  const given = async (): Promise<string[]> =>
    (await readdir(join(lab.stateDir, 'host-local', 'sriov'))).filter((name) => name.startsWith('10.')).toSorted()
  const attach = (netconf: object, more: object = {}, index = 0): ReturnType<Lab['adapter']['attach']> =>
    lab.adapter.attach(lab.request(index, netconf, more), context())

  test('a VF with addresses: of the plugin, with its routes, and given back', async () => {
    const netconf = { cniVersion: '0.3.1', deviceID: '0000:05:00.2', ipam }
    const result = await attach(netconf)
    expect(result).toMatchObject({ mac: lab.at(0).vfMac, ips: ADDRESSED, routes: [{ dst: '0.0.0.0/0', gw: '10.66.0.1' }] })
    expect(await given()).toEqual(['10.66.0.40'])
    expect(await attach(netconf), 'again').toEqual(result)
    expect((await attach(netconf, {}, 1)).ips[0]?.address).toBe('10.66.0.41/24')
    await lab.adapter.detach({ key: lab.request(0).key }, context())
    expect(await given()).toEqual(['10.66.0.41'])
  })

  test('a VF with everything, all on the port', async () => {
    const netconf = {
      cniVersion: '0.3.1',
      deviceID: '0000:05:00.2',
      vlan: 1000,
      vlanQoS: 4,
      spoofchk: 'on',
      trust: 'off',
      max_tx_rate: 200,
      link_state: 'enable',
      logLevel: 'debug',
      ipam,
    }
    const result = await attach(netconf)
    expect(result).not.toHaveProperty('vf')
    const { key, port } = lab.request(0)
    await lab.adapter.check({ key, port, expected: result }, context())
  })

  test('a VF with everything, on the host where it can; asked for again what the host can by then', async () => {
    const netconf = {
      deviceID: '0000:05:00.2',
      mac: 'CA:FE:C0:FF:EE:00',
      vlan: 1000,
      vlanQoS: 4,
      vlanProto: '802.1ad',
      min_tx_rate: 100,
      max_tx_rate: 200,
      spoofchk: 'off',
      trust: 'on',
      link_state: 'enable',
    }
    const mac = 'ca:fe:c0:ff:ee:00'
    await expect(attach(netconf)).rejects.toMatchObject({ code: 'UNSUPPORTED_FIELD', message: expect.stringContaining('min_tx_rate') })
    expect(await attach(netconf, { hostEnforces: VF_ADMIN_SETTINGS })).toMatchObject({
      mac,
      vf: { mac, minTxRate: 100, maxTxRate: 200, spoofCheck: false, trust: true, linkState: 'enable' },
    })
    expect((await attach(netconf, { hostEnforces: ['rate'] })).vf).toEqual({ minTxRate: 100, maxTxRate: 200 })
  })

  test('a VF for a userspace driver: a VLAN and no address', async () => {
    expect(await attach({ deviceID: '0000:05:00.2', vlan: 1000 })).toMatchObject({ ips: [], routes: [], mac: lab.at(0).vfMac })
  })

  test('a VF whose MAC only its program knows: the MAC is asked for, and refused without', async () => {
    const unknown = { vfMac: UNKNOWN_MAC }
    await expect(attach({ vlan: 1000 }, unknown)).rejects.toMatchObject({
      code: 'INVALID_NETCONF',
      message: expect.stringContaining('mac is missing'),
    })
    expect(await lab.adapter.list(context())).toEqual([])
    expect((await attach({ vlan: 1000, mac: '02:00:00:00:00:0a' }, unknown)).mac).toBe('02:00:00:00:00:0a')
  })

  test('the MAC of the runtime', async () => {
    expect((await attach({ mac: '02:00:00:00:00:09' }, { runtimeConfig: { mac: 'ca:fe:c0:ff:ee:01' } })).mac).toBe('ca:fe:c0:ff:ee:01')
    expect((await attach({}, { cniArgs: { MAC: 'CA:FE:C0:FF:EE:02' } }, 1)).mac).toBe('ca:fe:c0:ff:ee:02')
  })

  test('another VLAN for the same interface takes the place of the first', async () => {
    const first = await attach({ vlan: 100, ipam })
    const second = await attach({ vlan: 200, ipam })
    expect(second).toEqual(first)
    const { key, port } = lab.request(0)
    await lab.adapter.check({ key, port, expected: second }, context())
    expect(await given()).toHaveLength(1)
  })

  test('a running pod has its address again when plugin and adapter have lost it', async () => {
    const had = await attach({ ipam })
    await lab.adapter.detach({ key: lab.request(0).key }, context())
    const netconf = { capabilities: { ips: true }, ipam }
    await attach(netconf, {}, 1)
    expect(await attach(netconf, { had })).toMatchObject({ ips: had.ips, mac: had.mac })
  })

  test.each<[string, object, object, string, RegExp]>([
    [
      'an IPAM that is not installed',
      { ipam: { type: 'nosuch' } },
      {},
      'INVALID_NETCONF',
      /ipam\.type = "nosuch": plugin "nosuch" is in none of/,
    ],
    ['an IPAM that needs the pod', { ipam: { type: 'dhcp' } }, {}, 'UNSUPPORTED_FIELD', /ipam\.type = "dhcp"/],
    ['an IPAM of the host that sent nothing', { hostIPAM: true, ipam: { type: 'static' } }, {}, 'UNSUPPORTED_FIELD', /hostIPAM = true/],
    ['addresses without IPAM', {}, { runtimeConfig: { ips: ['10.0.0.1/24'] } }, 'UNSUPPORTED_FIELD', /runtimeConfig\.ips/],
    ['encryption', {}, { flags: { ipsec: true } }, 'UNSUPPORTED_FIELD', /ipsec/],
    ['an IPAM that gives no address', { ipam: { type: 'static' } }, {}, 'ADAPTER_FAILED', /static/],
  ])('%s is refused, and nothing is kept', async (_what, netconf, more, code, message) => {
    await expect(attach(netconf, more)).rejects.toMatchObject({ code, message: expect.stringMatching(message) })
    expect(await lab.adapter.remembered?.(context())).toEqual([])
    expect(await lab.net.link(lab.dpu, lab.at(0).port.name)).toMatchObject({ up: false })
  })

  test('a MAC that another pod of the DPU has is refused', async () => {
    await attach({ mac: '02:00:00:00:00:09', vlan: 5 })
    await expect(attach({ mac: '02:00:00:00:00:09', vlan: 6 }, {}, 1)).rejects.toMatchObject({
      code: 'ALREADY_EXISTS',
      message: expect.stringContaining('02:00:00:00:00:09'),
    })
  })

  test('the log says where each setting is enforced', async () => {
    const lines: [object, string][] = []
    const log = {
      debug() {},
      warn() {},
      error() {},
      info: (fields: object, text: string) => void lines.push([fields, text]),
      child: () => log,
    }
    await lab.adapter.attach(lab.request(0, { vlan: 100, trust: 'on' }, { hostEnforces: ['trust'] }), context(log))
    expect(lines).toEqual([
      [
        { port: lab.at(0).port.name, enforced: { vlan: 'port', spoofchk: 'port', trust: 'host and port' }, vf: { trust: true } },
        'where the settings of the VF are enforced',
      ],
    ])
  })
})
