import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { type Clock, silentLogger, systemClock, type VirtualFunction } from '@cni-offload/sdk'
import { Registry } from 'prom-client'
import { describe, expect, it } from 'vitest'
import { DevicePluginMetrics } from '../../src/device-plugin/metrics.ts'
import { ResourcePlugin } from '../../src/device-plugin/resource-plugin.ts'
import { Changes } from '../../src/device-plugin/wake.ts'
import { eventually } from '../support/lab.ts'
import { end, endPartly, leaseOf, vfsOf } from '../support/row.ts'
import { PluginLab, RESOURCE } from './lab.ts'

const EXACT = [{ name: RESOURCE, allocation: 'exact' }] as const
const onNodes = (...nodes: readonly (number | undefined)[]): VirtualFunction[] =>
  vfsOf(nodes.length).map((vf, index) => ({ ...vf, ...(nodes[index] === undefined ? {} : { numaNode: nodes[index] }) }))

async function started(options: Parameters<typeof PluginLab.make>[0]): Promise<PluginLab> {
  const lab = await PluginLab.make(options)
  await lab.kubelet.start()
  await lab.kubelet.until(() => lab.kubelet.lists(RESOURCE) > 0, 'the first list')
  return lab
}

describe('what kubelet is told of VFs', () => {
  it('is their health as the hardware reports it, one VF or the whole device', async () => {
    await using lab = await started({ vfs: vfsOf(3) })
    lab.inventory.setHealth({ device: 'dev0', index: 1 }, 'unhealthy')
    await lab.untilHealthy(2)
    expect(lab.healthy()).toEqual(['0000:01:00.0', '0000:01:00.2'])
    lab.inventory.setHealth({ device: 'dev0' }, 'unhealthy')
    await lab.untilHealthy(0)
    expect(lab.kubelet.devices(RESOURCE)?.size).toBe(3)
    lab.inventory.syncVfs(vfsOf(3))
    await lab.untilHealthy(3)
  })

  it('is that a VF in quarantine cannot be had, and a leased one is fine', async () => {
    await using lab = await started({ vfs: vfsOf(2) })
    const { key, vf } = lab.journal.lease(leaseOf('a'))
    lab.journal.lease(leaseOf('b'))
    expect(lab.healthy()).toHaveLength(2)
    endPartly(lab.journal, key, { release: false, detach: true, reason: 'agent away' })
    await lab.untilHealthy(1)
    expect(lab.kubelet.devices(RESOURCE)?.get(`0000:01:00.${vf.index}`)?.healthy).toBe(false)
    lab.journal.finish(lab.journal.queue()[0]!.seq)
    await lab.untilHealthy(2)
  })

  it('is which VFs have come and which have gone', async () => {
    await using lab = await started({ vfs: vfsOf(1) })
    lab.inventory.syncVfs(vfsOf(3))
    await lab.untilHealthy(3)
    lab.inventory.syncVfs(vfsOf(2))
    await lab.untilHealthy(2)
    expect(lab.kubelet.devices(RESOURCE)?.get('0000:01:00.2')).toEqual({ healthy: false })
  })

  it('is device/index where a VF has no PCI address', async () => {
    const plain = vfsOf(2).map(({ pciAddress: _pci, ...vf }) => vf)
    await using lab = await started({ vfs: plain })
    expect(lab.healthy()).toEqual(['dev0/0', 'dev0/1'])
  })

  it('is nothing of VFs that an earlier card had', async () => {
    await using lab = await PluginLab.make({ vfs: [] })
    lab.journal.syncVfs(vfsOf(2, 'old'))
    lab.inventory.syncVfs(vfsOf(1))
    await lab.kubelet.start()
    await lab.untilHealthy(1)
    expect([...lab.kubelet.devices(RESOURCE)!.keys()]).toEqual(['0000:01:00.0'])
  })

  it('is one list for many changes, and none for what does not matter to it', async () => {
    await using lab = await started({ vfs: vfsOf(8) })
    await lab.untilHealthy(8)
    const before = lab.kubelet.lists(RESOURCE)
    for (let round = 0; round < 100; round++)
      for (let index = 0; index < 8; index++) lab.inventory.setHealth({ device: 'dev0', index }, round % 2 === 0 ? 'unhealthy' : 'healthy')
    for (let pod = 0; pod < 50; pod++) end(lab.journal, lab.journal.lease(leaseOf(`p${pod}`)).key)
    lab.inventory.setHealth({ device: 'dev0', index: 3 }, 'unhealthy')
    await lab.untilHealthy(7)
    expect(lab.kubelet.lists(RESOURCE) - before).toBeLessThanOrEqual(2)
  })

  it('is never the same list twice', async () => {
    const changes = new Changes()
    const device = { id: 'a', healthy: true, free: true, turn: 0 }
    let devices = new Map([['a', device]])
    const plugin = new ResourcePlugin({
      resource: { name: RESOURCE },
      devices: () => devices,
      changes,
      metrics: new DevicePluginMetrics(new Registry(), () => []),
      clock: { ...systemClock, sleep: async () => {} },
      log: silentLogger,
    })
    const lists = plugin.listAndWatch(AbortSignal.timeout(20_000))[Symbol.asyncIterator]()
    await lists.next()
    const next = lists.next()
    for (let round = 0; round < 5; round++) {
      devices = new Map([['a', { ...device, free: round % 2 === 0, turn: round }]])
      changes.notify()
      await setImmediate()
    }
    devices = new Map([['a', { ...device, healthy: false }]])
    changes.notify()
    expect((await next).value).toEqual([{ id: 'a', health: 'Unhealthy' }])
  })

  it('is the newest state for a kubelet that reads slowly, not a queue of old ones', async () => {
    // Lists of 250 VFs with long names fill the window of the connection soon.
    const many = Array.from({ length: 250 }, (_, index) => ({
      ...vfsOf(1)[0]!,
      id: { device: `dev-${'x'.repeat(40)}`, index },
      pciAddress: `dev-${'x'.repeat(50)}-${index}`,
    }))
    const instant: Clock = { ...systemClock, sleep: (ms, signal) => systemClock.sleep(Math.min(ms, 1), signal) }
    await using lab = await started({ vfs: many, clock: instant, config: { agentGraceMs: 'never' } })
    await lab.untilHealthy(250)
    lab.kubelet.pause(RESOURCE)
    const changes = 200
    let told = 0
    for (let change = 0; change < changes; change++) {
      lab.inventory.setHealth({ device: many[0]!.id.device, index: change % 250 }, 'unhealthy')
      await systemClock.sleep(2, AbortSignal.timeout(10_000))
      told++
    }
    expect(told).toBe(changes)
    const before = lab.kubelet.lists(RESOURCE)
    lab.kubelet.pause(RESOURCE, false)
    await lab.untilHealthy(50)
    expect(lab.kubelet.lists(RESOURCE) - before).toBeLessThan(changes / 2)
  })

  it('is that nothing can be had once the agent has been away for the time of grace, until it is back', async () => {
    await using lab = await started({ vfs: vfsOf(2), config: { agentGraceMs: 100 } })
    await lab.untilHealthy(0)
    lab.plugin.connected(true)
    await lab.untilHealthy(2)
    lab.plugin.connected(false)
    await lab.untilHealthy(0)
    lab.plugin.connected(true)
    await lab.untilHealthy(2)
  })

  it('is nothing of an agent that is back in time, or may be away for ever', async () => {
    await using lab = await started({ vfs: vfsOf(2), config: { agentGraceMs: 60_000 } })
    lab.plugin.connected(false)
    lab.plugin.connected(true)
    lab.plugin.connected(false)
    await using forever = await started({ vfs: vfsOf(2), config: { agentGraceMs: 'never' } })
    forever.plugin.connected(false)
    expect([lab.healthy().length, forever.healthy().length]).toEqual([2, 2])
    expect([lab.kubelet.lists(RESOURCE), forever.kubelet.lists(RESOURCE)]).toEqual([1, 1])
  })
})

