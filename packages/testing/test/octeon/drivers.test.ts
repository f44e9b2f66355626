import { describe, expect, it } from 'vitest'
import { FakeOcteonCard } from '../../src/octeon/index.ts'
import { DEVICES, driverOf, PEM, PF, refused, run } from './support.ts'

const DRIVERS = '/sys/bus/pci/drivers'
const PROBE = '/sys/bus/pci/drivers_probe'
const ADDRESS = '0001:00:10.0'
const SDP_RVU = [`${DEVICES}/0002:18:00.0`, `${DEVICES}/0002:19:00.0`]

/** A DPU on which nothing is bound to vfio yet, but the module is there. */
const withVfio = async (): Promise<FakeOcteonCard> => {
  const card = await FakeOcteonCard.create({ state: 'fresh' })
  await run(card.dpu, 'modprobe', 'vfio-pci')
  return card
}

describe('drivers of PCI functions', () => {
  it('are taken off only by themselves', async () => {
    await using card = await FakeOcteonCard.create()
    const { host } = card
    await refused(host.write(`${DRIVERS}/octeon_ep_vf/unbind`, '0000:01:00.0'), 'ENODEV')
    await refused(host.write(`${DRIVERS}/octeon_ep_vf/unbind`, '0000:09:00.0'), 'ENODEV')
    await host.write(`${PF}/driver/unbind`, '0000:01:00.0\n')
    await refused(host.read(`${PF}/driver/bind`), 'ENOENT')
    await refused(host.list(`${PF}/net`), 'ENOENT')
    expect(await host.list(PF)).not.toContain('virtfn0')
  })

  it('are bound by name only where they match, and once', async () => {
    await using card = await withVfio()
    const { dpu } = card
    await refused(dpu.write(`${DRIVERS}/vfio-pci/bind`, ADDRESS), 'ENODEV')
    await refused(dpu.write(`${DRIVERS}/vfio-pci/bind`, '0001:00:11.0'), 'ENODEV')
    await dpu.write(`${PEM}/driver_override`, 'vfio-pci\n')
    await dpu.write(`${DRIVERS}/vfio-pci/bind`, ADDRESS)
    expect(await driverOf(dpu, PEM)).toBe('vfio-pci')
    await refused(dpu.write(`${DRIVERS}/vfio-pci/bind`, ADDRESS), 'EBUSY')
    expect(await dpu.list(`${DRIVERS}/vfio-pci`)).toContain(ADDRESS)
  })

  it('are found by drivers_probe, whose success says nothing', async () => {
    await using card = await withVfio()
    const { dpu } = card
    await refused(dpu.write(PROBE, '0001:00:11.0'), 'ENODEV')
    await dpu.write(PROBE, ADDRESS)
    expect(await driverOf(dpu, PEM)).toBeUndefined()
    await dpu.write(`${PEM}/driver_override`, 'vfio-pci')
    await dpu.write(PROBE, ADDRESS)
    await dpu.write(PROBE, ADDRESS)
    expect(await driverOf(dpu, PEM)).toBe('vfio-pci')
  })

  it('obey driver_override before their ids', async () => {
    await using card = await withVfio()
    const { dpu } = card
    const port = `${DEVICES}/0002:01:00.7`
    expect(await dpu.read(`${port}/driver_override`)).toBe('(null)\n')
    await dpu.write(`${port}/driver_override`, 'vfio-pci')
    await dpu.write(`${port}/driver/unbind`, '0002:01:00.7')
    await refused(dpu.write(`${DRIVERS}/rvu_nicvf/bind`, '0002:01:00.7'), 'ENODEV')
    await dpu.write(PROBE, '0002:01:00.7')
    expect(await driverOf(dpu, port)).toBe('vfio-pci')
    await refused(dpu.list(`${port}/net`), 'ENOENT')
    await dpu.write(`${port}/driver_override`, '\n')
    expect(await dpu.read(`${port}/driver_override`)).toBe('(null)\n')
    await dpu.write(`${port}/driver/unbind`, '0002:01:00.7')
    await dpu.write(PROBE, '0002:01:00.7')
    expect(await driverOf(dpu, port)).toBe('rvu_nicvf')
  })

  it('take all functions of a new id, once', async () => {
    await using card = await withVfio()
    const { dpu } = card
    await refused(dpu.write(`${DRIVERS}/vfio-pci/new_id`, '177d'), 'EINVAL')
    await dpu.write(`${DRIVERS}/vfio-pci/new_id`, '177d a0ef')
    for (const folder of SDP_RVU) expect(await driverOf(dpu, folder)).toBe('vfio-pci')
    await refused(dpu.write(`${DRIVERS}/vfio-pci/new_id`, '177d a0ef'), 'EEXIST')
    await dpu.write(`${DRIVERS}/vfio-pci/remove_id`, '177d a0ef')
    await refused(dpu.write(`${DRIVERS}/vfio-pci/remove_id`, '177d a0ef'), 'ENODEV')
  })

  it('lose functions that are removed; a scan finds those again', async () => {
    await using card = await FakeOcteonCard.create()
    const [first = '', second = ''] = SDP_RVU
    await card.dpu.write(`${first}/remove`, '1')
    await card.dpu.write(`${second}/remove`, '1')
    await refused(card.dpu.list(first), 'ENOENT')
    await card.dpu.write('/sys/bus/pci/rescan', '1')
    expect(await driverOf(card.dpu, first)).toBeUndefined()
    expect(await card.dpu.read(`${second}/driver_override`)).toBe('(null)\n')
  })

  it('go with their module', async () => {
    await using card = await FakeOcteonCard.create()
    const { host } = card
    expect(await run(host, 'rmmod', 'octeon_ep_vf')).toMatchObject({ exitCode: 0 })
    expect(await driverOf(host, `${DEVICES}/0000:01:02.0`)).toBeUndefined()
    await refused(host.list(`${DRIVERS}/octeon_ep_vf`), 'ENOENT')
    await run(host, 'rmmod', 'octeon_ep')
    expect(await host.list(DEVICES)).not.toContain('0000:01:02.0')
    expect(await run(host, 'rmmod', 'octeon_ep')).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('not currently loaded') })
    expect(await run(host, 'modprobe', 'octeon')).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('not found in directory') })
    await run(host, 'modprobe', 'octeon-ep')
    expect(await driverOf(host, PF)).toBe('octeon_ep')
  })

  it('need an IOMMU for vfio, or to be told that there is none', async () => {
    await using card = await FakeOcteonCard.create({ hostIommu: false })
    const { host } = card
    const vf = `${DEVICES}/0000:01:02.0`
    expect(await host.list(vf)).not.toContain('iommu_group')
    await run(host, 'modprobe', 'vfio-pci')
    await host.write(`${vf}/driver/unbind`, '0000:01:02.0')
    await host.write(`${vf}/driver_override`, 'vfio-pci')
    await refused(host.write(`${DRIVERS}/vfio-pci/bind`, '0000:01:02.0'), 'EINVAL')
    await host.write('/sys/module/vfio/parameters/enable_unsafe_noiommu_mode', '1')
    expect(await host.read('/sys/module/vfio/parameters/enable_unsafe_noiommu_mode')).toBe('Y\n')
    await host.write(PROBE, '0000:01:02.0')
    expect(await host.list('/dev/vfio')).toEqual(['vfio', expect.stringMatching(/^noiommu-\d+$/)])
  })
})

