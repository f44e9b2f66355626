import { parseWith, vfAdminSettings } from '@cni-offload/sdk'
import { z } from 'zod'
import type { Machine } from '@cni-offload/linux/machine'
import type { FakeOcteonCard } from '../card.ts'
import type { Awaitable } from '../tree/entry.ts'

/** What can be called, by name. */
export type Methods = Readonly<Record<string, (args: readonly unknown[], signal: AbortSignal) => Awaitable<unknown>>>

/** Checks what somebody has sent as arguments. @throws OffloadError UNDECODABLE */
export function checked<T>(schema: z.ZodType<T>, args: readonly unknown[]): T {
  return parseWith(schema, args, 'arguments for a fake card', 'UNDECODABLE')
}

const path = z.tuple([z.string()])
const pathAndText = z.tuple([z.string(), z.string()])
const placed = z.tuple([z.string(), z.string(), z.int().optional()])
const command = z.tuple([z.tuple([z.string()], z.string())])

/** A machine. */
export function machineMethods(machine: Machine): Methods {
  return {
    read: (args) => machine.read(...checked(path, args)),
    write: (args) => machine.write(...checked(pathAndText, args)),
    readlink: (args) => machine.readlink(...checked(path, args)),
    list: (args) => machine.list(...checked(path, args)),
    place: (args) => machine.place(...checked(placed, args)),
    remove: (args) => machine.remove(...checked(path, args)),
    run: (args, signal) => machine.run(...checked(command, args), signal),
  }
}

/** What the driver of the host's physical function is asked over netlink. */
export function vfAdminMethods({ vfAdmin }: FakeOcteonCard): Methods {
  return {
    vfs: () => vfAdmin.vfs(),
    setVf: (args) => vfAdmin.set(...checked(z.tuple([z.int().min(0), vfAdminSettings]), args)),
  }
}

/** The card itself. */
export function cardMethods(card: FakeOcteonCard): Methods {
  return {
    perst: (args) => card.perst(...checked(z.tuple([z.boolean().optional()]), args)),
    rebootHost: () => card.rebootHost(),
    advanceCrypto: (args) => card.cpt.advance(checked(z.tuple([z.int().min(0)]), args)[0]),
  }
}
