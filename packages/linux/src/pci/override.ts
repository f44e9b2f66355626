import type { Machine } from '../machine/machine.ts'
import { textOf } from './attribute.ts'
import { deviceFile } from './paths.ts'
import { refused } from './refused.ts'

/** The only driver that a function may get, undefined if any may have it. */
export async function driverOverride(machine: Machine, address: string): Promise<string | undefined> {
  const text = await textOf(machine, deviceFile(address, 'driver_override'))
  return text === undefined || text === '' || text === '(null)' ? undefined : text
}

/** Says which driver alone may get a function, undefined for any; the driver that has it stays. @throws OffloadError PERMISSION_DENIED, KERNEL_REFUSED */
export async function setDriverOverride(machine: Machine, address: string, driver: string | undefined): Promise<void> {
  const file = deviceFile(address, 'driver_override')
  try {
    // An empty write never reaches the kernel: a line end means none.
    await machine.write(file, driver ?? '\n')
  } catch (error) {
    throw refused(error, file, driver ?? '')
  }
}
