import { expect, it } from 'vitest'
import { userspaceDriver } from '../../src/pci/index.ts'

it.each(['vfio-pci', 'uio_pci_generic', 'igb_uio'])('%s leaves a function to a program', (driver) => {
  expect(userspaceDriver(driver)).toBe(driver)
})

it.each([undefined, 'octeon_ep_vf', 'pci-stub'])('%s does not', (driver) => {
  expect(userspaceDriver(driver)).toBeUndefined()
})
