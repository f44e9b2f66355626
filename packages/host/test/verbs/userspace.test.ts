import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { OffloadError, UNKNOWN_MAC } from '@cni-offload/sdk'
import { isRoot, ROOT_REASON } from '@cni-offload/testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { HostLimits } from '../../src/index.ts'
import { eventually, HostLab } from '../support/lab.ts'
import { Programs } from '../support/programs.ts'

const QUICK: Partial<HostLimits> = { reconcileMs: 20, repairBurst: 100, repairEveryMs: 1, repairPauseMs: 1, repairPauseMaxMs: 50 }
const ID = 'f000:00:00.1'
const NETCONF = { deviceID: ID }
const TIMEOUT = 60_000

const json = ({ output }: { readonly output: string }): any => JSON.parse(output)

describe.skipIf(!isRoot())(`a VF that a program has (${ROOT_REASON})`, { timeout: TIMEOUT }, () => {
  let programs: Programs
  let lab: HostLab
  const start = async (limits: Partial<HostLimits> = {}): Promise<void> => {
    lab = await HostLab.start({ vfs: 2, pciBus: 'f000:00', device: programs.wrap, limits })
  }
  beforeEach(() => {
    programs = new Programs()
    programs.drivers.set('soft0/0', 'vfio-pci')
  })
  afterEach(async () => await lab[Symbol.asyncDispose](), TIMEOUT)

  it('is connected on the DPU and described, nothing is moved or configured in the pod, and all of it ends', async () => {
    await start()
    await using pod = await lab.pod()
    const file = join(lab.dir, 'devinfo', 'cni', 'net1')
    const netconf = { ...NETCONF, capabilities: { CNIDeviceInfoFile: true }, runtimeConfig: { CNIDeviceInfoFile: file } }
    const answer = await lab.call('ADD', pod, { netconf })
    expect(answer, answer.output).toMatchObject({ exitCode: 0 })
    const [told] = lab.agent.attachments.values()
    expect(told?.vf).toEqual({ device: 'soft0', index: 0 })
    expect(told).not.toHaveProperty('userspace')
    expect(json(answer)).toMatchObject({
      interfaces: [{ name: 'eth0', sandbox: pod.path, mac: told?.vfMac, mtu: 1400, pciID: ID }],
      ips: [
        { address: '10.77.0.2/24', interface: 0 },
        { address: 'fd77::2/64', interface: 0 },
      ],
    })
    expect((await lab.net.links(pod.path)).map(({ name }) => name)).toEqual(['lo'])
    expect(JSON.parse(await readFile(file, 'utf8'))).toMatchObject({ type: 'pci', pci: { 'pci-address': ID } })
    expect((await lab.inspect()).leases[0]).toMatchObject({ state: 'leased', health: 'healthy', userspace: 'vfio-pci' })
    const check = await lab.call('CHECK', pod, { netconf: { ...netconf, prevResult: json(answer) } })
    expect(check, check.output).toMatchObject({ exitCode: 0 })
    expect(await lab.call('DEL', pod, { netconf })).toMatchObject({ exitCode: 0 })
    expect(programs.calls).toEqual(['release soft0/0'])
    expect(await lab.remains()).toEqual([])
  })

  it('goes to no attachment that does not name it; STATUS knows that one that does could have it', async () => {
    await start()
    await using one = await lab.pod('one')
    await using two = await lab.pod('two')
    expect(await lab.call('ADD', one)).toMatchObject({ exitCode: 0 })
    expect((await lab.inspect()).attachments.map(({ vf }) => vf)).toEqual(['soft0/1'])
    expect(json(await lab.call('ADD', two))).toMatchObject({ code: 11, msg: expect.stringContaining('no VF is free') })
    expect(await lab.call('STATUS', one)).toMatchObject({ exitCode: 0 })
    expect(await lab.call('ADD', two, { netconf: NETCONF })).toMatchObject({ exitCode: 0 })
    expect(await lab.call('STATUS', one)).toMatchObject({ exitCode: 1 })
    for (const pod of [one, two]) await lab.call('DEL', pod)
  })

  it('what an ADD has begun is undone when the agent refuses', async () => {
    await start()
    await using pod = await lab.pod()
    lab.agent.before = (method) => {
      if (method === 'attach') throw new OffloadError('ADAPTER_FAILED', 'told to')
    }
    expect(json(await lab.call('ADD', pod, { netconf: NETCONF }))).toMatchObject({ code: 102 })
    expect(programs.calls).toEqual(['release soft0/0'])
    expect(await lab.remains()).toEqual([])
  })

  it('CHECK and the reconciler say that it is with another driver, and touch nothing', async () => {
    programs.drivers.set('soft0/1', 'uio_pci_generic')
    await start(QUICK)
    await using pod = await lab.pod()
    const result = json(await lab.call('ADD', pod, { netconf: NETCONF }))
    const before = programs.looks
    await eventually(() => programs.looks > before + 20, 'both are looked at')
    expect((await lab.inspect()).repairs).toEqual([])
    expect(programs.calls).toEqual([])
    programs.drivers.delete('soft0/0')
    expect(json(await lab.call('CHECK', pod, { netconf: { ...NETCONF, prevResult: result } }))).toMatchObject({
      code: 101,
      msg: expect.stringContaining('VF soft0/0 is not with driver vfio-pci any more: it has the interface soft0v0'),
    })
    await eventually(async () => (await lab.inspect()).repairs.length > 0, 'it is reported')
    expect((await lab.inspect()).repairs[0]).toMatchObject({ action: 'report', found: [expect.stringContaining('soft0v0')] })
    programs.drivers.set('soft0/0', 'igb_uio')
    expect(await lab.call('CHECK', pod, { netconf: { ...NETCONF, prevResult: result } })).toMatchObject({ exitCode: 0 })
    expect(await lab.call('DEL', pod)).toMatchObject({ exitCode: 0 })
  })

  it('is known after a restart, and ends without an interface', async () => {
    await start()
    await using pod = await lab.pod()
    const result = json(await lab.call('ADD', pod, { netconf: NETCONF }))
    await lab.stopHost()
    await lab.startHost()
    expect(programs.calls).toEqual([])
    expect(await lab.call('CHECK', pod, { netconf: { ...NETCONF, prevResult: result } })).toMatchObject({ exitCode: 0 })
    expect(await lab.call('DEL', pod, { env: { CNI_NETNS: '' } })).toMatchObject({ exitCode: 0 })
    expect(await lab.remains()).toEqual([])
  })

  it('gets the MAC address of the network where its physical function can set it, and CHECK looks at that', async () => {
    programs.admin = ['mac']
    await start()
    await using pod = await lab.pod()
    const mac = '02:00:00:00:aa:01'
    lab.agent.result = { mac }
    const result = json(await lab.call('ADD', pod, { netconf: NETCONF }))
    expect(programs.calls).toEqual([`configure soft0/0 {"mac":"${mac}"}`])
    expect(result.interfaces[0].mac).toBe(mac)
    programs.settings.clear()
    expect(json(await lab.call('CHECK', pod, { netconf: { ...NETCONF, prevResult: result } }))).toMatchObject({ code: 101 })
    expect(await lab.call('DEL', pod)).toMatchObject({ exitCode: 0 })
  })

  it('has no MAC address in the result where nobody knows it', async () => {
    programs.mac = UNKNOWN_MAC
    await start()
    await using pod = await lab.pod()
    const result = json(await lab.call('ADD', pod, { netconf: NETCONF }))
    expect(result.interfaces[0]).not.toHaveProperty('mac')
    expect(await lab.call('DEL', pod)).toMatchObject({ exitCode: 0 })
  })

  it('is taken over from the agent when the journal is lost; one that nobody has can be leased again then', async () => {
    programs.drivers.set('soft0/1', 'igb_uio')
    await start(QUICK)
    await using pod = await lab.pod()
    await using other = await lab.pod('other')
    const result = json(await lab.call('ADD', pod, { netconf: NETCONF }))
    await lab.stopHost()
    await writeFile(lab.journal, 'no journal any more'.repeat(1000))
    await lab.startHost()
    await eventually(async () => (await lab.inspect()).leases.map(({ state }) => state).join() === 'leased,free', 'each is known again')
    expect(await lab.call('CHECK', pod, { netconf: { ...NETCONF, prevResult: result } })).toMatchObject({ exitCode: 0 })
    expect(await lab.call('ADD', other, { netconf: { deviceID: 'f000:00:00.2' } })).toMatchObject({ exitCode: 0 })
    for (const each of [pod, other]) expect(await lab.call('DEL', each)).toMatchObject({ exitCode: 0 })
    await eventually(async () => (await lab.remains()).length === 0, 'nothing is left')
  })
})
