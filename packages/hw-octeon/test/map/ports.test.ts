import type { PciDevice } from '@cni-offload/linux/pci'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { hostFunction, octeonFunction, type OcteonDevice, portOfVf, readInventory, sdpPorts } from '../../src/index.ts'
import { dpuFunctions, following, hostFunctionsOfTree, SysfsTree, type TreeFunction } from '../sysfs-tree.ts'

/** The functions as an inventory has them; those without a driver have no interface either. */
const functionsOf = (functions: readonly TreeFunction[], numbered: boolean): { functions: OcteonDevice[] } => ({
  functions: functions.flatMap(({ address, device, physfn, virtfns = [] }) => {
    const what = octeonFunction('177d', device)
    const links = numbered ? virtfns.map((vf, index) => ({ index, address: vf })) : []
    return what === undefined ? [] : [{ what, pci: { address, device, vendor: '177d', physfn, virtfns: links } as unknown as PciDevice }]
  }),
})

const card = fc.record({
  layout: fc.constantFrom('af' as const, 'sdp' as const),
  vfs: fc.integer({ min: 1, max: 127 }),
  domain: fc.oneof(fc.constant(2), fc.integer({ min: 0, max: 0xffff }), fc.integer({ min: 0x1_0000, max: 0xff_ffff })),
  bus: fc.integer({ min: 1, max: 0x3f }),
  numbered: fc.boolean(),
})

it('the map is a bijection between the host’s functions and the ports, for all numbers of VFs and layouts', () => {
  fc.assert(
    fc.property(card, fc.nat(), ({ layout, vfs, domain, bus, numbered }, seed) => {
      // Without the other functions of a DPU, whose addresses one of these could have.
      const functions = dpuFunctions({ layout, ports: vfs + 1, domain, bus }).slice(0, vfs + 2)
      // In whatever order they are found.
      const turned = [...functions.slice(seed % functions.length), ...functions.slice(0, seed % functions.length)]
      const ports = sdpPorts(functionsOf(turned, numbered))
      expect(ports.source).toBe(numbered ? 'virtfn' : 'order')
      const all = [ports.management, ...Array.from({ length: vfs }, (_, n) => portOfVf(ports, n))]
      expect(all).toEqual(following(domain, bus, vfs + 1))
      expect(new Set(all).size).toBe(vfs + 1)
      expect(() => portOfVf(ports, vfs)).toThrow(expect.objectContaining({ code: 'HARDWARE_FAILURE' }))
    }),
    { numRuns: 300 },
  )
})

it('VFs 0 to 63, from the files of a DPU: after function 7 comes the next device', async () => {
  await using tree = await SysfsTree.create(dpuFunctions({ ports: 65 }))
  const ports = sdpPorts(await readInventory(tree.machine))
  expect(ports).toMatchObject({ management: '0002:01:00.1', source: 'virtfn' })
  const known: readonly (readonly [number, string])[] = [
    [0, '0002:01:00.2'],
    [1, '0002:01:00.3'],
    [5, '0002:01:00.7'],
    [6, '0002:01:01.0'],
    [7, '0002:01:01.1'],
    [9, '0002:01:01.3'],
    [63, '0002:01:08.1'],
  ]
  for (const [vf, port] of known) expect(portOfVf(ports, vf)).toBe(port)
})

it('a port keeps its place without a driver or an interface', async () => {
  const functions = dpuFunctions().map((fn) =>
    fn.address === '0002:01:00.3' ? { address: fn.address, device: fn.device, physfn: '0002:01:00.0', driver: 'vfio-pci' } : fn,
  )
  await using tree = await SysfsTree.create(functions)
  const ports = sdpPorts(await readInventory(tree.machine))
  expect([portOfVf(ports, 1), portOfVf(ports, 2)]).toEqual(['0002:01:00.3', '0002:01:00.4'])
})

it('ports of more than one physical function are refused without a table', () => {
  const two = functionsOf([...dpuFunctions(), ...dpuFunctions({ layout: 'sdp', bus: 0x0f })], true)
  expect(() => sdpPorts(two)).toThrow(expect.objectContaining({ code: 'HARDWARE_FAILURE', hint: expect.stringContaining('option ports') }))
  const table = { management: '0002:0f:00.1', vfs: ['0002:0F:00.3', '0002:01:00.2'] }
  expect(sdpPorts(two, table)).toEqual({ management: '0002:0f:00.1', vfs: ['0002:0f:00.3', '0002:01:00.2'], source: 'table' })
})

it.each([
  [{ management: '0002:01:00.1', vfs: ['0002:01:00.2', '0002:01:00.2'] }, 'ports.vfs[1] = 0002:01:00.2: it stands in the table twice'],
  [{ management: '0002:01:00.0', vfs: [] }, 'ports.management = 0002:01:00.0: there is no function 177d:a0f7'],
  [{ management: '0002:01:00.1', vfs: ['eth0'] }, 'ports.vfs[0] = "eth0"'],
])('a wrong table is refused: %o', (table, message) => {
  expect(() => sdpPorts(functionsOf(dpuFunctions(), true), table)).toThrow(
    expect.objectContaining({ code: 'INVALID_CONFIG', message: expect.stringContaining(message) }),
  )
})

it('while functions come or go, nothing is guessed', () => {
  const [parent, ...others] = dpuFunctions()
  if (parent === undefined) throw new Error('no parent')
  const all = following(2, 1, 9)
  for (const virtfns of [all.slice(0, 8), [...all.slice(0, 8), '0002:02:00.0']]) {
    expect(() => sdpPorts(functionsOf([{ ...parent, virtfns }, ...others], true))).toThrow(expect.objectContaining({ code: 'NOT_READY' }))
  }
  const gap = functionsOf([parent, ...others], true)
  const links = gap.functions[0]?.pci.virtfns as unknown as { index: number }[]
  for (const link of links.slice(4)) link.index++
  expect(() => sdpPorts(gap)).toThrow(
    expect.objectContaining({ code: 'NOT_READY', message: expect.stringContaining('virtfn5 is 0002:01:00.5') }),
  )
})

it('a machine without ports is no DPU', () => {
  expect(() => sdpPorts({ functions: [] })).toThrow(
    expect.objectContaining({ code: 'HARDWARE_FAILURE', hint: expect.stringContaining('Is this the DPU?') }),
  )
})

it('a host’s physical function is taken by name where there are several', async () => {
  const [one, other] = ['0000:01:00.0', '0000:41:00.0']
  await using tree = await SysfsTree.create([...hostFunctionsOfTree(1, one), ...hostFunctionsOfTree(1, other)])
  const inventory = await readInventory(tree.machine)
  expect(() => hostFunction(inventory)).toThrow(
    expect.objectContaining({ code: 'HARDWARE_FAILURE', hint: expect.stringContaining('option pf') }),
  )
  expect(hostFunction(inventory, '41:00.0').address).toBe(other)
  expect(() => hostFunction(inventory, '0000:02:00.0')).toThrow(
    expect.objectContaining({ code: 'INVALID_CONFIG', hint: `This machine has ${one}, ${other}.` }),
  )
  expect(() => hostFunction({ functions: [] })).toThrow(expect.objectContaining({ code: 'HARDWARE_FAILURE' }))
})
