import { posix } from 'node:path'
import type { CommandOutcome } from '@cni-offload/linux/machine'
import { expect } from 'vitest'
import type { FakeOcteonMachine } from '../../src/octeon/index.ts'

export const DEVICES = '/sys/bus/pci/devices'
export const PF = `${DEVICES}/0000:01:00.0`
export const PEM = `${DEVICES}/0001:00:10.0`
export const CPT = `${DEVICES}/0002:20:00.0`

export const refused = async (promise: Promise<unknown>, code: string): Promise<void> =>
  await expect(promise).rejects.toMatchObject({ code })

export const run = async (machine: FakeOcteonMachine, ...argv: [string, ...string[]]): Promise<CommandOutcome> =>
  await machine.run(argv, AbortSignal.timeout(60_000))

export const driverOf = async (machine: FakeOcteonMachine, folder: string): Promise<string | undefined> =>
  await machine.readlink(`${folder}/driver`).then(posix.basename, () => undefined)

export const vfCount = async (machine: FakeOcteonMachine): Promise<number> =>
  (await machine.list(PF)).filter((name) => /^virtfn\d+$/.test(name)).length

export const dmesg = async (machine: FakeOcteonMachine): Promise<string> => (await run(machine, 'dmesg', '-t')).stdout
