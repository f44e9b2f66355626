import { expect, it } from 'vitest'
import { bindDriver, bindVfio, driverState, restoreDriver, unbindDriver } from '../../src/pci/index.ts'
import { FakeKernel, systemError } from './fake-kernel.ts'

const AT = '0001:00:10.0'
const FOLDER = `/sys/bus/pci/devices/${AT}`

const kernelWith = (driver: string | undefined, override?: string): FakeKernel => {
  const kernel = new FakeKernel().add(AT, { vendor: '177d', device: 'a06c', drivers: ['net-pf'], driver, override, group: 9 })
  kernel.nodes.add('9').add('vfio')
  return kernel
}

it('takes a function from its driver, gives it to vfio-pci and tells the node', async () => {
  const kernel = kernelWith('net-pf')
  const binding = await bindVfio(kernel, AT)
  expect(binding).toMatchObject({
    group: 9,
    node: '/dev/vfio/9',
    noIommu: false,
    changed: true,
    before: { driver: 'net-pf', override: undefined },
  })
  expect(kernel.get(AT)).toMatchObject({ driver: 'vfio-pci', override: 'vfio-pci' })
  await binding.undo()
  expect(kernel.get(AT)).toMatchObject({ driver: 'net-pf', override: undefined })
})

it.each(['/dev/vfio/9', '/dev/vfio/noiommu-9'])('is not taken from a program that has %s open', async (file) => {
  const kernel = kernelWith('net-pf')
  const binding = await bindVfio(kernel, AT)
  kernel.open.set(1, ['/dev/vfio/19', '/dev/vfio/vfio', 'socket:[9]']).set(42, ['/dev/null', file])
  kernel.parameters.set('/proc/42/comm', 'octep_cp_agent\n')
  await expect(binding.undo()).rejects.toMatchObject({
    code: 'ALREADY_EXISTS',
    message: `${AT}: process 42 (octep_cp_agent) has its group 9 open`,
  })
  expect(kernel.get(AT)).toMatchObject({ driver: 'vfio-pci', override: 'vfio-pci' })
  kernel.open.clear()
  await binding.undo()
  expect(kernel.get(AT).driver).toBe('net-pf')
})

it.each([
  [undefined, undefined],
  [undefined, 'other'],
  ['other', 'other'],
  ['net-pf', undefined],
])('undo brings back driver %s with override %s', async (driver, override) => {
  const kernel = kernelWith(driver, override)
  await (await bindVfio(kernel, AT)).undo()
  expect(kernel.get(AT)).toMatchObject({ driver, override })
})

it('a second time changes nothing, and undoes nothing', async () => {
  const kernel = kernelWith('vfio-pci', 'vfio-pci')
  const binding = await bindVfio(kernel, AT)
  expect(binding.changed).toBe(false)
  await binding.undo()
  expect(kernel.writes).toEqual([])
})

it('the kernel that says yes and binds nothing is not believed, and the driver of before is back', async () => {
  const kernel = kernelWith('net-pf')
  kernel.instead.set('/sys/bus/pci/drivers_probe', () => {})
  await expect(bindVfio(kernel, AT)).rejects.toMatchObject({
    code: 'KERNEL_REFUSED',
    message: expect.stringContaining('has no driver instead of vfio-pci'),
  })
  expect(kernel.get(AT)).toMatchObject({ driver: 'net-pf', override: undefined })
})

it('a group of which a kernel driver has another function is named, and the function given back', async () => {
  const kernel = kernelWith('net-pf').add('0001:00:10.1', { vendor: '177d', device: 'a080', drivers: ['other'], driver: 'other', group: 9 })
  kernel.add('0001:00:00.0', { vendor: '177d', device: 'a002', drivers: [], driver: 'pcieport', group: 9 })
  await expect(bindVfio(kernel, AT)).rejects.toMatchObject({ code: 'NOT_READY', message: expect.stringContaining('0001:00:10.1 (other)') })
  expect(kernel.get(AT).driver).toBe('net-pf')
  kernel.get('0001:00:10.1').driver = undefined
  expect((await bindVfio(kernel, AT)).group).toBe(9)
})

