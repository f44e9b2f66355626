import { posix } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type DpuFirmware, type DpuLayout, FakeOcteonCard, type FakeOcteonMachine } from '../../src/octeon/index.ts'

const LAYOUTS: readonly DpuLayout[] = ['af', 'sdp']
const FIRMWARES: readonly DpuFirmware[] = ['12.24.09', '12.25.01', '12.25.03']
const DEVICES = '/sys/bus/pci/devices'

const attribute = async (machine: FakeOcteonMachine, address: string, name: string): Promise<string> =>
  (await machine.read(`${DEVICES}/${address}/${name}`)).trim()

const target = async (machine: FakeOcteonMachine, address: string, name: string): Promise<string> =>
  posix.basename(await machine.readlink(`${DEVICES}/${address}/${name}`))

/** Addresses of all functions of a kind, in the order of their addresses. */
const having = async (machine: FakeOcteonMachine, device: string): Promise<string[]> => {
  const found: string[] = []
  for (const address of (await machine.list(DEVICES)).toSorted())
    if ((await attribute(machine, address, 'device')) === `0x${device}` && (await attribute(machine, address, 'vendor')) === '0x177d')
      found.push(address)
  return found
}

const driverOf = async (machine: FakeOcteonMachine, address: string): Promise<string | undefined> =>
  await target(machine, address, 'driver').catch(() => undefined)

