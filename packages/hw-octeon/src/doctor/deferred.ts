import { errnoOf, type Machine } from '@cni-offload/linux/machine'

const FILE = '/sys/kernel/debug/devices_deferred'

/** Devices whose drivers wait for something else, each with the reason if the kernel knows one; undefined where it does not tell. */
export async function deferredDevices(machine: Machine): Promise<ReadonlyMap<string, string> | undefined> {
  const text = await machine.read(FILE).catch((error: unknown) => {
    if (['ENOENT', 'EACCES', 'EPERM'].includes(errnoOf(error) ?? '')) return undefined
    throw error
  })
  if (text === undefined) return undefined
  const lines = text.split('\n').filter((line) => line.trim() !== '')
  return new Map(
    lines.map((line) => {
      const [device = '', ...reason] = line.trim().split(/\s+/)
      return [device, reason.join(' ')]
    }),
  )
}