describe('attributes of the kernel', () => {
  it('refuse what they are not for', async () => {
    await using card = await FakeOcteonCard.create()
    const machine = card.host
    await refused(machine.read(PROBE), 'EACCES')
    await refused(machine.write(`${PF}/vendor`, '0x8086'), 'EACCES')
    await refused(machine.write(`${PF}/vendr`, '0x8086'), 'ENOENT')
    await refused(machine.place(`${PF}/new`, ''), 'EACCES')
    await refused(machine.place(`${PF}/folder/new`, ''), 'EPERM')
    await refused(machine.remove(`${PF}/vendor`), 'EPERM')
    await refused(machine.read(PF), 'EISDIR')
    await refused(machine.list(`${PF}/vendor`), 'ENOTDIR')
    await refused(machine.readlink(`${PF}/vendor`), 'EINVAL')
    await machine.remove(`${PF}/none`)
  })
})

describe('ordinary files', () => {
  it('are made, replaced and removed', async () => {
    await using card = await FakeOcteonCard.create()
    const { dpu } = card
    await dpu.place('/etc/octeon/cn106xx.cfg', 'soc = {};\n', 0o600)
    expect(await dpu.read('/etc/octeon/cn106xx.cfg')).toBe('soc = {};\n')
    await dpu.write('/etc/octeon/cn106xx.cfg', 'SOC')
    expect(await dpu.read('/etc/octeon/cn106xx.cfg')).toBe('SOC = {};\n')
    await refused(dpu.write('/etc/octeon/other.cfg', ''), 'ENOENT')
    await refused(dpu.place('/etc/octeon', ''), 'EISDIR')
    await refused(dpu.place('/etc/octeon/cn106xx.cfg/x', ''), 'ENOTDIR')
    await dpu.remove('/etc/octeon/cn106xx.cfg')
    await dpu.remove('/etc/octeon/cn106xx.cfg')
    expect(await dpu.list('/etc/octeon')).toEqual([])
  })
})