describe.each(LAYOUTS.flatMap((layout) => FIRMWARES.map((firmware) => ({ layout, firmware }))))(
  'a card with layout $layout and firmware $firmware',
  { timeout: 60_000 },
  ({ layout, firmware }) => {
    it('shows its functions on both sides', async () => {
      await using card = await FakeOcteonCard.create({ layout, firmware })
      const { host, dpu } = card
      expect(await having(host, 'b900')).toEqual(['0000:01:00.0'])
      expect(await having(host, 'b903')).toEqual(Array.from({ length: 8 }, (_, index) => `0000:01:02.${index}`))
      expect(await attribute(host, '0000:01:00.0', 'sriov_numvfs')).toBe('8')
      expect(await attribute(host, '0000:01:00.0', 'class')).toBe('0x028000')
      expect(await host.list(`${DEVICES}/0000:01:02.3/net`)).toEqual(['enp1s0v3'])
      expect(await attribute(host, '0000:01:02.3', 'net/enp1s0v3/address')).toBe('00:00:00:04:01:01')
      expect(await attribute(host, '0000:01:00.0', 'net/enp1s0/address')).toBe('00:00:00:01:01:00')

      const bus = layout === 'af' ? '01' : '0f'
      const ports = [...[1, 2, 3, 4, 5, 6, 7].map((fn) => `0002:${bus}:00.${fn}`), `0002:${bus}:01.0`, `0002:${bus}:01.1`]
      expect(await having(dpu, 'a0f7')).toEqual(ports)
      const parent = `0002:${bus}:00.0`
      expect(await attribute(dpu, parent, 'device')).toBe(layout === 'af' ? '0xa065' : '0xa0f6')
      for (const [index, address] of ports.entries()) {
        expect(await target(dpu, address, 'physfn')).toBe(parent)
        expect(await target(dpu, parent, `virtfn${index}`)).toBe(address)
        expect(await driverOf(dpu, address)).toBe('rvu_nicvf')
        expect(await dpu.list(`${DEVICES}/${address}/net`)).toEqual([`enP2p${layout === 'af' ? 1 : 15}s0v${index}`])
      }
      expect(await having(dpu, 'a065')).toEqual(['0002:01:00.0'])
      expect(await having(dpu, 'a0f6')).toEqual(layout === 'af' ? [] : ['0002:0f:00.0'])
      expect(await having(dpu, 'a0ef')).toEqual(firmware === '12.25.03' ? ['0002:18:00.0', '0002:19:00.0'] : [])
      expect(await having(dpu, 'a0fb')).toHaveLength(firmware === '12.25.03' ? 2 : 4)
      expect(await having(dpu, 'a06c')).toEqual(['0001:00:10.0'])
      expect(await having(dpu, 'a080')).toEqual(['0000:06:00.0'])
      expect(await having(dpu, 'a0f2')).toEqual(['0002:20:00.0'])
      expect(await having(dpu, 'a0f3')).toEqual(['0002:20:00.1'])
      expect(await having(dpu, 'a063')).toEqual(['0002:02:00.0', '0002:03:00.0', '0002:04:00.0'])
    })

    it('is set up for its control agent', async () => {
      await using card = await FakeOcteonCard.create({ layout, firmware })
      const { dpu } = card
      const expected = {
        '12.24.09': [undefined, 'octeontx2-dpi', undefined],
        '12.25.01': ['vfio-pci', 'vfio-pci', undefined],
        '12.25.03': ['vfio-pci', 'octeontx2-dpi', 'vfio-pci'],
      }[firmware]
      const drivers = await Promise.all(['0001:00:10.0', '0000:06:00.0', '0002:18:00.0'].map((address) => driverOf(dpu, address)))
      expect(drivers).toEqual(expected)
      if (firmware !== '12.24.09') {
        const group = await target(dpu, '0001:00:10.0', 'iommu_group')
        expect(await dpu.list('/dev/vfio')).toEqual(expect.arrayContaining(['vfio', group]))
        expect(await dpu.list(`/sys/kernel/iommu_groups/${group}/devices`)).toEqual(['0001:00:10.0'])
      }
      expect(await dpu.read('/proc/sys/vm/nr_hugepages')).toBe('8\n')
      expect(await dpu.read('/proc/meminfo')).toMatch(/^HugePages_Total: +8$/m)
      expect(await dpu.read('/proc/mounts')).toContain('none /dev/huge hugetlbfs rw,relatime,pagesize=32M 0 0\n')
      expect(await dpu.read('/proc/crypto')).toContain('cpt_rfc4106_gcm_aes')
      expect(await dpu.read('/sys/kernel/debug/cn10k/cpt/cpt_pc')).toMatch(/^CPT instruction requests {3}71\n/)
      expect(await dpu.read('/sys/devices/system/cpu/cpu0/regs/identification/midr_el1')).toBe('0x00000000410fd490\n')
      expect(await dpu.list('/lib/firmware/mrvl/cpt04')).toEqual(['ae.out', 'se.out', 'ie.out'])
    })

    it('has no link that leads nowhere', async () => {
      await using card = await FakeOcteonCard.create({ layout, firmware })
      for (const machine of [card.host, card.dpu]) {
        const links = [...(await machine.snapshot())].filter(([, text]) => text.startsWith('-> '))
        expect(links.length).toBeGreaterThan(30)
        const dangling: string[] = []
        for (const [path, text] of links)
          if ((await machine.read(path).catch((error: { code: string }) => error.code)) === 'ENOENT') dangling.push(`${path} ${text}`)
        expect(dangling).toEqual([])
      }
    })
  },
)

it('gives the last of many functions the next device of the bus', { timeout: 60_000 }, async () => {
  await using card = await FakeOcteonCard.create({ layout: 'sdp', vfs: 127 })
  expect(await target(card.host, '0000:01:00.0', 'virtfn126')).toBe('0000:01:11.6')
  expect(await target(card.dpu, '0002:0f:00.0', 'virtfn127')).toBe('0002:0f:10.0')
  await expect(FakeOcteonCard.create({ vfs: 62 })).rejects.toMatchObject({ code: 'INVALID_CONFIG' })
})

it('boots with nothing set up where that is asked for', async () => {
  await using card = await FakeOcteonCard.create({ state: 'fresh' })
  const { host, dpu } = card
  expect(await host.read('/proc/modules')).toBe('')
  expect(await driverOf(host, '0000:01:00.0')).toBeUndefined()
  await expect(host.list(`${DEVICES}/0000:01:00.0/net`)).rejects.toMatchObject({ code: 'ENOENT' })
  expect(await driverOf(dpu, '0001:00:10.0')).toBeUndefined()
  expect(await dpu.read('/proc/sys/vm/nr_hugepages')).toBe('0\n')
  await expect(dpu.list('/dev/vfio')).rejects.toMatchObject({ code: 'ENOENT' })
})
