import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { askHost, type LabNode } from '@cni-offload/cli'
import { ping } from '@cni-offload/testing'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { E2eLab, needsRoot, NOTHING_HELD } from '../fixture.ts'
import { definition, DelegateError, MultusCaller, type MultusPod, type Selection } from './caller.ts'

const offload = { type: 'offload-cni', capabilities: { CNIDeviceInfoFile: true, deviceID: true, mac: true } }

/** The cluster's default network, a list as it lies in /etc/cni/net.d. */
const primary: Selection = {
  ifName: 'eth0',
  definition: definition('podnet', {
    cniVersion: '1.0.0',
    name: 'podnet',
    plugins: [{ type: 'offload-cni' }, { type: 'portmap', capabilities: { portMappings: true } }],
  }),
}

/** A list whose later plugins are Debian's. */
const fast = (deviceId?: string): Selection => ({
  ifName: 'net1',
  ...(deviceId === undefined ? {} : { deviceId }),
  definition: definition('fast', {
    cniVersion: '1.0.0',
    name: 'fast',
    plugins: [offload, { type: 'tuning', sysctl: { 'net.ipv4.conf.net1.arp_filter': '1' } }, { type: 'sbr' }],
  }),
})

/** A single configuration without a name, which is then the object's. */
const storage = (more: Partial<Selection> = {}): Selection => ({
  ifName: 'net2',
  definition: definition('storage', { cniVersion: '1.0.0', ...offload }),
  ...more,
})

const plain = (cidr: string): string => cidr.replace(/\/\d+$/, '')
const addresses = (result: Record<string, any>): string[] => result['ips'].map(({ address }: { address: string }) => plain(address))