describe('NUMA nodes', () => {
  const nodesOf = (lab: PluginLab): (number | undefined)[] => [...lab.kubelet.devices(RESOURCE)!.values()].map(({ numaNode }) => numaNode)

  it('are told of exact devices', async () => {
    await using lab = await started({ vfs: onNodes(0, 1, undefined), config: { resources: EXACT } })
    expect(nodesOf(lab)).toEqual([0, 1, undefined])
  })

  it('are told of counted devices only if every VF that may come out of it is on the same one', async () => {
    await using same = await started({ vfs: onNodes(1, 1) })
    expect(nodesOf(same)).toEqual([1, 1])
    await using different = await started({ vfs: onNodes(0, 1) })
    expect(nodesOf(different)).toEqual([undefined, undefined])
    await using unknown = await started({ vfs: onNodes(0, undefined) })
    expect(nodesOf(unknown)).toEqual([undefined, undefined])
  })

  it('decide which devices a container gets, and after that who has rested longest', async () => {
    await using lab = await started({ vfs: onNodes(0, 1, 0, 1), config: { resources: EXACT } })
    const { key } = lab.journal.lease(leaseOf('a', { deviceId: '0000:01:00.0' }))
    end(lab.journal, key)
    expect((await lab.kubelet.admit(RESOURCE, 2)).ids).toEqual(['0000:01:00.1', '0000:01:00.3'])
    expect((await lab.kubelet.admit(RESOURCE, 1)).ids).toEqual(['0000:01:00.2'])
  })
})

