import { VFIO_DRIVER } from './vfio.ts'

/** Drivers that leave a function to a program: none of them makes a network interface of it. */
const DRIVERS: ReadonlySet<string> = new Set([VFIO_DRIVER, 'uio_pci_generic', 'igb_uio'])

/** A function's driver, if it is one that leaves it to a program; undefined otherwise. */
export function userspaceDriver(driver: string | undefined): string | undefined {
  return driver !== undefined && DRIVERS.has(driver) ? driver : undefined
}
