import { formatPciAddress, parsePciAddress } from './address.ts'

/** Folder with a link for every function. */
export const DEVICES = '/sys/bus/pci/devices'

/** Folder with a folder for every driver that is loaded. */
export const DRIVERS = '/sys/bus/pci/drivers'

/** Asks the kernel to look for a driver of a function. */
export const DRIVERS_PROBE = '/sys/bus/pci/drivers_probe'

/** The path of a function or of a file in its folder. @throws OffloadError INVALID_CONFIG if the address is none: it becomes part of a path */
export function deviceFile(address: string, file?: string): string {
  const folder = `${DEVICES}/${formatPciAddress(parsePciAddress(address))}`
  return file === undefined ? folder : `${folder}/${file}`
}
