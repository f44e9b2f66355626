import { expect, it } from 'vitest'
import { pciDevices, readPciDevice } from '../../src/pci/index.ts'
import { FakeKernel, systemError } from './fake-kernel.ts'

const PF = '0000:01:00.0'
const plain = { vendor: '177d', device: 'b900', drivers: ['net-pf'] }

const withVfs = (count: number): FakeKernel => {
  const virtfns = new Map(Array.from({ length: count }, (_, n) => [n, `0000:01:0${2 + (n >> 3)}.${n & 7}`]))
  const kernel = new FakeKernel().add(PF, {
    ...plain,
    driver: 'net-pf',
    net: ['enp1s0'],
    group: 7,
    numa: 1,
    virtfns,
    sriov: { total: 64, enabled: count },
  })
  for (const vf of virtfns.values())
    kernel.add(vf, { vendor: '177d', device: 'b903', drivers: ['net-vf'], driver: 'net-vf', physfn: PF, net: [] })
  return kernel
}

it('reads all that is said of a function', async () => {
  expect(await readPciDevice(withVfs(2), PF)).toEqual({
    address: PF,
    vendor: '177d',
    device: 'b900',
    subsystemVendor: '177d',
    subsystemDevice: 'b900',
    class: '028000',
    revision: 0x51,
    numaNode: 1,
    driver: 'net-pf',
    driverOverride: undefined,
    physfn: undefined,
    virtfns: [
      { index: 0, address: '0000:01:02.0' },
      { index: 1, address: '0000:01:02.1' },
    ],
    iommuGroup: 7,
    netdevs: ['enp1s0'],
    sriov: { total: 64, enabled: 2, autoprobe: true },
  })
})

it('virtual functions are ordered by number: virtfn10 after virtfn9', async () => {
  const indices = (await readPciDevice(withVfs(12), PF))?.virtfns.map(({ index }) => index)
  expect(indices).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
})

it('tells an interface in another namespace from none', async () => {
  const kernel = withVfs(1).add('0000:02:00.0', plain)
  expect((await readPciDevice(kernel, '0000:01:02.0'))?.netdevs).toEqual([])
  expect(await readPciDevice(kernel, '0000:02:00.0')).toMatchObject({
    netdevs: undefined,
    numaNode: undefined,
    sriov: undefined,
    driver: undefined,
  })
})

it('lists by number, over domains of different width, and only what is wanted', async () => {
  const kernel = new FakeKernel()
    .add('10000:00:00.0', plain)
    .add('2000:00:00.0', plain)
    .add('0000:09:00.0', { ...plain, vendor: '8086' })
  expect((await pciDevices(kernel)).map(({ address }) => address)).toEqual(['0000:09:00.0', '2000:00:00.0', '10000:00:00.0'])
  expect((await pciDevices(kernel, ({ vendor }) => vendor === '177d')).map(({ address }) => address)).toEqual([
    '2000:00:00.0',
    '10000:00:00.0',
  ])
})

it('a machine without PCI has no functions, and there is none at an address where there is none', async () => {
  const kernel = new FakeKernel()
  kernel.list = () => Promise.reject(systemError('ENOENT'))
  expect(await pciDevices(kernel)).toEqual([])
  expect(await readPciDevice(kernel, PF)).toBeUndefined()
})

it('a function that goes away while it is read is left out', async () => {
  const kernel = withVfs(1)
  const read = kernel.read.bind(kernel)
  kernel.read = async (path) => {
    if (path.endsWith('02.0/revision')) throw systemError('ENODEV')
    return await read(path)
  }
  expect((await pciDevices(kernel)).map(({ address }) => address)).toEqual([PF])
})

it('names the file whose text is not what it should be', async () => {
  const kernel = new FakeKernel().add(PF, { ...plain, vendor: 'cavium' })
  await expect(readPciDevice(kernel, PF)).rejects.toMatchObject({
    code: 'HARDWARE_FAILURE',
    message: `/sys/bus/pci/devices/${PF}/vendor = "0xcavium": 0x and 4 hexadecimal digits is expected`,
  })
})
