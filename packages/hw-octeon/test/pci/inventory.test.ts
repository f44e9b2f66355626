import { expect, it } from 'vitest'
import { type OcteonInventory, readInventory } from '../../src/index.ts'
import { dpuFunctions, hostFunctionsOfTree, SysfsTree, type TreeFunction } from '../sysfs-tree.ts'

const inventory = async (functions: readonly TreeFunction[]): Promise<OcteonInventory> => {
  await using tree = await SysfsTree.create(functions)
  return await readInventory(tree.machine)
}

const problems = async (functions: readonly TreeFunction[]): Promise<string[]> => (await inventory(functions)).problems.map(({ id }) => id)

it.each(['af', 'sdp'] as const)('a DPU of layout %s', async (layout) => {
  const found = await inventory([...dpuFunctions({ layout }), { address: '0002:00:00.0', device: 'a002', driver: 'pcieport' }])
  expect(found).toMatchObject({ side: 'dpu', layout, chip: { part: 'CN106xx', family: 'CN10K', stepping: 'A1' }, problems: [] })
  expect(found.functions.filter(({ pci }) => pci.device === 'a0f7')).toHaveLength(9)
  expect(found.unknown).toEqual([])
})

it('a host', async () => {
  const found = await inventory([...hostFunctionsOfTree(8), { address: '0000:00:1f.0', vendor: '8086', device: 'b900' }])
  expect(found).toMatchObject({ side: 'host', layout: undefined, chip: { part: 'CN106xx', stepping: 'A1' }, problems: [], unknown: [] })
  expect(found.functions).toHaveLength(9)
})

it('a card with a card in it is a DPU', async () => {
  expect((await inventory([...dpuFunctions(), ...hostFunctionsOfTree(0, '0005:01:00.0')])).side).toBe('dpu')
})

it.each([
  [0x50, 'A0'],
  [0x51, 'A1'],
  [0x54, 'B0'],
  [0x09, 'C1'],
])('revision %i is stepping %s', async (revision, stepping) => {
  expect((await inventory([{ address: '0000:01:00.0', device: 'b900', revision }])).chip?.stepping).toBe(stepping)
})

it('a chip that is not known is said to be so', async () => {
  expect((await inventory([{ address: '0000:01:00.0', device: 'b900', chip: 'c7' }])).chip).toMatchObject({
    id: 'c7',
    part: undefined,
    family: undefined,
  })
})

it('names what is wrong with a machine without a card', async () => {
  const found = await inventory([])
  expect(found).toMatchObject({ side: undefined, layout: undefined, chip: undefined })
  expect(found.problems).toMatchObject([{ id: 'no-function', remedy: expect.stringContaining('rescan') }])
})

it('names what is wrong with a host', async () => {
  const two = [...hostFunctionsOfTree(2), ...hostFunctionsOfTree(2, '0000:41:00.0')]
  expect((await inventory(two)).problems).toMatchObject([{ id: 'several-pfs', functions: ['0000:01:00.0', '0000:41:00.0'] }])
  expect(await problems([{ address: '0000:01:00.0', device: 'b900' }])).toEqual(['pf-without-driver'])
})

it('names what is wrong with a DPU', async () => {
  const whole = dpuFunctions()
  const without = (device: string): TreeFunction[] => whole.filter((fn) => fn.device !== device)
  const rvu = (address: string): TreeFunction => ({ address, device: 'a0ef' })
  expect(await problems(without('a06c'))).toEqual(['no-pem'])
  expect(await problems([...whole, rvu('0002:19:00.0')])).toEqual(['one-sdp-rvu'])
  expect(await problems([...whole, rvu('0002:18:00.0'), rvu('0002:19:00.0')])).toEqual([])
  expect(await problems(without('a0f7'))).toEqual(['no-sdp-port'])
  expect(await problems(dpuFunctions({ ports: 1 }))).toEqual(['no-port-for-vfs'])
  expect(await problems([...whole, ...dpuFunctions({ bus: 0x0f, layout: 'sdp' }).slice(0, 3)])).toEqual(['several-sdp-parents'])
  expect(await problems(whole.map(({ driver, ...fn }) => (fn.device === 'a0f7' || driver === undefined ? fn : { ...fn, driver })))).toEqual(
    ['port-without-driver'],
  )
  expect((await inventory([...whole, { address: '0002:30:00.0', device: 'a0e3' }])).problems).toMatchObject([
    { id: 'unknown-function', functions: ['0002:30:00.0'], seen: expect.stringContaining('177d:a0e3') },
  ])
})
