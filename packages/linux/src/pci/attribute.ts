import { OffloadError } from '@cni-offload/sdk'
import { ifPresent, type Machine } from '../machine/machine.ts'

/** A function can go away between two looks at it: then its files are absent, or refuse to be read. */
export const GONE: readonly string[] = ['ENOENT', 'ENODEV', 'ENXIO']

/** The text of a file of the kernel without its line end, undefined if it is absent. */
export async function textOf(machine: Machine, path: string): Promise<string | undefined> {
  return (await ifPresent(machine.read(path), GONE))?.trimEnd()
}

/** The last part of where a link of the kernel points, undefined if it is absent. */
export async function linkedName(machine: Machine, path: string): Promise<string | undefined> {
  const target = await ifPresent(machine.readlink(path), GONE)
  return target?.slice(target.lastIndexOf('/') + 1)
}

/** Names in a folder of the kernel, undefined if it is absent. */
export async function namesIn(machine: Machine, path: string): Promise<string[] | undefined> {
  return await ifPresent(machine.list(path), [...GONE, 'ENOTDIR'])
}

const unexpected = (path: string, text: string, wanted: string): OffloadError =>
  new OffloadError('HARDWARE_FAILURE', `${path} = ${JSON.stringify(text)}: ${wanted} is expected`, {
    hint: 'This is no sysfs of Linux as it is known; is the right root folder given?',
  })

/** Hexadecimal digits of a file such as `0x177d`, lower case, undefined if it is absent. @throws OffloadError HARDWARE_FAILURE */
export async function hexOf(machine: Machine, path: string, digits: number): Promise<string | undefined> {
  const text = await textOf(machine, path)
  if (text === undefined) return undefined
  const found = new RegExp(`^0x([0-9a-f]{${digits}})$`, 'i').exec(text)?.[1]
  if (found === undefined) throw unexpected(path, text, `0x and ${digits} hexadecimal digits`)
  return found.toLowerCase()
}

/** The whole number in a file, undefined if it is absent. @throws OffloadError HARDWARE_FAILURE */
export async function numberOf(machine: Machine, path: string): Promise<number | undefined> {
  const text = await textOf(machine, path)
  if (text === undefined) return undefined
  const value = Number(text)
  if (!/^-?\d+$/.test(text) || !Number.isSafeInteger(value)) throw unexpected(path, text, 'a whole number')
  return value
}
