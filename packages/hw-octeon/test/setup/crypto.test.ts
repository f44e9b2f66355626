import { expect, it } from 'vitest'
import { planSetup, readInventory, stepOf, editText } from '../../src/index.ts'
import { type Bench, CPT, dpuBench } from './bench.ts'

const NUMVFS = `/sys/bus/pci/devices/${CPT}/sriov_numvfs`
/** The crypto engine alone. */
const bench = async (): Promise<Bench> => await dpuBench('12.25.03', { vfs: 1 }, { crypto: true, addresses: [] })

const left = (undone: Awaited<ReturnType<Bench['undo']>>): unknown[] =>
  undone.filter(({ step }) => step.change.kind === 'crypto').map(({ outcome }) => outcome)

it('the crypto engine is a step of the set-up: told, made once, and undone to the byte', { timeout: 120_000 }, async () => {
  await using on = await bench()
  const before = await on.touched()
  const site = on.site()
  const planned = await planSetup(await readInventory(site.machine), on.wish, site)
  expect(planned.flatMap((change) => stepOf(change).edits.map(editText)).at(-1)).toBe(`${NUMVFS}: 0 → 1`)
  expect(await on.touched()).toEqual(before)
  expect(await on.setUp()).toBeGreaterThan(0)
  expect(await on.machine.read(NUMVFS)).toBe('1\n')
  expect(await on.machine.read('/proc/crypto')).toContain('cpt_rfc4106_gcm_aes')
  expect(await on.setUp()).toBe(0)
  await on.undo()
  expect(await on.touched()).toEqual(before)
})

it('its driver is loaded where it is not', async () => {
  await using on = await bench()
  await on.machine.run(['rmmod', 'rvu_cptvf'], AbortSignal.timeout(10_000))
  const before = await on.machine.read('/proc/modules')
  await on.setUp()
  expect(await on.machine.read('/proc/crypto')).toContain('cpt_rfc4106_gcm_aes')
  await on.undo()
  expect(await on.machine.read('/proc/modules')).toBe(before)
})

it('nothing is changed where its microcode is missing', async () => {
  await using on = await dpuBench('12.25.03', { microcode: false, vfs: 1 }, { crypto: true, addresses: [] })
  const before = await on.touched()
  await expect(on.setUp()).rejects.toMatchObject({ code: 'NOT_READY', message: expect.stringContaining('cpt04') })
  expect(await on.touched()).toEqual(before)
})

it('it is not taken from whoever uses it by now', async () => {
  await using on = await bench()
  await on.setUp()
  on.card.cpt.setUsers('cpt_rfc4106_gcm_aes', 2)
  const [refused] = left(await on.undo())
  expect(refused).toMatchObject({ code: 'ALREADY_EXISTS', message: expect.stringContaining('associations') })
  on.card.cpt.setUsers('cpt_rfc4106_gcm_aes', 0)
  await on.machine.write('/sys/bus/pci/drivers/rvu_cptvf/unbind', '0002:20:00.1')
  await on.machine.run(['modprobe', 'vfio-pci'], AbortSignal.timeout(10_000))
  await on.machine.write('/sys/bus/pci/devices/0002:20:00.1/driver_override', 'vfio-pci')
  await on.machine.write('/sys/bus/pci/drivers_probe', '0002:20:00.1')
  expect(left(await on.undo())).toEqual([{ left: `${CPT}: vfio-pci has its function 0002:20:00.1 since` }])
})

it('functions that somebody has added since are left', async () => {
  await using on = await bench()
  await on.setUp()
  await on.machine.write(NUMVFS, '0')
  await on.machine.write(NUMVFS, '3')
  expect(left(await on.undo())).toEqual([{ left: `${CPT}: somebody has made 3 functions of it since` }])
  expect(await on.machine.read(NUMVFS)).toBe('3\n')
})