describe.skipIf(needsRoot)('pods with several networks, attached as Multus does it (needs root for namespaces)', () => {
  let e2e: E2eLab
  let serial = 0

  beforeAll(async () => {
    e2e = await E2eLab.up({
      nodes: 2,
      vfs: 6,
      adapter: 'delegate',
      networks: [
        { name: 'fast', adapter: 'hello', ports: ['soft0/4-5'] },
        { name: 'storage', adapter: 'delegate' },
      ],
      pciBus: 'f000:00',
    })
  }, 120_000)

  afterAll(async () => {
    await e2e?.[Symbol.asyncDispose]()
  })

  const pod = async (): Promise<MultusPod> => {
    const name = `m${++serial}`
    await e2e.lab.createPod(name)
    return { name, uid: `uid-${name}` }
  }

  const vfs = async (node: LabNode): Promise<Record<string, string>> => {
    const { attachments } = await askHost(node.socket)
    return Object.fromEntries(attachments.map(({ key, vf }) => [`${key.containerId} ${key.ifName}`, vf]))
  }

  const ended = async (caller: MultusCaller, ...pods: readonly MultusPod[]): Promise<void> => {
    for (const each of pods) {
      await caller.del(each)
      await e2e.lab.deletePod(each.name)
    }
  }

  test('reach pods of another node on each of them, have a VF for each, pass CHECK, and leave nothing', async () => {
    const [one, two] = [e2e.lab.node(1), e2e.lab.node(2)]
    const [here, there] = [new MultusCaller(e2e, one), new MultusCaller(e2e, two)]
    const [a, b] = [await pod(), await pod()]
    const results = await here.add(a, [primary, fast(), storage()])
    const others = await there.add(b, [primary, fast(), storage()])
    for (const [index, ifName] of ['eth0', 'net1', 'net2'].entries()) {
      expect(results[index]!['interfaces'].at(-1)).toMatchObject({ name: ifName, sandbox: e2e.lab.podPath(a.name) })
      for (const target of addresses(others[index]!))
        expect(await ping(e2e.lab.podPath(a.name), target, { count: 2 }), `${ifName} ${target}`).toEqual({ sent: 2, received: 2 })
    }
    const held = await vfs(one)
    expect(new Set(Object.values(held)).size).toBe(3)
    expect(['soft0/4', 'soft0/5'], 'the network that keeps ports has one of them').toContain(held[`${a.name} net1`])
    expect(['soft0/4', 'soft0/5'], 'no other network has one').not.toContain(held[`${a.name} net2`])
    await here.check(a)
    await ended(here, a)
    await ended(there, b)
    expect([await e2e.held(one), await e2e.held(two)]).toEqual([NOTHING_HELD, NOTHING_HELD])
  }, 120_000)

  test('have the very VF that a device plugin allocated, and a device information file that tells of it until DEL', async () => {
    const node = e2e.lab.node(1)
    const caller = new MultusCaller(e2e, node)
    const [a, b] = [await pod(), await pod()]
    const mac = '02:00:5e:10:00:01'
    await caller.attach(a, primary)
    const taken = (await vfs(node))[`${a.name} eth0`]
    // A device plugin counts what it has given away; here nothing but eth0 has a VF.
    const free = [0, 1, 2, 3].find((index) => `soft0/${index}` !== taken)!
    const pci = `f000:00:00.${free + 1}`
    await caller.attach(a, fast('f000:00:00.6'))
    await caller.attach(a, storage({ deviceId: pci, cniArgs: { purpose: 'backup' } }))
    expect(await vfs(node)).toMatchObject({ [`${a.name} net1`]: 'soft0/5', [`${a.name} net2`]: `soft0/${free}` })
    for (const [network, ifName, address] of [
      ['fast', 'net1', 'f000:00:00.6'],
      ['storage', 'net2', pci],
    ] as const) {
      const file = caller.deviceInfoFile(network, a, ifName)
      expect(JSON.parse(await readFile(file, 'utf8'))).toEqual({
        type: 'pci',
        version: '1.1.0',
        pci: { 'pci-address': address, 'pf-pci-address': 'f000:00:00.0' },
      })
    }
    await expect(caller.add(b, [primary, storage({ deviceId: pci })])).rejects.toThrow(
      `VF soft0/${free} is leased, attachment storage/${a.name}/net2`,
    )
    await expect(caller.add(b, [fast('f000:00:00.1')])).rejects.toThrow('VF soft0/0 is kept for others')
    await caller.del(a)
    for (const [network, ifName] of [
      ['fast', 'net1'],
      ['storage', 'net2'],
    ] as const)
      expect(existsSync(caller.deviceInfoFile(network, a, ifName))).toBe(false)
    const again = await caller.attach(b, { ...fast('f000:00:00.6'), capabilityArgs: { mac } })
    expect(again['interfaces'].at(-1)).toMatchObject({ name: 'net1', mac })
    await ended(caller, a, b)
    expect(await e2e.held(node)).toEqual(NOTHING_HELD)
  }, 120_000)

  test('keep their other networks when one of them fails or ends, in whatever order', async () => {
    const node = e2e.lab.node(1)
    const caller = new MultusCaller(e2e, node)
    const a = await pod()
    const [eth0] = await caller.add(a, [primary])
    const broken = {
      ...storage(),
      definition: definition('storage', {
        cniVersion: '1.0.0',
        plugins: [offload, { type: 'tuning', sysctl: { 'net.ipv4.nonsense': '1' } }],
      }),
    }
    await expect(caller.attach(a, broken)).rejects.toBeInstanceOf(DelegateError)
    expect(Object.keys(await vfs(node))).toEqual([`${a.name} eth0`])
    const gateway = plain(eth0!['ips'][0].gateway)
    expect(await ping(e2e.lab.podPath(a.name), gateway, { count: 1, waitMs: 10_000 })).toEqual({ sent: 1, received: 1 })
    await caller.attach(a, fast())
    await caller.attach(a, storage())
    await caller.del(a, ['net1', 'net2'])
    expect(Object.keys(await vfs(node))).toEqual([`${a.name} eth0`])
    await caller.attach(a, storage())
    await caller.attach(a, fast())
    await caller.del(a, ['eth0'])
    const used = addresses(await caller.attach(a, { ...storage(), ifName: 'net3' }))
    expect(used.length, 'two interfaces on one network').toBe(2)
    await caller.check(a)
    await ended(caller, a)
    expect(await e2e.held(node)).toEqual(NOTHING_HELD)
  }, 120_000)

  test('survive an agent that was killed: every network of a running pod forwards as before', async () => {
    const node = e2e.lab.node(1)
    const caller = new MultusCaller(e2e, node)
    const a = await pod()
    const results = await caller.add(a, [primary, fast(), storage()])
    await e2e.lab.kill(node, 'agent')
    await e2e.lab.start(node, 'agent')
    for (const result of results)
      for (const { gateway } of result['ips'])
        await expect
          .poll(() => ping(e2e.lab.podPath(a.name), plain(gateway), { count: 1 }), { timeout: 20_000 })
          .toEqual({ sent: 1, received: 1 })
    await expect.poll(() => caller.check(a).then(() => 'fine', String), { timeout: 20_000, interval: 200 }).toBe('fine')
    await ended(caller, a)
    await expect.poll(() => e2e.held(node), { timeout: 20_000, interval: 100 }).toEqual(NOTHING_HELD)
  }, 120_000)
})