it('a group without a node cannot be opened', async () => {
  const kernel = kernelWith(undefined)
  kernel.nodes.delete('9')
  await expect(bindVfio(kernel, AT)).rejects.toMatchObject({ code: 'NOT_READY', message: expect.stringContaining('/dev/vfio/9') })
})

it('without an IOMMU the node has another name, if the machine allows it', async () => {
  const kernel = kernelWith(undefined)
  kernel.nodes.clear()
  kernel.nodes.add('noiommu-9')
  await expect(bindVfio(kernel, AT)).rejects.toMatchObject({ code: 'NOT_READY' })
  kernel.parameters.set('/sys/module/vfio/parameters/enable_unsafe_noiommu_mode', 'Y\n')
  expect(await bindVfio(kernel, AT)).toMatchObject({ node: '/dev/vfio/noiommu-9', noIommu: true })
})

it('a function in no group is not usable', async () => {
  const kernel = kernelWith(undefined)
  kernel.get(AT).group = undefined
  await expect(bindVfio(kernel, AT)).rejects.toMatchObject({ code: 'NOT_READY', message: expect.stringContaining('iommu_group') })
})

it('says that vfio-pci is not loaded, and touches nothing', async () => {
  const kernel = kernelWith('net-pf')
  kernel.drivers.delete('vfio-pci')
  await expect(bindVfio(kernel, AT)).rejects.toMatchObject({ code: 'NOT_READY', hint: 'modprobe vfio-pci' })
  expect(kernel.writes).toEqual([])
})

it('an address without a function, and one that is none', async () => {
  await expect(bindVfio(new FakeKernel(), AT)).rejects.toMatchObject({ code: 'NOT_FOUND' })
  await expect(bindVfio(new FakeKernel(), '../../etc')).rejects.toMatchObject({ code: 'INVALID_CONFIG' })
})

it('who may not write is told so', async () => {
  const kernel = kernelWith('net-pf')
  kernel.instead.set(`${FOLDER}/driver_override`, () => {
    throw systemError('EACCES')
  })
  await expect(bindVfio(kernel, AT)).rejects.toMatchObject({ code: 'PERMISSION_DENIED', hint: expect.stringContaining('root') })
})

it('the state of before can be brought back from any point of a binding that was cut short', async () => {
  const cuts: ((kernel: FakeKernel) => Promise<void>)[] = [
    async (kernel) => await kernel.write(`${FOLDER}/driver_override`, 'vfio-pci'),
    async (kernel) => await kernel.write(`${FOLDER}/driver/unbind`, AT),
    async (kernel) => await kernel.write('/sys/bus/pci/drivers_probe', AT),
  ]
  for (let done = 0; done <= cuts.length; done++) {
    const kernel = kernelWith('net-pf')
    const before = await driverState(kernel, AT)
    for (const cut of cuts.slice(0, done)) await cut(kernel)
    await restoreDriver(kernel, AT, before)
    expect(kernel.get(AT)).toMatchObject({ driver: 'net-pf', override: undefined })
  }
})

it('binding to a driver takes the function from another one, and gives it back when the driver does not want it', async () => {
  const kernel = kernelWith('net-pf')
  await expect(bindDriver(kernel, AT, 'other')).rejects.toMatchObject({
    code: 'KERNEL_REFUSED',
    message: expect.stringContaining('not for this function'),
  })
  expect(kernel.get(AT).driver).toBe('net-pf')
  await expect(bindDriver(kernel, AT, 'none')).rejects.toMatchObject({ code: 'NOT_READY', hint: 'modprobe none' })
  expect(await unbindDriver(kernel, AT)).toBe('net-pf')
  expect(await unbindDriver(kernel, AT)).toBeUndefined()
  await bindDriver(kernel, AT, 'net-pf')
  expect(kernel.get(AT).driver).toBe('net-pf')
})

it('a function that is bound again at once is not called unbound', async () => {
  const kernel = kernelWith('net-pf')
  kernel.instead.set(`${FOLDER}/driver/unbind`, () => {})
  await expect(unbindDriver(kernel, AT)).rejects.toMatchObject({
    code: 'KERNEL_REFUSED',
    message: expect.stringContaining('still has its driver net-pf'),
  })
})
