import { describe, expect, it } from 'vitest'
import { type KernelModule, loadOrder, moduleName, neededBy, type ReadModule } from '../../vm/modules.ts'

const module = (name: string, ...needs: string[]): KernelModule => ({
  name,
  data: Buffer.from(`\x7fELF…\0license=GPL\0depends=${needs.join(',')}\0name=${name}\0`),
})

/** A kernel with these modules; `ext4` is part of it. */
const kernel = (...modules: KernelModule[]): ReadModule => {
  const byName = new Map(modules.map((one) => [one.name, one]))
  return async (name) => (name === 'ext4' ? 'builtin' : byName.get(name))
}

const order = async (read: ReadModule, ...wanted: string[]): Promise<string[]> => (await loadOrder(read, wanted)).map(({ name }) => name)

describe('modules of a kernel', () => {
  it.each([
    ['kernel/drivers/vfio/pci/vfio-pci.ko.xz', 'vfio_pci'],
    ['vfio_pci.ko', 'vfio_pci'],
    ['virtio-net', 'virtio_net'],
  ])('%s is module %s', (file, name) => {
    expect(moduleName(file)).toBe(name)
  })

  it('what a module needs stands in it, under either spelling', () => {
    expect(neededBy(module('a', 'b-c', 'd'))).toEqual(['b_c', 'd'])
    expect(neededBy(module('a'))).toEqual([])
    expect(() => neededBy({ name: 'a', data: Buffer.from('text') })).toThrow('a: no module of a kernel')
  })

  it('each comes after what it needs, and once', async () => {
    const read = kernel(
      module('top', 'left', 'right'),
      module('left', 'bottom'),
      module('right', 'bottom'),
      module('bottom'),
      module('other'),
    )
    expect(await order(read, 'top', 'other', 'left')).toEqual(['bottom', 'left', 'right', 'top', 'other'])
  })

  it('what is part of the kernel is not loaded', async () => {
    expect(await order(kernel(module('a', 'ext4')), 'ext4', 'a')).toEqual(['a'])
  })

  it('a module that is not there is named, with who needs it', async () => {
    await expect(order(kernel(module('a', 'b'), module('b', 'c')), 'a')).rejects.toThrow('no module c, needed by b, needed by a')
  })

  it('a circle is an end', async () => {
    await expect(order(kernel(module('a', 'b'), module('b', 'a')), 'a')).rejects.toThrow('a → b → a')
  })
})
