import { OffloadError } from '@cni-offload/sdk'
import { errnoOf, type Machine } from '../machine/machine.ts'
import { linkedName, namesIn } from './attribute.ts'
import { deviceFile, DRIVERS, DRIVERS_PROBE } from './paths.ts'
import { refused } from './refused.ts'

/** The driver that has a function now. @throws OffloadError INVALID_CONFIG */
export async function driverOf(machine: Machine, address: string): Promise<string | undefined> {
  return await linkedName(machine, deviceFile(address, 'driver'))
}

/** Whether a driver of PCI functions is there, in the kernel or as a module that is loaded. */
export async function hasDriver(machine: Machine, driver: string): Promise<boolean> {
  return (await namesIn(machine, `${DRIVERS}/${driver}`)) !== undefined
}

/**
 * Takes a function from its driver; one that has none is left as it is. Read back.
 *
 * @returns the driver that it had
 * @throws OffloadError INVALID_CONFIG, PERMISSION_DENIED, KERNEL_REFUSED
 */
export async function unbindDriver(machine: Machine, address: string): Promise<string | undefined> {
  const driver = await driverOf(machine, address)
  if (driver === undefined) return undefined
  const file = deviceFile(address, 'driver/unbind')
  try {
    await machine.write(file, address)
  } catch (error) {
    // Somebody else has taken it from the driver meanwhile.
    if (!['ENOENT', 'ENODEV'].includes(errnoOf(error) ?? '')) throw refused(error, file, address)
  }
  const still = await driverOf(machine, address)
  if (still === undefined) return driver
  throw new OffloadError('KERNEL_REFUSED', `${file} = ${address}: the function still has its driver ${still}`, {
    hint: 'Something binds it again at once, a udev rule or another daemon: stop that.',
  })
}

/**
 * Gives a function to a driver that is loaded; one that it has already is success. A function of another driver is taken from that
 * first, and given back if the new one refuses. Read back.
 *
 * @throws OffloadError NOT_FOUND (no such function), NOT_READY (driver not loaded), INVALID_CONFIG, PERMISSION_DENIED, KERNEL_REFUSED
 */
export async function bindDriver(machine: Machine, address: string, driver: string): Promise<void> {
  if ((await driverOf(machine, address)) === driver) return
  if ((await namesIn(machine, deviceFile(address))) === undefined) throw noFunction(address)
  if (!(await hasDriver(machine, driver))) throw notLoaded(driver)
  const before = await unbindDriver(machine, address)
  const file = `${DRIVERS}/${driver}/bind`
  try {
    await machine.write(file, address)
    await expectDriver(machine, address, driver, file)
  } catch (error) {
    if (before !== undefined) await machine.write(`${DRIVERS}/${before}/bind`, address).catch(() => {})
    throw refused(error, file, address, {
      ENODEV: `driver ${driver} is not for this function`,
      EBUSY: 'another driver has got it meanwhile',
    })
  }
}

/**
 * Lets the kernel look for a driver of a function, as when it was plugged in.
 *
 * @returns the driver that it has then; undefined if there is none for it
 * @throws OffloadError NOT_FOUND, PERMISSION_DENIED, KERNEL_REFUSED
 */
export async function probeDrivers(machine: Machine, address: string): Promise<string | undefined> {
  try {
    await machine.write(DRIVERS_PROBE, address)
  } catch (error) {
    if (errnoOf(error) === 'ENODEV') throw noFunction(address)
    throw refused(error, DRIVERS_PROBE, address, { EINVAL: 'its driver has refused it; the kernel log (dmesg) says why' })
  }
  return await driverOf(machine, address)
}

/** Reads back that a function has a driver: the kernel says yes to most of what it then does not do. */
export async function expectDriver(machine: Machine, address: string, driver: string, told: string): Promise<void> {
  const now = await driverOf(machine, address)
  if (now === driver) return
  throw new OffloadError(
    'KERNEL_REFUSED',
    `${told} = ${address}: the kernel said yes, but the function has ${now === undefined ? 'no driver' : `driver ${now}`} instead of ${driver}`,
    { hint: 'The kernel log (dmesg) says whether the driver refused the function.' },
  )
}

/** @returns the error of a driver that is not there */
export function notLoaded(driver: string): OffloadError {
  return new OffloadError('NOT_READY', `${DRIVERS}/${driver}: there is no such driver in the kernel`, { hint: `modprobe ${driver}` })
}

/** @returns the error of an address without a function */
export function noFunction(address: string): OffloadError {
  return new OffloadError('NOT_FOUND', `${deviceFile(address)}: there is no PCI function at this address`, {
    hint: 'Addresses can change with firmware, slots and boots; `lspci -D` lists them.',
  })
}
