import { parseWith } from '@cni-offload/sdk'
import type { DriverState } from '@cni-offload/linux/pci'
import { z } from 'zod'

/** A folder that is missing. */
export interface FolderChange {
  /** Which change it is. */
  readonly kind: 'folder'
  /** Path. */
  readonly path: string
}

/** The text of an ordinary file. */
export interface FileChange {
  /** Which change it is. */
  readonly kind: 'file'
  /** Path. */
  readonly path: string
  /** Text of before, null without a file. */
  readonly before: string | null
  /** Text of afterwards. */
  readonly after: string
}

/** A kernel module that is not loaded. */
export interface ModuleChange {
  /** Which change it is. */
  readonly kind: 'module'
  /** Name as modprobe takes it. */
  readonly name: string
  /** Modules that were loaded before, as the kernel writes them. */
  readonly before: readonly string[]
  /** Modules that came with it; known once they are being removed. */
  readonly brought: readonly string[]
}

/** A larger pool of huge pages of the default size. */
export interface HugepagesChange {
  /** Which change it is. */
  readonly kind: 'hugepages'
  /** Pages of before. */
  readonly before: number
  /** Pages of afterwards. */
  readonly after: number
  /** Size of a page, KiB. */
  readonly pageKb: number
}

/** A file system of huge pages, where none is mounted. */
export interface MountChange {
  /** Which change it is. */
  readonly kind: 'mount'
  /** Folder. */
  readonly target: string
}

/** A function for user space. */
export interface VfioChange {
  /** Which change it is. */
  readonly kind: 'vfio'
  /** PCI address. */
  readonly address: string
  /** Driver of before. */
  readonly before: DriverState
}

/** The interface of a function is up. */
export interface LinkUpChange {
  /** Which change it is. */
  readonly kind: 'link-up'
  /** PCI address of its function: names of interfaces change. */
  readonly function: string
}

/** An address of the interface of a function. */
export interface AddressChange {
  /** Which change it is. */
  readonly kind: 'address'
  /** PCI address of its function. */
  readonly function: string
  /** Address with prefix length. */
  readonly address: string
}

/** A function of the crypto engine for the kernel. */
export interface CryptoChange {
  /** Which change it is. */
  readonly kind: 'crypto'
  /** PCI address of the physical function. */
  readonly function: string
}

/** One change to a machine, as plain data that is kept on disk until it is undone. It says how everything was before. */
export type Change =
  | FolderChange
  | FileChange
  | ModuleChange
  | HugepagesChange
  | MountChange
  | VfioChange
  | LinkUpChange
  | AddressChange
  | CryptoChange

const path = z.string().startsWith('/')
const pages = z.int().min(0)
const text = z.string().min(1)

/** Schema of a change, on its way back from disk. */
export const changeSchema: z.ZodType<Change> = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('folder'), path }),
  z.strictObject({ kind: z.literal('file'), path, before: z.string().nullable(), after: z.string() }),
  z.strictObject({ kind: z.literal('module'), name: text, before: z.array(text), brought: z.array(text) }),
  z.strictObject({ kind: z.literal('hugepages'), before: pages, after: pages, pageKb: pages }),
  z.strictObject({ kind: z.literal('mount'), target: path }),
  z.strictObject({
    kind: z.literal('vfio'),
    address: text,
    // JSON leaves out what is undefined.
    before: z
      .strictObject({ driver: text.optional(), override: text.optional() })
      .transform(({ driver, override }) => ({ driver, override })),
  }),
  z.strictObject({ kind: z.literal('link-up'), function: text }),
  z.strictObject({ kind: z.literal('address'), function: text, address: text }),
  z.strictObject({ kind: z.literal('crypto'), function: text }),
])

/** What a change is of: two changes with the same subject are one after the other of the same thing. */
export function subjectOf(change: Change): string {
  switch (change.kind) {
    case 'folder':
    case 'file':
      return `${change.kind} ${change.path}`
    case 'module':
      return `module ${change.name}`
    case 'hugepages':
      return 'hugepages'
    case 'mount':
      return `mount ${change.target}`
    case 'vfio':
      return `vfio ${change.address}`
    case 'link-up':
      return `link-up ${change.function}`
    case 'address':
      return `address ${change.address} ${change.function}`
    case 'crypto':
      return `crypto ${change.function}`
  }
}

/** Whether a change outlives a boot. */
export function isLasting({ kind }: Change): boolean {
  return kind === 'folder' || kind === 'file'
}

/** Two changes of the same subject as one: how it was before the first, and is after the second. */
export function merged(earlier: Change, later: Change): Change {
  const kept = 'before' in earlier ? { ...later, before: earlier.before } : later
  const brought = 'brought' in earlier && 'brought' in later ? { brought: [...new Set([...earlier.brought, ...later.brought])] } : {}
  return parseWith(changeSchema, { ...kept, ...brought }, 'change', 'INTERNAL')
}