describe('allocation', () => {
  it('tells a container its exact devices as SR-IOV device plugins do', async () => {
    await using lab = await started({ vfs: vfsOf(3), config: { resources: EXACT } })
    expect(await lab.kubelet.admit(RESOURCE, 2, ['0000:01:00.2', '0000:01:00.0'])).toEqual({
      resource: RESOURCE,
      ids: ['0000:01:00.2', '0000:01:00.0'],
      envs: { PCIDEVICE_EXAMPLE_COM_VF: '0000:01:00.2,0000:01:00.0' },
      annotations: { [RESOURCE]: '0000:01:00.2,0000:01:00.0' },
    })
    expect(await lab.registry.metrics()).toContain(`allocated_devices_total{resource="${RESOURCE}",outcome="given"} 2`)
  })

  it('tells a container nothing of counted devices: its VF is another one', async () => {
    await using lab = await started({ vfs: vfsOf(3) })
    expect(await lab.kubelet.admit(RESOURCE, 1)).toMatchObject({ envs: {}, annotations: {} })
  })

  it('refuses a device that the resource does not have, naming it', async () => {
    const resources = [{ ...EXACT[0], select: { vfs: '0' } }]
    await using lab = await started({ vfs: vfsOf(2), config: { resources } })
    await expect(lab.kubelet.admit(RESOURCE, 1, ['0000:01:00.1'])).rejects.toThrow(
      `device "0000:01:00.1": resource ${RESOURCE} has no such device`,
    )
    expect(lab.kubelet.available(RESOURCE)).toEqual(['0000:01:00.0'])
  })

  it('never admits more pods than there are VFs', async () => {
    await using lab = await started({ vfs: vfsOf(4) })
    const pods = [await lab.kubelet.admit(RESOURCE, 1), await lab.kubelet.admit(RESOURCE, 3)]
    await expect(lab.kubelet.admit(RESOURCE, 1)).rejects.toThrow(`requested ${RESOURCE}: 1, available: 0`)
    lab.kubelet.release(pods[0]!)
    await lab.kubelet.admit(RESOURCE, 1)
  })
})

describe('exact resources', () => {
  it('keep their VFs from whoever names none, also VFs that come later', async () => {
    const resources = [{ name: 'example.com/fast', allocation: 'exact', select: { vfs: '0-1' } }, { name: RESOURCE }] as const
    await using lab = await started({ vfs: vfsOf(3).slice(1), config: { resources } })
    lab.inventory.syncVfs(vfsOf(3))
    expect(lab.journal.lease(leaseOf('a')).vf.index).toBe(2)
    expect(() => lab.journal.lease(leaseOf('b'))).toThrow('2 kept for others')
    expect(lab.journal.lease(leaseOf('b', { deviceId: '0000:01:00.0' })).vf.index).toBe(0)
  })

  it('have a device information file for each VF while the daemon runs, counted ones have none', async () => {
    const resources = [{ name: 'example.com/fast', allocation: 'exact', select: { vfs: '0-1' } }, { name: RESOURCE }] as const
    await using lab = await started({ vfs: vfsOf(2), config: { resources } })
    const files = async (): Promise<string[]> => (await readdir(join(lab.root, 'devinfo', 'dp')).catch(() => [])).toSorted()
    const file = (index: number): string => `example.com-fast-0000:01:00.${index}-device.json`
    await eventually(async () => (await files()).length === 2, 'two files')
    expect(await lab.files.read('dp', file(0))).toEqual({ type: 'pci', version: '1.1.0', pci: { 'pci-address': '0000:01:00.0' } })
    lab.inventory.syncVfs(vfsOf(3))
    expect(await files()).toEqual([file(0), file(1)])
    await lab.stop()
    expect(await files()).toEqual([])
  })

  it('have VFs with a userspace driver, too, counted ones do not: who names none gets an interface', async () => {
    const vfs = vfsOf(3).map((vf, index) => (index === 1 ? vf : { ...vf, userspace: 'vfio-pci' }))
    const resources = [{ name: 'example.com/fast', allocation: 'exact', select: { vfs: '0' } }, { name: RESOURCE }] as const
    await using lab = await started({ vfs, config: { resources } })
    for (const { name } of resources) await lab.untilHealthy(1, name)
    expect([lab.healthy('example.com/fast'), lab.healthy()]).toEqual([['0000:01:00.0'], ['0000:01:00.1']])
    expect(lab.journal.lease(leaseOf('a')).vf.index).toBe(1)
    expect(() => lab.journal.lease(leaseOf('b'))).toThrow('no VF is free')
  })
})
